# SPDX-License-Identifier: Apache-2.0
"""The baseline of those that read: counted words and a logistic regression."""

import numpy as np

from monailabel_app.bench.tfidf import tfidf_regression

TEXTS = ["cough and fever", "fever and cough", "fell from a horse", "a fall from a horse"] * 3


def test_words_tell_the_class() -> None:
    classes = np.array([0, 0, 2, 2] * 3)
    assert tfidf_regression(TEXTS, classes, ["fever", "horse"]).tolist() == [0, 2]


def test_words_tell_each_label_by_itself() -> None:
    labels = np.array([[True, False], [True, False], [False, True], [False, True]] * 3)
    assert tfidf_regression(TEXTS, labels, ["cough", "a horse"]).astype(bool).tolist() == [[True, False], [False, True]]
