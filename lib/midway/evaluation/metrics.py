"""Scores as the reference scorers give them, and the predictors made from model outputs.

Scores are in percent; `ece`, `contrast` and `entailment_contrast` are in natural units.
Only numpy is needed. What is reimplemented, from the description of each behaviour:

- SQuAD v1.1 / v2.0 exact match and F1 (Rajpurkar et al. 2016, 2018), used by XTREME for XQuAD and
  TyDiQA-GoldP with the *English* normalisation in every language;
- MLQA's language-specific normalisation (Lewis et al. 2020);
- chunk F1 of seqeval 0.0.12 (XTREME's reference numbers) and of seqeval >= 1 (what installs now).

Examples
--------
>>> from midway import metrics
>>> metrics.qa_scores({"q": "the Nile"}, {"q": ["Nile"]}, "en", "xquad")
{'exact_match': 100.0, 'f1': 100.0}
>>> metrics.tag_scores([["B-PER", "O"]], [["B-PER", "O"]])["f1_xtreme"]
100.0
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from midway.study.errors import InputError

#: Recorded beside every score; raise it when any score of the same predictions would change.
METRIC_VERSION = 1

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MLQA_ARTICLES = {
    "en": _ARTICLES,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    # MLQA removes the letters wherever they stand, also inside a word
    "ar": re.compile("ال"),
}
_ASCII_PUNCTUATION = frozenset(string.punctuation)
_HAN = re.compile(r"[\u4e00-\u9fa5]")


# -- question answering ---------------------------------------------------------------------------


def normalise_squad(text: str) -> str:
    """SQuAD's answer normalisation: lower case; no ASCII punctuation, English articles, spaces."""
    text = "".join(c for c in text.lower() if c not in _ASCII_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def normalise_mlqa(text: str, lang: str) -> str:
    """MLQA's normalisation: Unicode punctuation, `lang`'s articles, Han characters one by one.

    Languages outside MLQA (whose own scorer refuses them) keep their articles.
    """
    text = "".join(c for c in text.lower() if c not in _ASCII_PUNCTUATION)
    text = "".join(c for c in text if unicodedata.category(c)[0] != "P")
    if lang in _MLQA_ARTICLES:
        text = _MLQA_ARTICLES[lang].sub(" ", text)
    if lang == "zh":
        text = _HAN.sub(lambda match: f" {match.group()} ", text)
    return " ".join(text.split())


def _token_f1(prediction: str, gold: str) -> float:
    """F1 of two normalised answers' bags of tokens; 0 when either is empty."""
    predicted, expected = prediction.split(), gold.split()
    common = sum((Counter(predicted) & Counter(expected)).values())
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(expected)
    return 2 * precision * recall / (precision + recall)


def qa_scores(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]],
    lang: str,
    task: str,
) -> dict[str, float]:
    """Exact match and F1 in percent, the best over each question's gold answers.

    references: id -> gold texts, or (id, gold texts) pairs: an id that occurs twice is then two
    questions with one prediction, as in the reference scorer (TyDiQA's training files have such).
    `task` chooses the rules: "mlqa" MLQA's normalisation; "squad2" an empty gold list (or only
    answers that normalise to nothing) means "no answer", which only an empty prediction meets;
    all others SQuAD v1.1. A question without prediction scores 0. Raises InputError when there
    are no questions or, outside squad2, no gold answer.
    """
    pairs: list = list(references.items() if isinstance(references, Mapping) else references)
    if not pairs:
        raise InputError(f"{task} {lang}: no questions to score")
    normalise: Callable[[str], str] = (
        (lambda text: normalise_mlqa(text, lang)) if task == "mlqa" else normalise_squad
    )
    exact = f1 = 0.0
    for key, answers in pairs:
        golds = [normalise(answer) for answer in answers]
        if task == "squad2":
            golds = [gold for gold in golds if gold] or [""]
        elif not golds:
            raise InputError(f"{task} {lang}: question {key} has no gold answer")
        if key not in predictions:
            continue
        prediction = normalise(predictions[key])
        exact += prediction in golds
        if task == "squad2" and golds == [""]:
            f1 += prediction == ""
        else:
            f1 += max(_token_f1(prediction, gold) for gold in golds)
    scale = 100.0 / len(pairs)
    return {"exact_match": exact * scale, "f1": f1 * scale}


# -- tags -----------------------------------------------------------------------------------------


def chunks(tags: Sequence[Sequence[str]], seqeval: str = "0") -> set[tuple[str, int, int]]:
    """Chunks (type, first, last) that seqeval 0.0.12 ("0") or >= 1 ("1") sees in all sentences.

    Positions run on over the sentences. Both versions take a tag's first letter as its IOBES
    prefix even when it has none, as part-of-speech tags do; version 0 then keeps the whole tag as
    the type, version 1 drops the first letter (CCONJ and SCONJ become the same type).
    """
    found = set()
    previous, previous_type, begin = "O", "", 0
    flat = [tag for sentence in tags for tag in (*sentence, "O")] + ["O"]
    for i, tag in enumerate(flat):
        prefix = tag[0]
        if seqeval == "0":
            kind = tag.split("-")[-1]
        else:
            kind = tag[1:].split("-", maxsplit=1)[-1] or "_"
        changed = kind != previous_type
        if (
            previous in "ES"
            or (previous in "BI" and prefix in "BSO")
            or (previous not in "O." and changed)
        ):
            found.add((previous_type, begin, i - 1))
        if (
            prefix in "BS"
            or (previous in "ESO" and prefix in "EI" and (previous, prefix) != ("O", "O"))
            or (prefix not in "O." and changed)
        ):
            begin = i
        previous, previous_type = prefix, kind
    return found


def _chunk_f1(pred: Sequence[Sequence[str]], gold: Sequence[Sequence[str]], seqeval: str) -> float:
    predicted, expected = chunks(pred, seqeval), chunks(gold, seqeval)
    total = len(predicted) + len(expected)
    return 200.0 * len(predicted & expected) / total if total else 0.0


def tag_scores(pred: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> dict[str, float]:
    """Chunk F1 in both seqeval semantics and token accuracy, in percent.

    pred, gold: one list of tags per sentence, of the same lengths (else InputError). `f1_xtreme`
    is what XTREME's tables hold, for part of speech too: a run of equal tags is one chunk there.
    """
    if len(pred) != len(gold):
        raise InputError(f"tags: {len(pred)} predicted sentences for {len(gold)} gold sentences")
    right = total = 0
    for i, (ours, theirs) in enumerate(zip(pred, gold, strict=True)):
        if len(ours) != len(theirs):
            raise InputError(f"tags: sentence {i + 1} has {len(ours)} tags, gold {len(theirs)}")
        if not all(ours) or not all(theirs):
            raise InputError(f"tags: sentence {i + 1} has an empty tag")
        right += sum(a == b for a, b in zip(ours, theirs, strict=True))
        total += len(theirs)
    if not total:
        raise InputError("tags: no tokens to score")
    f1 = {"f1_xtreme": _chunk_f1(pred, gold, "0"), "f1_seqeval1": _chunk_f1(pred, gold, "1")}
    return f1 | {"accuracy": 100.0 * right / total}


# -- classes --------------------------------------------------------------------------------------


def class_scores(pred: ArrayLike, gold: ArrayLike, n_labels: int) -> dict[str, float]:
    """Accuracy and macro F1 in percent; macro over the classes seen in `pred` or `gold`.

    pred, gold: (n,) class indices below `n_labels`. InputError for empty or unlabelled gold (-1).
    """
    pred, gold = np.asarray(pred, dtype=np.int64), np.asarray(gold, dtype=np.int64)
    if pred.shape != gold.shape or not gold.size:
        raise InputError(f"classes: {pred.size} predictions for {gold.size} gold labels")
    for name, values in (("gold", gold), ("predicted", pred)):
        if values.min() < 0 or values.max() >= n_labels:
            bad = values[(values < 0) | (values >= n_labels)][0]
            raise InputError(f"classes: {name} label {bad} is not in 0..{n_labels - 1}")
    table = np.zeros((n_labels, n_labels))
    np.add.at(table, (gold, pred), 1)
    hits, seen = np.diag(table), table.sum(0) + table.sum(1)
    f1 = 2 * hits[seen > 0] / seen[seen > 0]
    accuracy = 100.0 * float(hits.sum()) / gold.size
    return {"accuracy": accuracy, "macro_f1": 100.0 * float(f1.mean())}


def ece(probs: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error in [0, 1] (Guo et al. 2017), equal-width bins (lower, upper].

    probs: (n, k) class probabilities; labels: (n,) gold indices.
    """
    probs, labels = np.asarray(probs, dtype=np.float64), np.asarray(labels)
    confidence = probs.max(axis=1)
    correct = probs.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def entailment_contrast(scores: ArrayLike, entailed: ArrayLike) -> float:
    """Mean of `scores` over entailed pairs minus the mean over the others (our definition).

    scores: (n,) P(entailed), or cosines of premise and hypothesis for the probe; in [-1, 1] for
    probabilities. nan when one of the two groups is empty.
    """
    scores, entailed = np.asarray(scores, dtype=np.float64), np.asarray(entailed, dtype=bool)
    if entailed.all() or not entailed.any():
        return float("nan")
    return float(scores[entailed].mean() - scores[~entailed].mean())
