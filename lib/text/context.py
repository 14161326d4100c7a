# SPDX-License-Identifier: Apache-2.0
"""What the words around a finding do to it: negation, doubt, and the past.

After NegEx (Chapman et al., J Biomed Inform 2001;34:301-310) and ConText (Harkema et al., J Biomed Inform
2009;42:839-851): a trigger reaches forward or back to the next word that ends its scope; pseudo-triggers look like
triggers and do nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .changes import SEEN
from .lexicon import Mention, compiled, longest


class Cue(StrEnum):
    """What a trigger says of the findings in its scope."""

    ABSENT = "absent"
    ABSENT_BEFORE = "absent, of what stands before"
    POSSIBLE = "possible"
    POSSIBLE_BEFORE = "possible, of what stands before"
    LIKELY = "likely"
    PAST = "past"
    NOTHING = "nothing"
    END = "end of scope"


_CUES: dict[Cue, tuple[str, ...]] = {
    Cue.ABSENT: (
        r"no",
        r"none of",
        r"not",
        r"without",
        r"(?:no|without|not|nor any|nor) (?:\w+ ){0,3}(?:evidence|sign|signs|suggestion|indication) (?:of|for|"
        r"to suggest)",
        r"negative for",
        r"(?:is|are|appears?|appear|remains?) ?(?:\w+ )?(?:free|clear) of",
        r"free (?:of|from)",
        r"clear of",
        r"absence of",
        r"denies",
        r"neither",
        r"nor",
        r"rules? out",
        r"ruled out for",
        r"excludes",
        r"lack of",
        r"lacks",
        r"nothing to suggest",
        r"fails to (?:show|reveal)",
        r"never",
    ),
    Cue.ABSENT_BEFORE: (
        rf"(?:is|are|was|were|has|have|can|could)? ?(?:\w+ )?(?:not|nor) (?:been |be |definitely |clearly |well |"
        rf"otherwise |convincingly )*{SEEN}",
        r"(?:is|are|was|were) (?:absent|excluded|ruled out|unlikely|not there)",
        r"(?:has|have) been (?:excluded|ruled out)",
        r"absent",
        r"unlikely",
        r": (?:none|no|absent)",
    ),
    Cue.POSSIBLE: (
        r"possib(?:le|ly|ility of)",
        r"(?:may|might|could|can) (?:\w+ )?(?:represent|reflect|be compatible with|be consistent with|"
        r"be secondary to|be due to|be|indicate|suggest|relate|correspond|simulate|mimic)(?: (?:to|secondary to|"
        r"due to|related to))?",
        r"(?:can ?not|could not|can't|not|difficult to|does not|unable to) (?:\w+ly )?(?:exclude|rule out)",
        r"question(?:able)?(?: of)?",
        r"suspicio(?:us|n) (?:for|of)",
        r"suggest(?:s|ive|ing|ion)?(?: of| a)?",
        r"concern(?:ing)? for",
        r"worrisome for",
        r"versus",
        r"vs\.?",
        r"differential(?: diagnosis)?(?: considerations?)?(?: includes?)?",
        r"perhaps",
        r"not necessarily",
        r"rule out",
        r"r/o",
        r"to exclude",
        r"evaluate for",
        r"equivocal",
        r"whether",
        r"if",
        r"or possibly",
        r"indeterminate",
        r"potentially",
        r"potential",
    ),
    Cue.POSSIBLE_BEFORE: (
        r"(?:can ?not|could not|can't|is not|are not) (?:be )?(?:\w+ly )?(?:be )?(?:excluded|ruled out)",
        r"(?:is|are|remains?) (?:possible|questionable|suspected|a consideration|a possibility|in the differential)",
        r"not excluded",
        r"is difficult to exclude",
    ),
    Cue.LIKELY: (
        r"(?:most |very )?(?:likely|probabl[ey])(?: (?:represents?|represent|reflects?|due to|related to|"
        r"secondary to))?",
        r"presum(?:ed|ably)",
        r"suspected",
        r"suspect",
        r"apparent(?:ly)?",
        r"appears to (?:be|represent)",
        r"favou?r(?:ed|s)?(?: to (?:be|represent))?",
    ),
    Cue.PAST: (
        r"(?:patient|clinical|known|past|prior|family|medical)? ?history (?:of|suggests?)",
        r"hx of",
        r"h/o",
        r"(?:status post|s/p)",
    ),
    Cue.NOTHING: (
        r"not only",
        r"no (?:further|additional|other) (?:evaluation|imaging|follow-?up)",
        r"no comparisons?",
        r"no (?:prior|previous|earlier)s?(?: \w+)? (?:studies|study|exams?|examinations?|films?|radiographs?|images)?",
        r"not (?:well|fully|completely|optimally|entirely) (?:seen|visuali[sz]ed|evaluated|assessed|included)",
        r"if (?:clinically|there|symptoms|further|needed|indicated|concern)",
        r"with evidence of",
        r"there is evidence of",
        r"evidence of (?:prior|old|previous|remote)",
        r"not significantly",
        r"no doubt",
        r"no uncertain",
    ),
    Cue.END: (
        r";",
        r"but",
        r"however",
        r"although",
        r"though",
        r"except(?: for)?",
        r"apart from",
        r"aside from",
        r"other than",
        r"besides",
        r"whereas",
        r"while",
        r"which",
        r"who",
        r"yet",
        r"still",
        r"otherwise",
        r"secondary to",
        r"due to",
        r"because",
        r"as well as (?:a|an|the)",
        r"(?:, |and )?(?:there (?:is|are|has been|have been|remains?)|this (?:is|may|could)|it (?:is|has)|"
        r"the (?:heart|lungs?|aorta|cardiac|mediastinum|pulmonary|trachea|bones|thoracic|remaining|other|largest|"
        r"visuali[sz]ed))",
        r", (?:and )?(?:with |a |an )?(?:mild|moderate|stable|unchanged|minimal|scattered|chronic|tortuous|"
        r"calcified|degenerative|multilevel|elevated|low|prominent|borderline|the|again|old|healed|bibasilar|"
        r"streaky)(?:ly)?",
        r"and (?:the|this|that|both|all)"  # a clause of its own
        r"(?= [\w -]{1,60}?\b(?:is|are|was|were|has|have|shows?|remains?|measures?|lies?)\b)",
        r"(?:and )?(?:has|have|had|shows?|demonstrates?|measures?|is now|are now)",
        r"consistent with",
        r"compatible with",
        r"in keeping with",
        r"in this patient",
        r"given",
    ),
}


@dataclass(frozen=True)
class Trigger:
    """Words that change what is said of a finding.

    Attributes:
        cue: What they do.
        start: First character.
        end: One past the last character.
    """

    cue: Cue
    start: int
    end: int


_PATTERNS = [(cue, compiled(words)) for cue, words in _CUES.items()]


def triggers_in(sentence: str, taken: list[tuple[int, int]]) -> list[Trigger]:
    """The triggers of a sentence in lower case; words of a change or a finding are none."""
    found = [Mention(cue.value, *match.span()) for cue, pattern in _PATTERNS for match in pattern.finditer(sentence)]
    free = [one for one in found if not any(one.start < last and first < one.end for first, last in taken)]
    return [Trigger(Cue(one.finding), one.start, one.end) for one in longest(free)]


FORWARD = (Cue.ABSENT, Cue.POSSIBLE, Cue.LIKELY, Cue.PAST)
BACKWARD = (Cue.ABSENT_BEFORE, Cue.POSSIBLE_BEFORE)


def cues_of(start: int, end: int, triggers: list[Trigger]) -> set[Cue]:
    """What the triggers say of the finding at ``sentence[start:end]``."""
    ends = [trigger for trigger in triggers if trigger.cue is Cue.END]
    before = max((one.end for one in ends if one.end <= start), default=0)
    after = min((one.start for one in ends if one.start >= end), default=10**9)
    forward = {one.cue for one in triggers if one.cue in FORWARD and before <= one.start and one.end <= start}
    backward = {one.cue for one in triggers if one.cue in BACKWARD and end <= one.start <= after}
    return forward | backward
