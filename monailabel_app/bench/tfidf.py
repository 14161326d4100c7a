# SPDX-License-Identifier: Apache-2.0
"""What a network that reads is to be better than: counted words and a logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from ..roots import lib_module


def tfidf_regression(train: Sequence[str], targets: npt.NDArray[Any], test: Sequence[str]) -> npt.NDArray[Any]:
    """Words and pairs of words, weighted by rarity, and a logistic regression, balanced between the classes.

    Args:
        train: Texts to learn from.
        targets: Class of each (N,), or for each label whether it holds (N, K).
        test: Texts to judge.

    Returns:
        As ``targets``, for ``test``.

    Raises:
        InputError: If scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
    except ImportError as missing:
        raise lib_module("types").InputError(
            f"this benchmark needs the extra 'bench': pip install 'lesionloop[bench]' ({missing})"
        ) from missing
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    vectors = vectorizer.fit_transform(train)
    regression = LogisticRegression(class_weight="balanced", C=10, max_iter=1000)
    model = OneVsRestClassifier(regression) if targets.ndim > 1 else regression
    found: npt.NDArray[Any] = model.fit(vectors, targets).predict(vectorizer.transform(test))
    return found
