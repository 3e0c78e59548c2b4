"""Transfer of a variant: fine-tune on a target's English data, predict in every language."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from midway import kinds
from midway.data import sources
from midway.encoder import encoder, predict, training
from midway.encoder import weights as snapshots
from midway.encoder.device import Inputs, setup
from midway.encoder.heads import Model
from midway.encoder.progress import bar
from midway.evaluation.summary import summary
from midway.intermediate.predictors import Development, logme
from midway.intermediate.variant import weights_file
from midway.kinds.kind import by_row_kind
from midway.kinds.tokens import texts
from midway.study import tasks
from midway.study.errors import MissingData, Unreachable
from midway.study.files import digest, plain, write_atomic
from midway.study.params import Study
from midway.study.variants import LONGER, split_dose
from midway.transfer import controls, submission

SWEEP_BYTES = 2**32  # half a million sentences in every layer of a large encoder would be 50 GB


class Run:
    """The targets of one job, for one variant and seed.

    Parameters
    ----------
    step : recording.Step
        Writes every language's score at once, and has the scores of an interrupted run.
    upstream : Path
        The variant's 01_intermediate folder; its encoder at this dose, or nothing for none.

    Scores are percentages, as XTREME's scorers give them (2003.11080). InputError where the
    variant's weights are damaged; a language without data is named in the results' ``missing``.

    Examples
    --------
    >>> run = Transfer(study, "mnli", 1, "part1", step, upstream)  # doctest: +SKIP
    >>> run.evaluate("xnli")["zero_shot"]  # doctest: +SKIP
    """

    def __init__(self, study: Study, variant: str, seed: int, part: str, step, upstream: Path):
        self.study, self.variant, self.seed, self.step = study, variant, seed, step
        self.out = Path(step.out)
        self.machine = setup(study.compute)
        self.cache = self.out.parents[3] / "cache" if study.compute.cache_trunk else None
        self.targets = study.parts(variant)[part]
        self.encoded = encoder.load(study.encoder)
        self.layer = study.encoder.retrieval_layer or self.encoded.layers
        self.bare = self._model({})
        if not variant.startswith("none"):
            made_as = {"encoder": self.encoded.fingerprint, "variant": split_dose(variant)[0]}
            path = Path(upstream) / weights_file(variant)
            snapshots.restore(self.bare.encoder, snapshots.read_weights(path, made_as)[0])
        self.start = snapshots.trained(self.bare.encoder)
        self.refused: dict[str, None] = {}  # what the hub has but refuses
        self.tuned: dict[str, tuple] = {}  # train_key -> model and facts of its training
        self.results: dict[str, dict] = {}
        self.extra: dict[str, dict] = {}
        self.tokens = 0

    def _model(self, outputs: dict) -> Model:
        seed = training.stable_seed("head", *outputs, self.seed)
        model = Model(self.encoded, self.study.encoder, outputs, seed)
        return model.to(self.machine.device)

    def evaluate(self, target: str) -> dict:
        """Train where the target trains, answer in each language, write predictions and scores.

        If something is gated, the last target raises Unreachable, after all others are scored."""
        card = tasks.get(target)
        languages = sources.evaluated(self.study, target)
        done = {lang: self.step.scored(target, lang) for lang in languages}
        facts: dict = {"train_key": card.train_key, "missing": {}}
        if note := sources.note(card, self.study.data):
            facts["note"] = note
        no_training: MissingData | Unreachable | None = None
        with_controls = None
        try:
            if card.trains:
                facts |= self._trained(card, all(done.values()))
            with_controls = self._controls(card)
        except (MissingData, Unreachable) as error:  # of the English training rows
            if not getattr(error, "final", True):
                raise
            no_training = error  # the other targets continue
        for lang in bar(self._order(languages), f"{target} by language"):
            if done[lang] is None:
                try:
                    if no_training:
                        raise no_training
                    one = getattr(kinds.get(card.kind), "evaluate", Run._labelled)
                    done[lang] = one(self, card, lang, with_controls)
                except MissingData as error:
                    facts["missing"][lang] = str(error)
                    self.step.score(target, lang, missing=str(error))
                except Unreachable as error:
                    self.refused[str(error)] = None
                    if not error.final:
                        raise
        if self.refused and target == self.targets[-1]:
            raise Unreachable("; ".join(self.refused), final=True)
        scored = {lang: done[lang] for lang in languages if done[lang] is not None}
        self.extra[target] = {lang: record.extra for lang, record in scored.items()}
        self.results[target] = facts | summary(card, scored)
        later = self.targets[self.targets.index(target) + 1 :]
        if card.trains and card.train_key not in {tasks.get(t).train_key for t in later}:
            self.tuned.pop(card.train_key, None)  # the weights of a large encoder take gigabytes
            if not facts["missing"]:
                for name in ("", ".blind"):
                    shutil.rmtree(self._states(card.train_key + name), ignore_errors=True)
        return self.results[target]

    def sweeps(self, target: str) -> dict[str, dict]:
        """Scores of every layer, per language: {lang: {layer: {metric: value}}}; retrieval only."""
        return {k: v["layers"] for k, v in self.extra[target].items() if "layers" in v}

    def _order(self, languages) -> list[str]:
        """Stagger the languages, so that parallel jobs do not compute the same cache entry."""
        turn = training.stable_seed(self.variant, self.seed) % max(1, len(languages))
        return [*languages[turn:], *languages[:turn]]

    # -- training -------------------------------------------------------------------------------

    def _trained(self, card, all_done: bool) -> dict:
        """Fine-tune once per train_key; blind models too, for the baseline variant's controls."""
        key = card.train_key
        if key not in self.tuned:
            # The study's first target of a shared model decides, whichever target runs first.
            sharing = (t for t in self.study.transfer.targets if tasks.get(t).train_key == key)
            card = tasks.get(next(sharing))
            known = self.out / "scores" / f"{key}.training.json"
            made_of = self.step.score_key(card.name)
            if all_done and (facts := _facts(known, made_of)):
                self.step.keep(known)
                return facts
            model, facts = self._fit(card)
            blinds = {}
            if self.study.transfer.controls and self.variant == "none":
                if named := kinds.get(card.kind).blind:
                    blinds[named[1]] = self._fit(card, blind=True)[0]
            self.tuned[key] = model, facts, blinds
            kept = {"key": made_of, "facts": plain(facts)}
            write_atomic(known, json.dumps(kept | {"sha256": digest(kept)}))
            self.step.keep(known)
        return self.tuned[key][1]

    def _states(self, name: str) -> Path:
        return self.out / "states" / name

    def _ready(self, card, model: Model, rows) -> Development:
        """Rows of a target, tokenised for its model."""
        plan = self.study.training("transfer", card.name)
        return Development(self, card, rows, card.labels, plan, model, card.train_key)

    def _training_rows(self, card):
        size = self.study.training("transfer", card.name).train_size
        return sources.load(card.name, "train", "en", self.study.data, size, self.seed)

    def _fit(self, card, blind: bool = False):
        plan, rows = self.study.training("transfer", card.name), self._training_rows(card)
        if blind:
            rows = controls.blind(rows, card.kind)
        snapshots.restore(self.bare.encoder, self.start)
        size = kinds.get(card.kind).head_size(card.labels)
        model = self._model({card.train_key: (card.kind, size)})
        inputs = self._ready(card, model, rows).inputs
        facts: dict = {"train_n": len(rows)}
        if not blind:
            facts["logme"] = logme(model, inputs, self.layer, self.machine)
        steps = plan.length(inputs.features.examples)
        steps += (self.study.intermediate.steps or 0) if self.variant == LONGER else 0
        place = self._states(card.train_key + (".blind" if blind else ""))
        best = snapshots.Best(model)
        at = self._selection(card, model, plan, steps, best, blind) if plan.selections else {}
        made = [training.Source(card.train_key, card.kind, inputs)]
        seed = training.stable_seed("transfer", card.train_key, self.seed)
        every, key = self.study.compute.save_every, self.step.score_key(card.name)
        states = snapshots.States(place, every, key, best)
        run = training.fit(model, made, plan, steps, seed, self.machine, at, states=states)
        if plan.selections:
            facts["selected_step"] = best.restore()
        self.tokens += run.tokens
        return (model, snapshots.trained(model)), facts | {"steps": steps, "losses": run.losses}

    def _selection(self, card, model, plan, steps, best, blind) -> dict:
        """Callbacks that keep the weights with the best English development score."""
        size = self.study.intermediate.eval_size
        rows = sources.load(card.name, "dev", "en", self.study.data, size)
        if blind:
            rows = controls.blind(rows, card.kind)
        dev = self._ready(card, model, rows)
        n = min(plan.selections, steps)
        looks = {round(steps * (i + 1) / n) for i in range(n)}
        return {m: lambda m=m: best.look(m, dev.measure()["main"]) for m in looks}

    # -- answering ------------------------------------------------------------------------------

    def _controls(self, card):
        """Control baselines, fitted on the same training rows, once, with the baseline variant."""
        if not self.study.transfer.controls or self.variant != "none":
            return None
        return controls.fit(card, self._training_rows(card) if card.trains else None)

    def _answers(self, card, model_state, rows):
        """Answers of one fine-tuned model; weights are put back first (models share an encoder)."""
        model, state = model_state
        snapshots.restore(model, state)
        ready = self._ready(card, model, rows)
        self.tokens += int(ready.inputs.features.lengths.sum())
        return ready.answers(), ready.inputs.features

    def _labelled(self, card, lang: str, rivals):
        rows, kind = self.rows(card, "test", lang), kinds.get(card.kind)
        model_state, _, blinds = self.tuned[card.train_key]
        a, features = self._answers(card, model_state, rows)
        beside = {}
        for name, blind in blinds.items():
            b, _ = self._answers(card, blind, controls.blind(rows, card.kind))
            beside[name] = kind.score(card, b.predictions, rows, lang)
        metrics = kind.score(card, a.predictions, rows, lang) | {"loss": a.loss}
        extra = by_row_kind(kind, card, a.predictions, rows, lang)
        extra |= kind.about(card, features, rows, lang)
        predictions = kind.submission(card, a.predictions, rows)
        return self.keep(card, lang, rows, metrics, predictions, rivals, extra, beside)

    def keep(self, card, lang: str, rows, metrics, predictions, rivals, extra, beside=None):
        """Write a language's predictions and scores, with the controls'; a ``ScoreRecord``."""
        place = self.out / "predictions", card.name, lang
        return self.step.score(
            card.name,
            lang,
            n=len(rows),
            metrics=metrics,
            main=card.metric,
            controls=(rivals(rows, lang) if rivals else {}) | (beside or {}),
            predictions=submission.write_predictions(*place, predictions),
            extra=extra,
        )

    # -- sentence vectors, which retrieval and mining ask for -------------------------------------

    def rows(self, card, split: str, lang: str):
        """The study's rows of one split."""
        data = self.study.data
        size = data.dev_size if split == "dev" else data.test_size
        return sources.load(card.name, split, lang, data, size)

    def vectors(self, lines) -> dict[int, np.ndarray]:
        """Sentence vectors by the untuned variant, each text encoded once: {layer: (n, size)}."""
        snapshots.restore(self.bare.encoder, self.start)
        order, unique = pd.factorize(np.asarray(lines, object))
        # XTREME and jiant cut retrieval texts at 512 pieces.
        longest = min(512, self.encoded.max_length)
        features = texts(list(unique), self.encoded.tokenizer, longest)
        inputs = Inputs(features, self.bare, self.machine, self.cache)
        self.tokens += int(inputs.features.lengths.sum())
        every = range(1, self.encoded.layers + 1)
        fits = 4 * len(every) * len(unique) * self.encoded.hidden_size <= SWEEP_BYTES
        layers = list(every) if self.study.transfer.layer_sweep and fits else [self.layer]
        found = predict.vectors(self.bare, inputs, self.machine, layers)
        return {layer: v[order] for layer, v in found.items()}

    def about_vectors(self, **more) -> dict:
        """Settings that retrieval scores depend on; published results differ in them."""
        return {"layer": self.layer, "pooling": self.study.encoder.pooling} | more


def _facts(path, key: str) -> dict | None:
    """Facts about a shared model from an interrupted run, if all it depends on is the same."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        whole = tree.pop("sha256") == digest(tree) and tree["key"] == key
        return tree["facts"] if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
