"""Bag-of-words and character features, and linear models of them, for the control baselines.

``kinds`` builds its controls from these features. scikit-learn and scipy are imported on first use.
"""

import re
from collections.abc import Sequence

import numpy as np

MOST = 20_000  # texts a model is fitted on; sentences a side for character n-grams

_SPACELESS = r"\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff"  # Thai, Lao, kana, Han: by character
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]+")


def words(text: str) -> list[str]:
    """Lower-case words of a text."""
    return _WORD.findall(text.lower())


def overlap(a: Sequence[str], b: Sequence[str]) -> list[float]:
    """Overlap of two texts in words and word pairs: six features in [0, 1]."""
    one, two = set(a), set(b)
    pairs_a, pairs_b = set(zip(a, a[1:], strict=False)), set(zip(b, b[1:], strict=False))
    shared = len(one & two)
    return [
        shared / max(1, len(one | two)),
        shared / max(1, len(one)),
        shared / max(1, len(two)),
        len(pairs_a & pairs_b) / max(1, len(pairs_b)),
        len(pairs_a & pairs_b) / max(1, len(pairs_a)),
        min(len(a), len(b)) / max(1, len(a), len(b)),
    ]


def places_of(context: str) -> tuple[list[tuple[int, int]], float]:
    """Where words stand, and how many of these make one word (2 in scripts without spaces)."""
    places = [match.span() for match in _WORD.finditer(context)] or [(0, len(context))]
    single = sum(bool(re.match(f"[{_SPACELESS}]", context[a:b])) for a, b in places)
    return places, 2.0 if single > len(places) / 2 else 1.0


def window(tokens: list[str], question: set[str], length: int) -> int:
    """First word of the candidate of `length` words that has question words nearest around it.

    A candidate's score is the sum of 1 / distance to them (as in the distance-based variant of
    Richardson et al. 2013); a candidate that holds one is out.
    """
    first = np.arange(max(1, len(tokens) - length + 1))
    hits = np.flatnonzero([token in question for token in tokens])
    away = np.maximum(first[:, None] - hits, hits - (first[:, None] + length - 1))
    return int(np.where(away > 0, 1 / np.maximum(away, 1), -np.inf).sum(axis=1).argmax())


class Linear:
    """Logistic regression over which words occur, and dense numbers beside them."""

    def __init__(self, bags, labels, dense=None):
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression

        self.words = CountVectorizer(analyzer=set, binary=True, dtype=np.float32).fit(bags)
        self.model = LogisticRegression(max_iter=200).fit(self._features(bags, dense), labels)

    def _features(self, bags, dense):
        from scipy import sparse

        known = self.words.transform(bags)
        return known if dense is None else sparse.hstack([known, np.array(dense)], format="csr")

    def predict(self, bags, dense=None) -> np.ndarray:
        return self.model.predict(self._features(bags, dense))

    def decision(self, bags, dense=None) -> np.ndarray:
        return self.model.decision_function(self._features(bags, dense))


def nearest_by_ngrams(left: Sequence[str], right: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Nearest right text of each left one and the reverse, by tf-idf of character n-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import pairwise_distances_argmin

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32)
    both = vectorizer.fit_transform([*left, *right])
    sides = both[: len(left)], both[len(left) :]
    x, y = (pairwise_distances_argmin(*s, metric="cosine") for s in (sides, sides[::-1]))
    return x, y
