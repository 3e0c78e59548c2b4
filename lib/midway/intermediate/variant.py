"""One variant of the encoder: trained on an English intermediate task, or only measured."""

import shutil
from pathlib import Path

import numpy as np

from midway import kinds
from midway.data import sources
from midway.encoder import encoder, training, weights
from midway.encoder.device import setup
from midway.encoder.heads import Model
from midway.intermediate.mlm import MLM
from midway.intermediate.predictors import Development, Probes, steps_to
from midway.study import tasks
from midway.study.errors import InputError, MissingData
from midway.study.params import Study
from midway.study.variants import at_dose, split_dose, split_variant


def weights_file(variant: str) -> str:
    """The file in a variant's folder that holds a dose's weights; ``mnli@0.5`` as in 02."""
    dose = split_dose(variant)[1]
    return "encoder.safetensors" if dose == 1 else f"encoder-{dose:g}.safetensors"


class Run:
    """Intermediate training of one variant (Phang et al. 2020, 2005.13013), loaded and ready.

    Parameters
    ----------
    study, variant, seed : params.Study, str, int
    out : Path
        The step's folder; training states and the frozen trunk's output are kept nearby.
    key : str
        Hash of everything that the training depends on; states of another key are not resumed.

    Raises InputError for a variant without training rows, MissingData where the task has none.

    Examples
    --------
    >>> run = Variant(study, "mnli", seed=1, out=step.out, key=step.key)  # doctest: +SKIP
    >>> points = run.train()  # doctest: +SKIP
    """

    def __init__(self, study: Study, variant: str, seed: int, out: Path, key: str = ""):
        base, suffixes = split_variant(variant)
        self.study, self.variant, self.seed, self.out = study, variant, seed, Path(out)
        self.key = key
        self.names = {"none": [], "multi": list(tasks.INTERMEDIATE)}.get(base, [base])
        self.cards = [tasks.get(n) for n in self.names]
        self.machine = setup(study.compute)
        self.cache = self.out.parents[2] / "cache" if study.compute.cache_trunk else None
        self.encoded = encoder.load(study.encoder)
        self.plans = {n: study.training("intermediate", n) for n in self.names}
        self.missing: dict[str, str] = {}
        self.rows = {c.name: self._training_rows(c, suffixes) for c in self.cards}
        if len(self.names) > 1:  # multi is trained without a missing task
            self.rows = {n: r for n, r in self.rows.items() if r is not None}
            self.cards = [c for c in self.cards if c.name in self.rows]
        if self.names and not any(r is not None for r in self.rows.values()):
            raise InputError("; ".join(self.missing.values()))
        self.labels, outputs = {}, {}
        for c in self.cards:
            kind = kinds.get(c.kind)
            self.labels[c.name] = kind.inventory(c, self.rows[c.name])
            outputs[c.name] = c.kind, kind.head_size(self.labels[c.name])
        if "mlm" in suffixes:
            outputs["mlm"] = ("mlm", 0)
        head_seed = training.stable_seed("head", seed)
        model = Model(self.encoded, study.encoder, outputs, head_seed)
        self.model = model.to(self.machine.device)
        size, load = study.intermediate.eval_size, sources.load
        rows = {c.name: load(c.name, "dev", "en", study.data, size) for c in self.cards}
        self.dev = {c.name: self._ready(c, rows[c.name]) for c in self.cards}
        self.probes = Probes(study, self.model, self.encoded.tokenizer, self.machine, self.cache)
        self.mlm = MLM(self) if "mlm" in suffixes else None
        self.shuffled = "shuffled" in suffixes
        #: what was measured so far: {step, fraction, dose if its encoder is kept, metrics}
        self.trajectory: list[dict] = []
        self.selected: int | None = None
        self.fit = training.Fit()
        self.doses = study.doses(variant)

    def _training_rows(self, card, suffixes):
        size, data = self.plans[card.name].train_size, self.study.data
        try:
            rows = sources.load(card.name, "train", "en", data, size, self.seed)
        except MissingData as error:
            if len(self.names) == 1:
                raise
            self.missing[card.name] = str(error)
            return None
        if "translated" in suffixes:
            rows = self._translated(card, rows, size)
        if "shuffled" in suffixes:
            rows = kinds.shuffle_labels(rows, card.kind, self.seed)
        return rows

    def _translated(self, card, english, size):
        """Training rows in equal shares per language; the total is that of English alone."""
        from datasets import concatenate_datasets

        parts = [english]
        data, chosen = self.study.data, self.study.intermediate.translated_languages
        for lang in chosen or sources.languages(card.name, data):
            if lang != "en":
                try:
                    parts.append(sources.load(card.name, "train", lang, data, size, self.seed))
                except MissingData as error:
                    self.missing[f"{card.name}.{lang}"] = str(error)
        if len(parts) == 1:
            raise InputError(f"{card.name}+translated: no training rows in another language")
        n = len(english) // len(parts)
        if not n:
            reason = f"only {len(english)} rows for {len(parts)} languages"
            raise InputError(f"{card.name}+translated: {reason}")
        picked = [p.select(range(i * n, min((i + 1) * n, len(p)))) for i, p in enumerate(parts)]
        return concatenate_datasets(picked)

    def _ready(self, card, rows) -> Development:
        """Rows of one of the tasks, tokenised for the model."""
        plan, labels = self.plans[card.name], self.labels[card.name]
        return Development(self, card, rows, labels, plan, self.model, card.name)

    def _sources(self) -> list[training.Source]:
        sizes = {c.name: len(self.rows[c.name]) for c in self.cards}
        shares = training.multi_shares(sizes, self.study.intermediate.multi_cap)
        weight = 1 - self.study.intermediate.mlm_share if self.mlm else 1.0
        made = []
        for card in self.cards:
            inputs = self._ready(card, self.rows[card.name]).inputs
            made.append(training.Source(card.name, card.kind, inputs, shares[card.name], weight))
        return made

    def measure(self, step: int, steps: int) -> dict:
        """Measure all predictors; with several tasks, the mean over tasks that have the metric."""
        each = {name: dev.measure() for name, dev in self.dev.items()}
        names = sorted({k for m in each.values() for k in m})
        mean = {k: float(np.mean([m[k] for m in each.values() if k in m])) for k in names}
        point: dict = {"step": step, "fraction": step / steps if steps else 0.0}
        dose = next((d for d in self.doses if steps and step == round(d * steps)), None)
        point |= {"dose": dose} if dose else {}
        found = mean | self.probes.measure()
        point["metrics"] = {k: v for k, v in found.items() if v == v}  # undefined with few rows
        if len(each) > 1:
            point["tasks"] = {n: m["main"] for n, m in each.items()}
        for dev in self.dev.values() if len(each) == 1 else ():
            point["jackknife"] = dev.left_out | self.probes.left_out
        self.trajectory.append(point)
        return point

    def train(self) -> list[dict]:
        """Train, measure at each checkpoint and return the trajectory (one point for ``none``)."""
        if not self.names:
            self.measure(0, 0)
            return self.trajectory
        made = self._sources()
        key = "multi" if len(self.names) != 1 else self.names[0]
        plan = self.study.training("intermediate", key)
        steps = plan.length(sum(s.inputs.features.examples for s in made))
        n = min(self.study.intermediate.checkpoints, steps)
        marks = {0, *(round(steps * (i + 1) / n) for i in range(n))}
        kept = {round(steps * dose): dose for dose in self.doses[:-1]}
        if len({0, steps, *kept}) < len(self.doses) + 1:
            raise InputError(f"intermediate.doses: too close for {steps} steps of {key}")
        marks |= set(kept)
        looks = {round(steps * (i + 1) / plan.selections) for i in range(plan.selections)} - {0}
        best = weights.Best(self.model)

        def visit(step):
            if step in marks:
                value = self.measure(step, steps)["metrics"]["main"]
            else:
                value = np.mean([dev.measure()["main"] for dev in self.dev.values()])
            if step in looks:
                best.look(step, value)
            if step in kept:
                self._keep(kept[step])

        seed = training.stable_seed("intermediate", self.variant, self.seed)
        at = {m: lambda m=m: visit(m) for m in marks | looks}
        every = self.study.compute.save_every
        states = weights.States(self.out / "states", every, self.key, best, self.trajectory)
        self.fit = training.fit(
            self.model, made, plan, steps, seed, self.machine, at, self.mlm, states
        )
        self.selected = best.restore()
        if self.selected not in (None, steps):  # the last point describes the saved weights
            self.trajectory.pop()
            self.measure(steps, steps)
        return self.trajectory

    def results(self) -> dict:
        """The results for the record (docs/records.md)."""
        sizes = {n: len(r) for n, r in self.rows.items()}
        return {
            "task": self.variant,
            "tasks": list(sizes),
            "label_shuffled": self.shuffled,
            "train_n": sum(sizes.values()),
            "train_sizes": sizes,
            "steps": len(self.fit.losses),
            "selected_step": self.selected,
            "losses": self.fit.losses,
            "trajectory": self.trajectory,
            "summary": {
                "train_size": sum(c.train_size or sizes[c.name] for c in self.cards),
                "steps_to_90": steps_to(self.trajectory),
            },
            "missing": self.missing | self.probes.missing,
        }

    def save(self) -> list[str]:
        """Save the weights that differ from the pretrained encoder; nothing for ``none``."""
        if not self.fit.losses:
            return []
        self._keep(1.0)
        shutil.rmtree(self.out / "states", ignore_errors=True)  # gigabytes for a large encoder
        return [weights_file(at_dose(self.variant, dose)) for dose in self.doses]

    def _keep(self, dose: float) -> None:
        meta = {"encoder": self.encoded.fingerprint, "variant": self.variant}
        file = self.out / weights_file(at_dose(self.variant, dose))
        weights.save_weights(weights.trained(self.model.encoder), file, meta)
