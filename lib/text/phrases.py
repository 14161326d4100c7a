# SPDX-License-Identifier: Apache-2.0
"""Phrasings of brain MR reports, by what the sentence is about.

Each phrasing says what its slots say and what its kind says; the labeller must read that and nothing else
(tests/text/test_grammar.py). Slots: ``{The}`` and ``{the}`` name a lesion ("the largest lesion"), ``{place}`` is "left
frontal region", ``{at}`` "left frontal", ``{lesions}`` "two lesions", ``{now}`` and ``{before}`` are volumes; the
others are what they are called. A phrasing is chosen only where every slot of it was measured.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a sentence is about."""

    NONE = "no lesion"
    COUNT = "count"
    PRESENCE = "presence and location"
    MEASURED = "presence with size"
    SIZE = "size"
    VOLUME = "volume"
    NO_NEW = "no new lesion"
    NEW = "new"
    GROWN = "growth"
    SHRUNK = "shrinkage"
    STABLE = "stability"
    GONE = "gone"
    IMPRESSION_NONE = "impression: no lesion"
    IMPRESSION_ONE = "impression: one lesion"
    IMPRESSION_SEVERAL = "impression: several lesions"
    IMPRESSION_CHANGE = "impression: change"


PHRASES: dict[Kind, tuple[str, ...]] = {
    Kind.NONE: (
        "No focal lesion is identified.",
        "There is no evidence of a focal brain lesion.",
        "No parenchymal lesion is seen.",
        "The brain parenchyma is unremarkable.",
        "No abnormal mass is visible.",
    ),
    Kind.COUNT: (
        "There are {lesions}.",
        "Altogether {lesions} are identified.",
        "In all, {lesions} can be distinguished.",
        "The images show {lesions}.",
        "The number of lesions is {count}.",
        "The parenchyma contains {lesions}.",
    ),
    Kind.PRESENCE: (
        "There is a hyperintense lesion in the {place}.",
        "A lesion is seen in the {place}.",
        "A focal lesion lies in the {place}.",
        "A hyperintense lesion occupies the {place}.",
        "The {place} contains a lesion.",
        "{The} lies in the {place}.",
        "{The} is located in the {place}.",
        "{The} is found in the {place}.",
    ),
    Kind.MEASURED: (
        "There is a {size} lesion in the {place}.",
        "A lesion in the {place} measures {size}.",
        "A lesion of {size} is seen in the {place}.",
        "A hyperintense lesion measuring {size} is present in the {place}.",
        "{The} lies in the {place} and measures {size}.",
        "{The}, in the {place}, measures {size} and has a volume of {volume}.",
        "In the {place} there is a lesion measuring {size} with a volume of {volume}.",
        "A {size} mass with a volume of {volume} is seen in the {place}.",
        "{The} occupies the {place}, with a volume of {volume}.",
    ),
    Kind.SIZE: (
        "{The} measures {size}.",
        "{The} measures {size} in the axial plane.",
        "{The} has a size of {size}.",
        "{The} extends over {size}.",
        "The axial extent of {the} is {size}.",
    ),
    Kind.VOLUME: (
        "{The} has a volume of {volume}.",
        "The volume of {the} is {volume}.",
        "{The} comprises {volume}.",
        "{The} fills a volume of {volume}.",
    ),
    Kind.NO_NEW: (
        "No new lesion is seen.",
        "There is no new lesion.",
        "There are no new lesions.",
        "No new focal lesion has appeared.",
        "There is no evidence of a new lesion.",
    ),
    Kind.NEW: (
        "There is a new lesion in the {place}.",
        "A new lesion is seen in the {place}.",
        "A lesion in the {place} is new.",
        "A lesion in the {place} was not present on the prior examination.",
        "A new {size} lesion has appeared in the {place}.",
        "Newly seen is a lesion in the {place} measuring {size}.",
    ),
    Kind.GROWN: (
        "The lesion in the {place} has grown.",
        "The lesion in the {place} has increased in volume by {percent}.",
        "The lesion in the {place} has grown by {percent} over {days}.",
        "The lesion in the {place} has grown from {before} to {now}.",
        "The {at} lesion is larger than before and now has a volume of {now}.",
        "Compared with the examination {days} earlier, the {at} lesion has enlarged by {percent}.",
        "There is interval growth of the lesion in the {place}, by {percent} in {days}.",
    ),
    Kind.SHRUNK: (
        "The lesion in the {place} has shrunk.",
        "The lesion in the {place} has decreased in volume by {percent}.",
        "The lesion in the {place} has shrunk by {percent} over {days}.",
        "The lesion in the {place} has decreased from {before} to {now}.",
        "The {at} lesion is smaller than before and now has a volume of {now}.",
        "Compared with the examination {days} earlier, the {at} lesion has regressed by {percent}.",
        "There is interval shrinkage of the lesion in the {place}, by {percent} in {days}.",
    ),
    Kind.STABLE: (
        "The lesion in the {place} is stable.",
        "The lesion in the {place} is unchanged.",
        "The lesion in the {place} has not changed over {days}.",
        "There is no significant change of the lesion in the {place}.",
        "The {at} lesion shows no significant change in size.",
        "Without significant change, the {at} lesion has a volume of {now}.",
        "The {at} lesion has not grown since the examination {days} earlier.",
    ),
    Kind.GONE: (
        "The lesion in the {place} is no longer visible.",
        "The {at} lesion has resolved.",
        "The lesion in the {place} has disappeared.",
        "The previously seen lesion in the {place} can no longer be identified.",
    ),
    Kind.IMPRESSION_NONE: (
        "No focal brain lesion.",
        "No evidence of an intracranial lesion.",
        "Without evidence of a brain lesion.",
        "No intracranial mass.",
    ),
    Kind.IMPRESSION_ONE: (
        "Single lesion in the {place}.",
        "Solitary {at} lesion of {size}.",
        "One lesion in the {place} with a volume of {volume}.",
        "A single brain lesion, in the {place}, measuring {size}.",
    ),
    Kind.IMPRESSION_SEVERAL: (
        "There are {lesions} in all.",
        "Brain with {lesions}.",
        "Presence of {lesions}.",
        "Altogether {lesions}.",
    ),
    Kind.IMPRESSION_CHANGE: (
        "The {at} lesion {has_changed}.",
        "The lesion in the {place} {has_changed}.",
        "In the {place}, the lesion {has_changed}.",
    ),
}
"""At least three phrasings of each kind, over eighty in all."""

NAMES = {
    "one": ("it", "the lesion", "this lesion"),
    "largest": ("the largest one", "the largest lesion", "the dominant lesion"),
    "other": ("another one", "a further lesion", "another lesion"),
}
"""What ``{The}`` and ``{the}`` can be; the first of each only where it begins the sentence."""

HAS_CHANGED = {
    "grown": ("has grown", "has increased in size", "has progressed"),
    "shrunk": ("has shrunk", "has decreased in size", "has regressed"),
    "stable": ("is stable", "is unchanged", "has not changed"),
    "gone": ("has resolved", "is no longer seen", "has disappeared"),
    "new": ("is new", "has newly appeared"),
}
"""What ``{has_changed}`` can be, by the change."""

PLACES = ("{side} {region} region", "{region} region on the {side}", "{side} {region} lobe")
"""What ``{place}`` can be; the last only of the four lobes."""
LOBES = frozenset({"frontal", "parietal", "temporal", "occipital"})
