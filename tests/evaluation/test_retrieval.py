"""Retrieval and mining find what an exact search finds, and what XTREME's scripts found."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from midway.evaluation import neighbours, retrieval
from midway.study.errors import InputError


def vectors(n: int, m: int, size: int = 16, shared: float = 2.0, seed: int = 0):
    """Two sides with a large common direction, the first min(n, m) // 2 rows translations."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, size)), rng.standard_normal((m, size))
    half = min(n, m) // 2
    y[:half] = x[:half] + 0.3 * y[:half]
    common = shared * rng.standard_normal(size)
    return (x + common).astype(np.float32), (y + common).astype(np.float32)


def brute(x, y, k):
    """k-NN by a full sort, in float64."""
    x, y = (np.asarray(v, dtype=np.float64) for v in (x, y))
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    order = np.argsort(-(x @ y.T), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(x @ y.T, order, axis=1), order


# -- against the reference scripts' own output ----------------------------------------------------


@pytest.mark.parametrize("case", range(3))
def test_mining_equals_reference(shared, case):
    """BUCC candidates, threshold and scores are the reference's."""
    folder = shared / "oracle"
    record = json.loads((folder / "mining_public.json").read_text("utf-8"))[case]
    with np.load(folder / record["embeddings"]) as file:
        x, y, gold = file["x"], file["y"], {tuple(pair) for pair in file["gold"].tolist()}
    options = {"margin": record["margin"], "retrieval": record["retrieval"]}
    pairs, scores = retrieval.mine(x, y, record["neighbourhood"], memory_mb=1, **options)
    pairs = [tuple(pair) for pair in pairs.tolist()]
    expected = {(i, j): score for i, j, score in record["candidates"]}
    assert dict(zip(pairs, scores, strict=True)) == pytest.approx(expected, abs=1e-4)
    threshold = retrieval.best_threshold(pairs, scores, gold)
    assert threshold == pytest.approx(record["expected"]["threshold"], abs=1e-6)
    found = retrieval.mining_scores(pairs, scores, gold, threshold)
    assert found == pytest.approx({name: record["expected"][name] for name in found}, abs=1e-6)
    near = retrieval.nearest(y, x)
    assert near.tolist() == record["expected"]["nearest_x_of_each_y"]


# -- neighbours -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n,m,k", [(1, 1, 4), (3, 2, 4), (70, 33, 4), (700, 2100, 4), (600, 65, 1)])
def test_neighbours_are_exact(n, m, k):
    """Many products or one: the same rows are nearest."""
    x, y = vectors(n, m)
    for memory in (0.1, neighbours.MEMORY_MB):
        results = neighbours.neighbours(x, y, k, memory_mb=memory)
        for (values, places), (a, b) in zip(results, ((x, y), (y, x)), strict=True):
            cosines, order = brute(a, b, min(k, len(b)))
            assert values.dtype == torch.float32 and places.dtype == torch.int64
            np.testing.assert_allclose(values, cosines, atol=2e-6)
            assert (places.numpy() == order).mean() > 0.999  # equal cosines may change places


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 80),
    m=st.integers(1, 80),
    k=st.integers(1, 9),
    seed=st.integers(0, 99),
    step=st.integers(1, 40),
)
def test_neighbours_are_exact_for_any_shape(n, m, k, seed, step):
    """Whatever the sizes and the memory given, cosines are the k largest."""
    x, y = vectors(n, m, seed=seed, shared=seed % 3)
    left, right = neighbours.unit(x), neighbours.unit(y)
    for memory in (step * m * 4 / 2**20, neighbours.MEMORY_MB):
        (ahead, _), (back, places) = neighbours.neighbours(x, y, k, memory_mb=memory)
        np.testing.assert_allclose(ahead, brute(x, y, k)[0], atol=2e-6)
        np.testing.assert_allclose(back, brute(y, x, k)[0], atol=2e-6)
        values = torch.einsum("mkd,md->mk", left[places], right)
        np.testing.assert_allclose(values, back, atol=2e-6)


@pytest.mark.parametrize(
    "bad", [np.full((2, 3), np.nan), np.full((2, 3), 1e30), np.zeros((0, 3)), np.zeros(3)]
)
def test_vectors_that_are_none_are_refused(bad):
    """A diverged encoder is reported, not given a retrieval score."""
    with pytest.raises(InputError, match="vectors"):
        retrieval.nearest(bad, np.ones((2, 3)))
    with pytest.raises(InputError, match="2 and 3 dimensions"):
        retrieval.nearest(np.ones((4, 2)), np.ones((4, 3)))


def test_retrieval_accuracy_by_hand():
    """Two of three foreign sentences find their English one; one English one finds its source."""
    source = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    target = np.array([[1.0, 0.0], [0.99, 0.0], [0.6, 0.8]])
    scores = retrieval.retrieval_accuracy(source, target)
    # foreign -> English: 0 finds 0 (a tie with 1, lower first), 1 finds 2 or 0: not 1, 2 finds 2
    # English -> foreign: 0 finds 0, 1 finds 0, 2 finds 2
    assert scores["from_english"] == pytest.approx(200 / 3)
    assert scores["to_english"] == pytest.approx(200 / 3)
    assert scores["both"] == pytest.approx(200 / 3)
    assert retrieval.precision_at_1(source, target) == scores["both"]
    with pytest.raises(InputError, match="3 sources for 2"):
        retrieval.retrieval_accuracy(source, target[:2])


def test_directions_differ():
    """Foreign at 0 and 50 degrees, English at 20 and 21: both find theirs, one is found back."""
    source, target = (
        np.stack([np.cos(angles), np.sin(angles)], axis=1)
        for angles in (np.radians([0, 50]), np.radians([20, 21]))
    )
    scores = retrieval.retrieval_accuracy(source, target)
    assert scores == {"to_english": 100, "from_english": 50, "both": 75}


# -- mining ---------------------------------------------------------------------------------------


def test_mining_by_hand():
    """The ratio margin of a 2 x 2 table, worked out: each row once, best first."""
    x = np.array([[1.0, 0.0], [0.6, 0.8]])
    y = np.array([[1.0, 0.0], [0.8, 0.6]])
    # cosines [[1, .8], [.6, .96]]; means over k = 2: x .9 .78, y .8 .88
    pairs, scores = retrieval.mine(x, y, 2)
    assert pairs.tolist() == [[0, 0], [1, 1]]
    np.testing.assert_allclose(scores, [1 / 0.85, 0.96 / 0.83], rtol=1e-6)
    np.testing.assert_allclose(retrieval.mine(x, y, 2, margin="distance")[1], [0.15, 0.13], 1e-5)
    np.testing.assert_allclose(retrieval.mine(x, y, 2, margin="absolute")[1], [1, 0.96], 1e-6)
    for way in ("fwd", "bwd", "intersect"):
        assert retrieval.mine(x, y, 2, retrieval=way)[0].tolist() == [[0, 0], [1, 1]]
    with pytest.raises(InputError, match="cosine"):
        retrieval.mine(x, y, margin="cosine")


def mined(x, y, k, margin, way):
    """Every pair of sentences scored one by one: {(i, j): score} of those that are kept."""
    cosine, flipped = brute(x, y, len(y))[0], brute(y, x, len(x))[0]
    every = x @ y.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(y, axis=1)
    of_x, of_y = cosine[:, :k].mean(1), flipped[:, :k].mean(1)

    def score(i, j):
        mean = (of_x[i] + of_y[j]) / 2
        known = {"ratio": every[i, j] / mean, "distance": every[i, j] - mean}
        return known.get(margin, every[i, j])

    near = np.argsort(-every, 1)[:, :k]  # only neighbours are candidates
    ahead = [(i, max(near[i], key=lambda j: score(i, j))) for i in range(len(x))]
    near = np.argsort(-every.T, 1)[:, :k]
    back = [(max(near[j], key=lambda i: score(i, j)), j) for j in range(len(y))]
    kept = {"fwd": ahead, "bwd": back, "intersect": set(ahead) & set(back)}.get(way)
    if kept is None:
        kept, rows, columns = [], set(), set()
        for i, j in sorted({*ahead, *back}, key=lambda pair: -score(*pair)):
            if i not in rows and j not in columns:
                kept, rows, columns = [*kept, (i, j)], rows | {i}, columns | {j}
    return {(int(i), int(j)): score(i, j) for i, j in kept if score(i, j) > 0}


@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
@pytest.mark.parametrize("way", ["fwd", "bwd", "intersect", "max"])
def test_mining_by_brute_force(margin, way):
    """Each margin and direction, on sides of unequal size; margins of 0 and less are dropped."""
    x, y = vectors(23, 14, size=5, shared=0.0 if margin == "absolute" else 1.0)
    pairs, scores = retrieval.mine(x, y, 3, margin=margin, retrieval=way)
    found = dict(zip(map(tuple, pairs.tolist()), scores, strict=True))
    known = mined(x.astype(float), y.astype(float), 3, margin, way)
    assert found == pytest.approx(known, abs=1e-5) and list(scores) == sorted(scores)[::-1]
    assert margin != "distance" or len(known) < {"fwd": 23, "bwd": 14}.get(way, 14)


def test_mining_looks_at_four_neighbours():
    """XTREME's default; three or five give other margins."""
    x, y = vectors(20, 20)
    rows = [{"id": str(i), "text": str(i)} for i in range(20)]
    usual, bucc = retrieval.mine(x, y)[1], retrieval.mine_bucc(x, y, rows, rows)[1]
    for k in (3, 4, 5):
        same = np.allclose(retrieval.mine(x, y, k)[1][:5], usual[:5], atol=1e-6)
        assert same == (k == 4) == np.allclose(retrieval.mine(x, y, k)[1][:5], bucc[:5], atol=1e-6)


def test_each_row_is_mined_once():
    """Greedy 'max' retrieval never gives a sentence two translations."""
    pairs, scores = retrieval.mine(*vectors(120, 90))
    assert len(set(pairs[:, 0])) == len(pairs) == len(set(pairs[:, 1]))
    assert (np.diff(scores) <= 0).all() and (scores > 0).all()


def test_repeated_sentences_are_not_reported():
    """Equal sentences are one candidate whose id is unknown, as in XTREME."""
    texts = ["a", "b ", "b", "c"]
    x = np.eye(4)[[0, 1, 1, 2]]
    x_rows = [{"id": f"x{i}", "text": text} for i, text in enumerate(texts)]
    y_rows = [{"id": f"y{i}", "text": text} for i, text in enumerate("pqr")]
    pairs, scores = retrieval.mine_bucc(x, np.eye(4)[:3], x_rows, y_rows, k=2)
    assert pairs == [("x0", "y0"), ("x3", "y2")] and len(scores) == 2


def test_threshold_by_hand():
    """Right, right, wrong, right, wrong with 4 gold: best after four, half way to the fifth."""
    pairs, scores = list("abcde"), [5.0, 4.0, 3.0, 2.0, 1.0]
    gold = {"a", "b", "d", "z"}
    assert retrieval.best_threshold(pairs, scores, gold) == 1.5  # F1 .75; after two: .67
    assert retrieval.mining_scores(pairs, scores, gold, 1.5) == pytest.approx(
        {"f1": 75, "precision": 75, "recall": 75}
    )
    assert retrieval.best_threshold(pairs, scores, {"z"}) == 0
    assert retrieval.best_threshold(["a"], [2.0], {"a"}) == 2  # the reference fails here
    # of two cuts with the same F1 (2/3 after one and after four) the first
    assert retrieval.best_threshold(list("abcd"), [4.0, 3.0, 2.0, 1.0], {"a", "d"}) == 3.5
    assert retrieval.mining_scores(pairs, scores, gold, 3.0) == pytest.approx(
        {"f1": 400 / 7, "precision": 200 / 3, "recall": 50}
    )  # a score equal to the threshold is taken
    assert retrieval.mining_scores(pairs, scores, gold, 9)["f1"] == 0
    with pytest.raises(InputError, match="no gold"):
        retrieval.mining_scores(pairs, scores, set(), 1)


@given(st.lists(st.tuples(st.floats(0.01, 9), st.booleans()), min_size=1, max_size=30))
def test_threshold_is_the_best(items):
    """No other cut gives a better F1 (scores that differ)."""
    items = list({score: right for score, right in items}.items())
    pairs, scores = list(range(len(items))), [score for score, _ in items]
    gold = {i for i, (_, right) in enumerate(items) if right} or {-1}
    chosen = retrieval.best_threshold(pairs, scores, gold)
    best = retrieval.mining_scores(pairs, scores, gold, chosen)["f1"]
    for cut in scores:
        assert retrieval.mining_scores(pairs, scores, gold, cut)["f1"] <= best + 1e-9


# -- what vectors alone tell ----------------------------------------------------------------------


def test_cosine_gap_by_hand():
    """Translations at cosines 1 and 0.8, the two other pairs at 0 and 0.6: 0.9 - 0.3."""
    source = np.array([[1.0, 0.0], [0.6, 0.8]])
    target = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert retrieval.cosine_gap(source, target) == pytest.approx(0.9 - 0.3)


@pytest.mark.parametrize("n,d", [(40, 5), (12, 20)])
def test_logme_is_the_maximum_evidence(n, d):
    """The fixed point finds what a direct maximisation of the Gaussian evidence finds."""
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(n)
    features = rng.standard_normal((n, d)) * np.linspace(2, 0.5, d)
    labels = (features[:, 0] + 0.7 * rng.standard_normal(n) > 0).astype(int)

    def negative_evidence(logs, target):
        # y ~ N(0, I / beta + F F' / alpha)
        covariance = np.eye(n) / np.exp(logs[1]) + features @ features.T / np.exp(logs[0])
        _, logdet = np.linalg.slogdet(covariance)
        quadratic = target @ np.linalg.solve(covariance, target)
        return 0.5 * (logdet + quadratic + n * np.log(2 * np.pi)) / n

    best = []
    for label in (0, 1):
        target = (labels == label).astype(float)
        runs = [
            optimize.minimize(negative_evidence, start, args=(target,), method="Nelder-Mead").fun
            for start in ([0, 0], [3, 1], [-2, 2])
        ]
        best.append(-min(runs))
    assert retrieval.logme(features, labels) == pytest.approx(np.mean(best), abs=1e-4)


def test_logme_prefers_informative_features():
    """Features that carry the label have more evidence than noise; class names do not matter."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 200)
    noise = rng.standard_normal((200, 10))
    informed = noise + 3 * np.eye(3, 10)[labels]
    assert retrieval.logme(informed, labels) > retrieval.logme(noise, labels) + 0.1
    assert retrieval.logme(noise, labels) == pytest.approx(retrieval.logme(noise, labels * 7))
    one_hot = labels[:, None] == np.arange(3)
    assert retrieval.logme(noise, one_hot) == pytest.approx(retrieval.logme(noise, labels))
    with pytest.raises(InputError, match="logme"):
        retrieval.logme(noise, labels[:5])
    for features, targets in ((noise[:1], [1]), (noise, np.empty((200, 0)))):
        with pytest.raises(InputError, match="logme"):
            retrieval.logme(features, targets)


def test_logme_of_features_that_are_the_labels():
    """The noise is nil: its precision stops at 1e12, and the evidence is finite, by the formula."""
    labels = np.array([0, 1] * 10)
    features = np.eye(2)[labels]
    found = retrieval.logme(features, labels)
    # power 10 in both directions; all of y inside one of them: alpha = gamma = 1, weights 1
    n, d, alpha, beta = 20, 2, 1.0, 1e12
    evidence = d * np.log(alpha) + n * np.log(beta / 2 / np.pi) - 1 - 2 * np.log(alpha + 10 * beta)
    assert found == pytest.approx(evidence / 2 / n, abs=0.01)
