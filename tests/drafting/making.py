# SPDX-License-Identifier: Apache-2.0
"""Random studies, and sentences that a decoder could write: right ones, ones of another study, and garbled ones."""

import random
import re

from lib.drafting.slots import Said
from lib.text import Change, MeasuredLesion, MeasuredStudy, Side, split_sentences, tokenize, write_report
from lib.text.tokens import SLOTS

REGIONS = ("frontal", "parietal", "temporal", "occipital", "insular", "central", "cerebellar")
SWAPS = {
    "left": "right",
    "right": "left",
    "frontal": "occipital",
    "temporal": "parietal",
    "grown": "shrunk",
    "stable": "new",
    "no": "a",
    "single": "another",
    "largest": "smallest",
    "lesions": "lesion",
    "new": "stable",
    "it": "the largest lesion",
}
INVENTED = (
    "There is a midline shift of 4 mm.",
    "No hydrocephalus is seen.",
    "There is vasogenic oedema around the lesion.",
    "Multiple lesions are seen in both hemispheres.",
    "The lesion crosses the midline.",
    "A 12 x 8 x 7 mm lesion is seen in the left frontal lobe.",
    "Three new lesions have appeared.",
    "It has grown from 3.0 ml to 9.0 ml.",
    "The patient should be seen in 14 days.",
    "Previously 31 mm, now 12 mm.",
    "The paranasal sinuses are clear.",
    "Two of the lesions have resolved, and 40 % of the others.",
    "Another lesion lies in the right temporal lobe.",
    "A possible lesion in the brainstem cannot be excluded.",
    "No lesion in the left hemisphere.",
    "There is a lesion in the left frontal region and one in the right parietal region.",
    "Tumor burden has decreased by 30 percent.",
    "The smaller lesion is stable while the larger lesion has grown.",
)


def lesion_of(draw: random.Random, number: int, compared: bool) -> MeasuredLesion:
    long_mm, change = draw.uniform(1, 90), draw.choice([None, *Change]) if compared else None
    gone, volume = change is Change.GONE, draw.choice([None, draw.uniform(0.02, 180)])
    moved = change in (Change.GROWN, Change.SHRUNK) and volume is not None
    percent = draw.uniform(0.2, 95) * (-1 if change is Change.SHRUNK else 1) if moved else None
    return MeasuredLesion(
        -number if gone else number,
        draw.choice([Side.LEFT, Side.RIGHT]),
        draw.choice(REGIONS),
        None if gone else long_mm,
        None if gone or draw.random() < 0.2 else long_mm * draw.uniform(0.2, 1),
        None if gone else volume,
        change,
        percent,
        draw.uniform(0.02, 90) if moved else None,
    )


def study_of(draw: random.Random) -> MeasuredStudy:
    compared = draw.random() < 0.6
    lesions = tuple(lesion_of(draw, i + 1, compared) for i in range(draw.choice([0, 1, 1, 2, 3, 4, 9])))
    return MeasuredStudy(lesions, compared, draw.choice([None, 1, 92, 400]) if compared else None)


def said_of(text: str, section: str, draw: random.Random, study: MeasuredStudy) -> list[Said]:
    """A text as the decoder would have written it: its numbers are slots, its attention is anything."""
    found = []
    for sentence in split_sentences(text):
        shares = {one.id: draw.random() / 9 for one in study.lesions}
        found.append(Said(section, tokenize(sentence).tokens, shares, draw.random()))
    return found


def report_of(draw: random.Random, study: MeasuredStudy) -> list[Said]:
    """A report of the study, of another one, or of neither."""
    kind = draw.random()
    told = study if kind < 0.3 else study_of(draw)
    sentences = [(one.section, one.text) for one in write_report(told, draw.randrange(10**6))]
    sentences += [(draw.choice(("findings", "impression")), draw.choice(INVENTED)) for _ in range(draw.randrange(4))]
    if kind > 0.6:
        sentences = [(section, garbled(text, draw)) for section, text in sentences]
    draw.shuffle(sentences)
    return [said for section, text in sentences for said in said_of(text, section, draw, study)]


def garbled(text: str, draw: random.Random) -> str:
    """Words swapped for their opposites, slots for other slots, and words lost."""
    words = []
    for word in re.findall(r"\S+", text):
        bare = word.lower().strip(".,")
        if bare in SWAPS and draw.random() < 0.4:
            word = SWAPS[bare] + ("." if word.endswith(".") else "")
        if draw.random() > 0.05:
            words.append(word)
        if draw.random() < 0.03:
            words.append(draw.choice(("3.4 ml", "17 %", "12 mm", "two", "41 days", "left", "not", "no")))
    return " ".join(words) or "."


def random_tokens(draw: random.Random, study: MeasuredStudy) -> Said:
    """Words of reports in no order."""
    pool = [*SLOTS, *tokenize(" ".join(one.text for one in write_report(study_of(draw), 1))).tokens]
    tokens = tuple(draw.choice(pool) for _ in range(draw.randrange(1, 14)))
    return Said(draw.choice(("findings", "impression")), (*tokens, "."))
