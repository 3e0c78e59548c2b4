"""Baselines that see only the surface: what mini must not be solvable by."""

import re

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression


def words(text: str) -> list[str]:
    """Words; each Chinese character is one."""
    return re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+", text.lower())


def overlap(rows: list[dict]) -> np.ndarray:
    """Shared words, lengths and their shares: 5 numbers a row."""
    table = []
    for row in rows:
        a, b = words(row["text_a"]), words(row["text_b"])
        shared = len(set(a) & set(b))
        jaccard = shared / len(set(a) | set(b))
        table.append([shared, shared / len(set(b)), len(a) / 10, len(b) / 10, jaccard])
    return np.array(table)


def bag_accuracy(train: list[dict], test: list[dict], premise: bool = True) -> float:
    """Accuracy in percent of logistic regression on bags of words (+ overlap with a premise)."""
    sides = ["text_a", "text_b"] if premise else ["text_b"]
    blocks_train, blocks_test = [], []
    for side in sides:
        bag = CountVectorizer(tokenizer=words, token_pattern=None, lowercase=False)
        blocks_train.append(bag.fit_transform([row[side] for row in train]))
        blocks_test.append(bag.transform([row[side] for row in test]))
    if premise:
        bag = CountVectorizer(tokenizer=words, token_pattern=None, lowercase=False)

        def both(row):
            return " ".join(sorted(set(words(row["text_a"])) & set(words(row["text_b"]))))

        blocks_train.append(bag.fit_transform([both(row) for row in train]))
        blocks_test.append(bag.transform([both(row) for row in test]))
        blocks_train.append(csr_matrix(overlap(train)))
        blocks_test.append(csr_matrix(overlap(test)))
    model = LogisticRegression(max_iter=2000, C=0.3)
    model.fit(hstack(blocks_train), [row["label"] for row in train])
    right = model.predict(hstack(blocks_test)) == np.array([row["label"] for row in test])
    return 100 * float(right.mean())
