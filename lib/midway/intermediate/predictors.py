"""Predictors: measurements on an intermediate task during its training.

Formulas and sources: ``docs/metrics.md``. Scores are percentages; loss, contrasts, calibration
error and the cosine gap keep their natural units.
"""

import numpy as np
import torch

from midway import kinds
from midway.data import sources
from midway.encoder import predict
from midway.encoder.batches import evaluation_batches
from midway.encoder.device import Inputs, Machine
from midway.encoder.heads import Model, pool
from midway.evaluation import metrics, retrieval
from midway.kinds import encode
from midway.kinds.kind import Answers
from midway.kinds.tokens import columns, texts
from midway.study.errors import MissingData

GROUPS = 10  # of rows that are left out in turn


def jackknife(measure, n: int) -> dict[str, list[float]]:
    """Metric -> its values without each of ten groups of rows; their spread is the items' error.

    measure: takes a function from a number of rows to those that stay; n: rows of the smallest set.
    """
    if n < 2 * GROUPS:
        return {}
    made = [
        measure(lambda rows, g=g: np.flatnonzero(np.arange(rows) % GROUPS != g))
        for g in range(GROUPS)
    ]
    names = [k for k in made[0] if all(m.get(k, np.nan) == m.get(k) for m in made)]
    return {k: [float(f"{m[k]:.6g}") for m in made] for k in names}


class Development:
    """Rows of a task, tokenised once for a model; measured at every checkpoint of training."""

    def __init__(self, run, card, rows, labels, plan, model: Model, head: str):
        pieces = run.encoded.tokenizer
        features = encode(rows, card.kind, labels, pieces, plan.max_length, plan.stride)
        self.card, self.rows, self.labels, self.machine = card, rows, labels, run.machine
        self.inputs, self.model = Inputs(features, model, run.machine, run.cache), model
        self.head = head  # XNLI is answered by MNLI's

    def answers(self) -> Answers:
        given = self.inputs, self.rows, self.labels, self.machine
        return predict.answer(self.model, self.head, *given, null=self.card.name == "squad2")

    def measure(self) -> dict[str, float]:
        """Every predictor that the task's kind allows; without groups of rows in ``left_out``."""
        a, rows = self.answers(), columns(self.rows)

        def some(stay):
            keep = stay(len(self.rows))
            return self._metrics(a.of(keep), {k: [v[i] for i in keep] for k, v in rows.items()})

        self.left_out = jackknife(some, len(self.rows))
        return self._metrics(a, rows)

    def _metrics(self, a: Answers, rows: dict) -> dict[str, float]:
        kind = kinds.get(self.card.kind)
        scores = kind.measure(self.card, a, rows)
        out = {"loss": a.loss, "contrast": a.contrast} | scores
        # One column, the chosen answer's probability; label 0 says that it was right.
        out["ece"] = metrics.ece(a.confidence[:, None], ~np.asarray(a.right))
        return out | {"main": kind.main(self.card, scores)}


class Probes:
    """Probes of the sentence vectors, with the same sentences for every variant.

    probe_entailment_contrast: mean cosine of (premise, entailed hypothesis) minus that of the
    other pairs, English NLI development pairs (ours); retrieval_probe: accuracy of finding an
    English paraphrase; cosine_gap and p_at_1: on translations (2601.03168), mean over languages.
    """

    def __init__(self, study, model: Model, tokenizer, machine: Machine, cache):
        self.model, self.machine = model, machine
        self.layer = study.encoder.retrieval_layer or model.depth
        size, data = study.intermediate.probe_size, study.data
        self.sets: dict[str, tuple] = {}
        self.missing: dict[str, str] = {}

        def keep(name, left, right, extra=None):
            if len(left) < 2:  # one pair has no other pairs to compare with
                self.missing[name] = f"{name}: {len(left)} pairs, at least 2 are needed"
                return
            both = texts([*left, *right], tokenizer, study.intermediate.max_length)
            self.sets[name] = Inputs(both, model, machine, cache), len(left), extra

        rows = self._rows("mnli", "en", data, size)
        if rows is not None and len({y == 0 for y in rows["label"]}) == 2:
            keep("nli", rows["text_a"], rows["text_b"], np.array(rows["label"]) == 0)
        rows = self._rows("qqp", "en", data, 4 * size)
        if rows is None:
            rows = self._rows("pawsx", "en", data, 4 * size)
        if rows is not None:
            same = rows.to_pandas().query("label == 1").to_dict("list")
            keep("paraphrase", same["text_a"][:size], same["text_b"][:size])
        english = self._rows("xnli", "en", data, 3 * size)
        chosen = study.intermediate.probe_languages or sources.evaluated(study, "xnli")
        for lang in chosen:
            rows = self._rows("xnli", lang, data, 3 * size) if lang != "en" else None
            if rows is None or english is None:
                continue
            if len(rows) != len(english):
                self.missing[f"xnli.{lang}"] = f"{len(rows)} rows, English {len(english)}"
                continue
            pairs = dict(zip(english["text_a"], rows["text_a"], strict=True))
            keep(f"parallel.{lang}", list(pairs)[:size], list(pairs.values())[:size])

    def _rows(self, task, lang, data, size):
        try:
            return sources.load(task, "dev", lang, data, size)
        except MissingData as error:
            self.missing[f"{task}.{lang}"] = str(error)
            return None

    def measure(self) -> dict[str, float]:
        """The four probes; one that has no data is left out (see ``missing``).

        ``left_out``: the same without groups of sentences, in all languages at once.
        """
        sets = {}
        for name, (inputs, n, entailed) in self.sets.items():
            both = predict.vectors(self.model, inputs, self.machine, [self.layer])[self.layer]
            sets[name] = both[:n], both[n:], entailed

        def some(stay):
            keep = {k: stay(len(left)) for k, (left, *_) in sets.items()}
            parts = {k: [v if v is None else v[keep[k]] for v in s] for k, s in sets.items()}
            return self._metrics(parts)

        least = min((len(left) for left, *_ in sets.values()), default=0)
        self.left_out = jackknife(some, least)
        return self._metrics(sets)

    def _metrics(self, sets: dict) -> dict[str, float]:
        out: dict[str, float] = {}
        gaps, hits = [], []
        for name, (left, right, entailed) in sets.items():
            if name == "nli":
                lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
                cosines = (left * right).sum(1) / lengths
                out["probe_entailment_contrast"] = metrics.entailment_contrast(cosines, entailed)
            elif name == "paraphrase":
                out["retrieval_probe"] = retrieval.precision_at_1(left, right)
            else:
                gaps.append(retrieval.cosine_gap(left, right))
                hits.append(retrieval.precision_at_1(left, right))
        if gaps:
            out |= {"cosine_gap": float(np.mean(gaps)), "p_at_1": float(np.mean(hits))}
        return out


@torch.inference_mode()
def logme(model: Model, inputs: Inputs, layer: int, machine: Machine) -> float | None:
    """LogME of layer ``layer``'s features and the labels, before training (2102.11005).

    Pairs: pooled vectors and classes; tags: first pieces and tags; span: pieces of the
    context and whether they belong to the answer. At most 2,000 vectors.
    """
    f, frozen = inputs.features, model.options.frozen_layers
    kind = kinds.get(f.kind)
    first = frozen if model.options.frozen_embeddings else 0
    model.eval()
    x, y = [], []
    enough = 512 if kind.pooled else int(np.searchsorted(f.lengths.cumsum(), 2000)) + 1
    some = np.arange(min(len(f.sequences), enough))
    for chosen in evaluation_batches(f.lengths[some], machine.eval_tokens):
        batch = inputs.tensors(chosen)
        with machine.autocast():
            hidden = model.states(batch)[max(0, layer - first)].float()
        if kind.pooled:
            x.append(pool(hidden, batch["mask"], model.options.head_pooling).cpu().numpy())
            y.append(f.labels[f.owner[chosen]])
            continue
        for row, s in enumerate(chosen):
            at, label = kind.probed(f, s)
            x.append(hidden[row, at].cpu().numpy())
            y.append(label)
    x, y = np.concatenate(x)[:2000], np.concatenate(y)[:2000]
    return retrieval.logme(x, y) if len(np.unique(y)) > 1 else None


def steps_to(trajectory: list[dict], share: float = 0.9) -> float | None:
    """Steps until the main score first reaches ``share`` of its last value; between checkpoints
    linear. None when nothing was learned."""
    points = [(t["step"], t["metrics"]["main"]) for t in trajectory if "main" in t["metrics"]]
    if len(points) < 2:
        return None
    start, goal = points[0][1], points[-1][1]
    if goal <= start:
        return None
    target = start + share * (goal - start)
    for (s0, v0), (s1, v1) in zip(points, points[1:], strict=False):
        if v1 >= target:
            return s1 if v1 == v0 or v0 >= target else s0 + (s1 - s0) * (target - v0) / (v1 - v0)
    return float(points[-1][0])
