# SPDX-License-Identifier: Apache-2.0
"""Words that say what has become of a finding since an earlier examination."""

from __future__ import annotations

from .facts import Change
from .lexicon import Mention, compiled, longest

_MINOR = (
    r"(?:(?:significant|interval|relevant|appreciable|measurable|definite|substantial|clear|major|marked|further|"
    r"important|noticeable|obvious|notable|acute|clinically|other|any|evidence of|sign of|signs of) )*"
)
_ADVERB = r"(?:(?:\w+ly|further|much|clearly|any|been|since|again|now|markedly|somewhat) )*"
SEEN = (
    r"(?:seen|identified|visuali[sz]ed|present|evident|detected|appreciated|noted|visible|found|demonstrated|"
    r"shown|observed|apparent)"
)
"""Verbs of finding."""
_EARLIER = r"(?:prior|previous|earlier|last|preceding|baseline|comparison|first)"

CHANGES: dict[Change, tuple[str, ...]] = {
    Change.STABLE: (
        rf"(?:no|without) {_MINOR}(?:change|alteration|difference)s?",
        rf"(?:no|without|nor) {_MINOR}(?:growth|enlargement|progression|increase|decrease|"
        rf"shrinkage|regression)(?: in (?:size|volume))?",
        rf"(?:has|have|had|is|are|was|were|did|does|do) (?:not|never) {_ADVERB}(?:(?:show|shown|demonstrated?) )?"
        rf"{_MINOR}(?:changed?|grow|grown|growing|growth|increased?|enlarged?|enlargement|progress(?:ed)?|progression|"
        rf"decreased?|shrink|shrunk|shrinkage|regress(?:ed)?|regression|larger|bigger|smaller)(?: in (?:size|volume))?",
        r"no (?:larger|bigger|smaller)(?: than (?:before|on|at|in|previously))?",
        r"fail(?:s|ed) to (?:grow|increase|enlarge|progress|decrease|shrink|regress)",
        r"neither (?:grown|increased|enlarged) nor (?:shrunk|decreased|regressed)",
        r"(?:is|are|remains?|stays?|stayed) (?:\w+ )?the same",
        r"(?:is|are|remains?|stays?|stayed) (?:\w+ )?as before",
        r"identical to (?:the )?(?:prior|previous|before|earlier)",
        r"static",
        r"(?:essentially |largely |overall |grossly )?unchanged",
        r"stable",
        r"stability",
        r"(?:remains?|stays?|stayed) constant",
        r"(?:the same|similar|of the same|of similar) size",
        r"similar to (?:the )?(?:prior|previous|before|earlier)",
        r"unaltered",
    ),
    Change.NEW: (
        r"new(?:ly)?(?: (?:appeared|seen|visible|developed|found|detected))?",
        rf"(?:was|were|is|are)? ?not (?:yet )?{SEEN}(?: (?:on|at|in))?(?: the)? {_EARLIER}(?: (?:examination|"
        rf"study|visit|scan|mr|mri))?",
        rf"(?:was|were) (?:previously not|not previously|not yet) {SEEN}",
        r"(?:has|have) (?:newly )?(?:developed|appeared)",
        r"interval (?:development|appearance) of",
        r"recently developed",
    ),
    Change.GROWN: (
        rf"(?:has|have) {_ADVERB}(?:grown|increased|enlarged|progressed|worsened|expanded)(?: in (?:size|volume))?",
        r"increase(?:d)? (?:in|of|by|from|since)(?: (?:size|volume))?",
        r"(?:interval|slight|marked|mild) (?:increase|enlargement|growth|progression|worsening)(?: (?:in|"
        r"of) (?:size|volume))?",
        r"grew",
        r"grown",
        r"growth(?: of)?",
        r"(?:enlarging|growing)",
        r"(?:got|gotten|getting|growing) (?:larger|bigger)",
        r"(?:doubled|tripled|quadrupled)(?: in (?:size|volume))?",
        r"(?:progressive )?increase",
        r"progression",
        r"worsening",
        r"worsened",
        r"(?:is|are|become|became|now|appears?|appear|slightly|somewhat|measures) (?:now |slightly |somewhat |"
        r"clearly )?(?:larger|bigger)",
        r"(?:larger|bigger|more extensive) than (?:before|on|at|in|previously)",
        r"progressed",
        r"progressing",
        r"interval increased?",
    ),
    Change.SHRUNK: (
        rf"(?:has|have) {_ADVERB}(?:shrunk|decreased|regressed|improved|diminished|reduced|"
        rf"become smaller)(?: in (?:size|volume))?",
        r"(?:has|have) (?:partially|incompletely|partly|almost) (?:resolved|cleared)",
        r"(?:is|are|has been|have been) reduced(?: in (?:size|volume))?",
        r"(?:decrease|reduction|reduce|decreased|reduced) (?:in|of|by|from|since)(?: (?:size|volume))?",
        r"(?:interval|slight|marked|mild) (?:decrease|regression|improvement|shrinkage|reduction)(?: (?:in|"
        r"of) (?:size|volume))?",
        r"shrank",
        r"shrunk",
        r"shrinkage(?: of)?",
        r"shrinking",
        r"regression(?: of)?",
        r"regressed",
        r"regressing",
        r"resolving",
        r"(?:got|gotten|getting|growing) smaller",
        r"less extensive",
        r"halved(?: in (?:size|volume))?",
        r"improving",
        r"improved",
        r"decreasing",
        r"interval decreased?",
        r"(?:is|are|become|became|now|appears?|appear|slightly|somewhat|measures) (?:now |slightly |somewhat |"
        r"clearly )?smaller",
        r"smaller than (?:before|on|at|in|previously)",
    ),
    Change.GONE: (
        rf"(?:is|are|can|could)? ?no longer (?:be )?(?:{SEEN}|there)?",
        r"(?:has|have) (?:completely |fully |since |now |entirely )*(?:resolved|disappeared|cleared|gone|vanished)",
        r"(?:completely )?resolved",
        r"(?:complete |interval )*resolution(?: of)?",
        r"(?:is|are) (?:completely |now )*gone",
        rf"(?:is|are|can|could)(?: not|not) (?:be )?{SEEN} any ?more",
        r"(?:disappeared|vanished)",
        r"disappearance of",
    ),
}
"""Words of each change; the longest that fits at a place counts, so "has not grown" is no growth."""
STILL_THERE = compiled(
    [
        r"(?:has|have|is|are|did|does|do) not (?:yet |completely |fully )*(?:resolved?|disappear(?:ed)?|cleared|gone|"
        r"vanished)"
    ]
)
"""Says that a finding is not gone, and nothing of how it has changed."""
_CHANGES = [(change, compiled(words)) for change, words in CHANGES.items()]


def changes_in(sentence: str, taken: list[tuple[int, int]]) -> list[tuple[Change, int, int]]:
    """The changes that a sentence in lower case names, without those whose words are already ``taken``."""
    found = [Mention(change.value, *m.span()) for change, pattern in _CHANGES for m in pattern.finditer(sentence)]
    found += [Mention("", *m.span()) for m in STILL_THERE.finditer(sentence)]
    kept = [one for one in longest(found) if one.finding]
    return [
        (Change(one.finding), one.start, one.end)
        for one in kept
        if not any(one.start < last and first < one.end for first, last in taken)
    ]
