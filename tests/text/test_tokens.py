# SPDX-License-Identifier: Apache-2.0
"""Text to tokens and back; numbers are slots, placeholders stay."""

import random

import pytest

from lib.configs.report import BEGIN, END, UNKNOWN
from lib.configs.report import PAD as PAD_ID
from lib.text.facts import Side
from lib.text.grammar import MeasuredLesion, MeasuredStudy, write_report
from lib.text.tokens import SLOTS, Slot, SlotValue, detokenize, tokenize
from lib.text.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary, character_ngrams
from lib.types.errors import InputError

KEPT = [
    "There are two lesions: a 3.2 x 2.1 cm hyperintense lesion (8.4 ml) in the left frontal lobe.",
    "XXXX-year-old with chest x-XXXX. Seen on [DATE] by ___.",
    "The number of lesions is three. Grown by 35% over 92 days.",
    "Old, well-healed rib fracture; XXXX/XXXX.",
    "The 2nd lesion doesn't change; the largest one is new.",
    "1. No acute disease. 2. Stable 12 mm nodule.",
    "Is it 3.5 cc? It is 35 percent smaller than 2 weeks ago!",
]


@pytest.mark.parametrize("text", KEPT)
def test_round_trip(text):
    tokenized = tokenize(text)
    assert detokenize(tokenized.tokens, tokenized.values) == text


@pytest.mark.parametrize("text", KEPT)
def test_no_token_has_a_digit_of_a_number(text):
    assert not any(character.isdigit() for token in tokenize(text).tokens for character in token)


@pytest.mark.parametrize(
    ("text", "slot", "value"),
    [
        ("3.2 cm", Slot.LENGTH, 32.0),
        ("12mm", Slot.LENGTH, 12.0),
        ("3-cm", Slot.LENGTH, 30.0),
        ("8,4 ml", Slot.VOLUME, 8.4),
        ("8.4 cm3", Slot.VOLUME, 8.4),
        ("35 %", Slot.PERCENT, 35.0),
        ("2 weeks", Slot.DAYS, 14.0),
        ("1 day", Slot.DAYS, 1.0),
        ("three lesions", Slot.COUNT, 3.0),
        ("2 small focal lesions", Slot.COUNT, 2.0),
        ("One lesion", Slot.COUNT, 1.0),
        ("seven", Slot.NUMBER, 7.0),
        ("58", Slot.NUMBER, 58.0),
        ("XXXX", Slot.DEID, None),
        ("[DATE]", Slot.DEID, None),
        ("_____", Slot.DEID, None),
    ],
)
def test_slots(text, slot, value):
    tokenized = tokenize(text)
    assert tokenized.tokens[0] == slot
    assert (tokenized.values[0].slot, tokenized.values[0].value) == (slot, value)


def test_words_that_hold_digits_or_the_word_one_stay_words():
    assert tokenize("T2 at C5-6, the largest one").tokens == ("t2", "at", "c5-6", ",", "the", "largest", "one")


def test_spans_point_into_the_text():
    text = "A 3.2 x 2.1 cm lesion."
    tokenized = tokenize(text)
    assert [text[start:end] for start, end in tokenized.spans] == ["A", *["3.2 x 2.1 cm"] * 3, "lesion", "."]


def test_the_x_of_a_size_has_no_other_form():
    vocabulary = Vocabulary.build(["On FLAIR a lesion of 3 x 2 cm."], minimum_count=1)
    assert vocabulary.forms == {"flair": "FLAIR"}


def test_values_from_measurements_are_written():
    tokens = ["it", "measures", "<length_mm>", "x", "<length_mm>", "(", "<volume_ml>", ")", ",", "<percent>", "."]
    values = [
        SlotValue(Slot.LENGTH, 12.0, "cm"),
        SlotValue(Slot.LENGTH, 8.0, "cm"),
        SlotValue(Slot.VOLUME, 0.5),
        SlotValue(Slot.PERCENT, 35.0),
    ]
    assert detokenize(tokens, values) == "It measures 1.2 x 0.8 cm (0.5 ml), 35%."


def test_values_must_be_those_of_the_slots():
    with pytest.raises(InputError, match="expected a value of it, got none"):
        detokenize(["<count>"])
    with pytest.raises(InputError, match="expected a value of it, got <days>"):
        detokenize(["<count>"], [SlotValue(Slot.DAYS, 3.0)])
    with pytest.raises(InputError, match="more values than the 0 slots"):
        detokenize(["lesion"], [SlotValue(Slot.COUNT, 3.0)])


def test_grammar_sentences_survive_and_hold_no_numbers():
    for seed in range(300):
        draw = random.Random(seed)
        lesions = [
            MeasuredLesion(i, Side.LEFT, "frontal", draw.uniform(2, 90), draw.uniform(1, 9), draw.uniform(0, 99))
            for i in range(seed % 4)
        ]
        for sentence in write_report(MeasuredStudy(tuple(lesions)), seed):
            tokenized = tokenize(sentence.text)
            assert detokenize(tokenized.tokens, tokenized.values) == sentence.text
            assert not any(character.isdigit() for character in "".join(tokenized.tokens))


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    texts = ["The FLAIR lesion is stable.", "A FLAIR lesion of 3 mm; flair is good. Lesion on MR.", "On MR, stable."]
    return Vocabulary.build(texts, minimum_count=2, buckets=64)


def test_vocabulary_has_what_is_frequent(vocabulary):
    assert vocabulary.tokens[: len(SPECIALS)] == SPECIALS
    assert vocabulary.id_of(PAD) == 0
    assert "lesion" in vocabulary
    assert "good" not in vocabulary
    assert vocabulary.forms == {"flair": "FLAIR", "mr": "MR"}
    assert [vocabulary.tokens[i] for i in vocabulary.slot_ids] == list(SLOTS)


def test_vocabulary_encodes_and_decodes(vocabulary):
    tokenized = vocabulary.encode("The flair lesion is stable.")
    assert vocabulary.decode([BEGIN, *tokenized.ids, END, 9, 0], tokenized.values) == "<unk> FLAIR lesion is stable."
    sized = vocabulary.encode("A lesion of 3 mm")
    assert vocabulary.id_of("<length_mm>") in sized.ids
    with pytest.raises(InputError, match="id 9999"):
        vocabulary.decode([9999])


def test_unknown_words_are_read_by_their_letters(vocabulary):
    known, unknown, again, short = vocabulary.groups(["lesion", "glioblastoma", "glioblastoma", "x"])
    assert known == ()
    assert unknown == again
    assert len(unknown) > 10
    assert all(0 <= bucket < vocabulary.buckets for bucket in unknown + short)
    assert short
    assert vocabulary.id_of("glioblastoma") == vocabulary.id_of("<unk>")
    assert "<gl" in character_ngrams("glioma")
    assert Vocabulary(SPECIALS, buckets=0).groups(["glioma"]) == ((),)


def test_alike_words_share_buckets():
    vocabulary = Vocabulary(SPECIALS, buckets=4096)
    one, plural, other = map(set, vocabulary.groups(["glioblastoma", "glioblastomas", "haemorrhage"]))
    assert len(one & plural) > 0.7 * len(one)
    assert len(one & other) < 0.2 * len(one)


def test_first_ids_are_those_of_the_network():
    assert [SPECIALS[i] for i in (PAD_ID, UNKNOWN, BEGIN, END)] == [PAD, UNK, BOS, EOS]


def test_vocabulary_as_json(vocabulary):
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    for bad in ("", "[]", '{"words": []}', '{"specials": ["a"], "words": [], "forms": {}, "buckets": 1}'):
        with pytest.raises(InputError, match="vocabulary"):
            Vocabulary.from_json(bad)
