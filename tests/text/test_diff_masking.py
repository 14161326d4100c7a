# SPDX-License-Identifier: Apache-2.0
"""What a correction changed, and texts without the names of diseases."""

import pytest

from lib.text.diff import Piece, changed_share, word_diff
from lib.text.masking import DISEASES, mask_diseases
from lib.text.tokens import DISEASE, tokenize
from lib.types.errors import InputError


def test_diff_names_what_changed():
    assert word_diff("The lesion is 3.2 cm, left.", "The lesion is 3.0 cm, left side.") == [
        Piece("equal", "The lesion is", "The lesion is"),
        Piece("replace", "3.2", "3.0"),
        Piece("equal", "cm, left", "cm, left"),
        Piece("insert", "", "side"),
        Piece("equal", ".", "."),
    ]
    assert Piece("insert", "", "side").to_json() == {"kind": "insert", "before": "", "after": "side"}


@pytest.mark.parametrize(
    ("draft", "signed", "share"),
    [
        ("", "", 0),
        ("a b", "a b", 0),
        ("a b", "c d", 1),
        ("a b", "a b c d", 0.5),
        ("a b c d", "", 1),
        ("a  b", "a\nb", 0),
    ],
)
def test_share_of_words_changed(draft, signed, share):
    assert changed_share(draft, signed) == pytest.approx(share)
    assert changed_share(signed, draft) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("COVID-19 pneumonia.", "<disease>."),
        ("Confirmed by RT-PCR; fever.", "Confirmed by <disease>; fever."),
        ("SARS-CoV-2 and E. coli", "<disease> and <disease>"),
        ("Streptococcus pneumoniae infection", "<disease> infection"),
        ("Parapneumonic effusion in the flue.", "Parapneumonic effusion in the flue."),
        ("No effusion.", "No effusion."),
    ],
)
def test_masking(text, masked):
    assert mask_diseases(text) == masked


def test_masking_of_some():
    assert mask_diseases("covid and influenza", ["viral"]) == "covid and <disease>"
    assert mask_diseases("covid", []) == "covid"
    assert "covid" in DISEASES
    with pytest.raises(InputError, match="no names known of"):
        mask_diseases("covid", ["gout"])


def test_the_mask_is_one_token():
    assert tokenize(mask_diseases("Severe COVID-19, day 3")).tokens[1] == DISEASE
