"""Training must be repeatable, resumable bit for bit, and touch only what it may touch."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from midway.encoder import batches, device, encoder, heads, training
from midway.encoder import weights as snapshots
from midway.encoder.device import Inputs, setup
from midway.kinds import encode
from midway.study import params
from tiny import checkpoint

MACHINE = setup(params.Compute(precision="fp32"))
PLAN = params.Training(steps=12, batch_size=4, lr=1e-3, warmup=0.2, max_length=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("tiny"))


def rows(n=24):
    rng = np.random.default_rng(0)
    label = [int(x) for x in rng.integers(0, 2, n)]
    made = {"text_a": ["aaa bb" if y else "ccc dd" for y in label], "text_b": ["a"] * n}
    ids = [str(i) for i in range(n)]
    return Dataset.from_dict(made | {"id": ids, "label": label, "lang": ["en"] * n})


def make(folder, cache=None, **options):
    encoded = encoder.load(params.Encoder(kind="path", path=str(folder), **options))
    options = params.Encoder(kind="path", path=str(folder), **options)
    model = heads.Model(encoded, options, {"t": ("pair", 2)}, seed=1)
    features = encode(rows(), "pair", (), encoded.tokenizer, 32)
    return model, [training.Source("t", "pair", Inputs(features, model, MACHINE, cache))]


def weights(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def same(a, b):
    return all(torch.equal(a[n], b[n]) for n in a)


def test_it_learns(folder):
    model, sources = make(folder)
    fit = training.fit(model, sources, PLAN.model_copy(update={"lr": 0.01}), 40, 1, MACHINE)
    assert np.mean(fit.losses[-5:]) < 0.5 * np.mean(fit.losses[:5])


def test_same_seed_same_weights_other_seed_others(folder):
    ends = []
    for seed in (1, 1, 2):
        model, sources = make(folder)
        training.fit(model, sources, PLAN, 6, seed, MACHINE)
        ends.append(weights(model))
    assert same(ends[0], ends[1]) and not same(ends[0], ends[2])


@pytest.mark.parametrize("torn", [False, True])
def test_cut_off_run_continues_bit_for_bit(folder, tmp_path, torn, capsys):
    """With dropout on: weights, optimiser, random state and data position must all come back."""
    straight, sources = make(folder, dropout=0.1)
    training.fit(straight, sources, PLAN, 12, 5, MACHINE)

    class Cut(Exception):
        pass

    def cut():
        raise Cut

    model, sources = make(folder, dropout=0.1)
    options = {"states": snapshots.States(tmp_path / "states", 3)}
    with pytest.raises(Cut):
        training.fit(model, sources, PLAN, 12, 5, MACHINE, at={10: cut}, **options)
    newest = sorted((tmp_path / "states").glob("*.safetensors"))[-1]
    if torn:
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    model, sources = make(folder, dropout=0.1)
    fit = training.fit(model, sources, PLAN, 12, 5, MACHINE, **options)
    assert fit.resumed_from == (6 if torn else 9) and len(fit.losses) == 12
    assert ("damaged" in capsys.readouterr().out) == torn
    assert same(weights(straight), weights(model))


def test_state_of_other_settings_is_not_continued(folder, tmp_path):
    """A changed learning rate must not start from what the old one had nearly finished."""
    states = tmp_path / "states"
    model, sources = make(folder)
    training.fit(model, sources, PLAN, 12, 5, MACHINE, states=snapshots.States(states, 5, "old"))
    assert len(list(states.glob("step*"))) == 2
    fresh, sources = make(folder)
    fit = training.fit(
        fresh, sources, PLAN, 8, 5, MACHINE, states=snapshots.States(states, 5, "new")
    )
    straight, sources = make(folder)
    training.fit(straight, sources, PLAN, 8, 5, MACHINE)
    assert not fit.resumed_from and same(weights(fresh), weights(straight))
    assert [f.stem for f in states.glob("step*")] == ["step00000005"]


def test_best_weights_survive_a_cut(folder, tmp_path):
    """The best look may lie before the state that a killed run continues from."""

    class Cut(Exception):
        pass

    def run(cut, states):
        model, sources = make(folder)
        best = snapshots.Best(model)
        values, seen = {2: 70.0, 5: 40.0, 8: 60.0}, {}

        def look(step):
            seen[step] = weights(model)
            best.look(step, values[step])
            if step == cut:
                raise Cut

        at = {step: lambda step=step: look(step) for step in values}
        options = {"states": snapshots.States(states, 3, best=best), "at": at}
        training.fit(model, sources, PLAN, 9, 5, MACHINE, **options)
        return best.restore(), weights(model), seen

    step, straight, seen = run(None, tmp_path / "a")
    assert step == 2 and same(straight, seen[2])
    with pytest.raises(Cut):
        run(5, tmp_path / "b")
    step, again, seen = run(None, tmp_path / "b")
    assert step == 2 and 2 not in seen and same(again, straight)


def test_gradient_checkpointing_changes_memory_only(folder):
    """With dropout on: the recomputed layers must draw the same units again."""
    again = setup(params.Compute(precision="fp32", gradient_checkpointing=True))
    ends, runs = [], []
    for machine in (MACHINE, again):
        model, sources = make(folder, dropout=0.1, frozen_layers=1, frozen_embeddings=True)
        layer, calls = model.encoder.encoder.layer[2], []
        layer.attention.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        training.fit(model, sources, PLAN, 3, 1, machine)
        ends.append(weights(model))
        runs.append(len(calls))
    assert same(*ends) and runs == [3, 6]


def test_measuring_on_the_way_changes_nothing(folder):
    ends = []
    for at in ({}, {0: lambda: torch.rand(3), 4: lambda: torch.rand(3)}):
        model, sources = make(folder, dropout=0.1)
        training.fit(model, sources, PLAN, 6, 1, MACHINE, at=at)
        ends.append(weights(model))
    assert same(*ends)


def test_frozen_parts_stay_and_the_rest_moves(folder):
    model, sources = make(folder, frozen_layers=1, frozen_embeddings=True)
    before = weights(model)
    training.fit(model, sources, PLAN, 3, 1, MACHINE)
    moved = {n for n, p in weights(model).items() if not torch.equal(p, before[n])}
    assert any(n.startswith("encoder.encoder.layer.1") for n in moved) and "heads.t.weight" in moved
    assert not any("embeddings" in n or "layer.0" in n for n in moved)


def test_kept_trunk_changes_little(folder, tmp_path):
    """The stored output of frozen layers (float16) must stand for computing them again."""
    ends = []
    for cache in (None, tmp_path / "cache"):
        model, sources = make(folder, cache, frozen_layers=2, frozen_embeddings=True, dropout=0.0)
        training.fit(model, sources, PLAN, 3, 1, MACHINE)
        ends.append(training.fit(model, sources, PLAN, 2, 1, MACHINE).losses)
    assert np.allclose(*ends, atol=5e-3) and len(list((tmp_path / "cache").glob("*.trunk"))) == 1


def test_another_version_of_the_code_does_not_take_an_old_trunk(folder, tmp_path, monkeypatch):
    """An outputs folder outlives an update; a rerun elsewhere would then give other numbers."""
    code = tmp_path / "code.py"
    monkeypatch.setattr(device, "CODE", [code])
    for text in ("one", "two", "one"):
        code.write_text(text)
        make(folder, tmp_path / "cache", frozen_layers=2, frozen_embeddings=True)
    assert len(list((tmp_path / "cache").glob("*.trunk"))) == 2


def test_accumulation_equals_one_large_batch(folder):
    losses = []
    for accumulation in (1, 2):
        model, sources = make(folder, dropout=0.0)
        plan = PLAN.model_copy(update={"accumulation": accumulation})
        losses.append(training.fit(model, sources, plan, 6, 1, MACHINE).losses)
    assert np.allclose(*losses, atol=1e-5)


def test_multi_task_shares_follow_the_published_rule():
    """r_m = min(e_m, K) / sum min(e, K): above K more data gives no more turns."""
    shares = training.multi_shares({"a": 100, "b": 300, "c": 900}, cap=300)
    assert shares == {"a": 100 / 700, "b": 300 / 700, "c": 300 / 700}


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.5), (1, 1.0), (9, 1.0), (10, 1.0), (15, 0.5), (19, 0.1)]
)
def test_schedule_rises_stays_and_falls(step, factor):
    assert training.schedule(step, 20, warmup=0.1, decay=0.5) == pytest.approx(factor)


def test_same_seed_gives_every_variant_the_same_head(folder):
    one, other = make(folder)[0], make(folder)[0]
    torch.rand(5)
    assert torch.equal(one.heads["t"].weight, other.heads["t"].weight)


def test_layer_aggregation_starts_uniform_and_learns(folder):
    """arXiv 2205.08497: the mixture must get gradients in query, key and lower layers."""
    model, sources = make(folder, aggregation="attention", dropout=0.0)
    batch = sources[0].inputs.training([0, 1, 2, 3])
    states = model.states(batch)
    uniform = (states[-1] + torch.stack(states).mean(0)) / 2
    assert torch.allclose(model.aggregate(states), uniform, atol=1e-5)
    before = model.aggregate.key.weight.detach().clone()
    training.fit(model, sources, PLAN, 4, 1, MACHINE)
    assert not torch.equal(before, model.aggregate.key.weight)


def test_equal_weights_are_equal_files(folder, tmp_path):
    """Otherwise a repeated 01 would make all of 02 run again."""
    model, _ = make(folder)
    meta = {"encoder": "x", "variant": "y"}
    for name in "ab":
        snapshots.save_weights(snapshots.trained(model.encoder), tmp_path / name, meta)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_saved_weights_come_back(folder, tmp_path):
    model, sources = make(folder, frozen_layers=1, frozen_embeddings=True)
    training.fit(model, sources, PLAN, 2, 1, MACHINE)
    snapshots.save_weights(
        snapshots.trained(model.encoder), tmp_path / "w.safetensors", {"variant": "x"}
    )
    fresh, _ = make(folder, frozen_layers=1, frozen_embeddings=True)
    snapshots.restore(fresh.encoder, snapshots.read_weights(tmp_path / "w.safetensors")[0])
    ours = dict(model.encoder.named_parameters())
    assert all(torch.equal(p, ours[n]) for n, p in fresh.encoder.named_parameters())


def test_batches_have_few_shapes_on_a_gpu():
    """Each new shape costs a GPU time; no batch may be wider than the encoder reads."""
    assert [batches.width(n, 512, "cuda") for n in (1, 32, 33, 500)] == [32, 32, 64, 512]
    assert batches.width(509, 510, "cuda") == 509 and batches.width(33, 512, "cpu") == 33


def test_weights_that_the_model_lacks_are_not_passed_over():
    """They would stay as they are: a transfer without what was trained."""
    with pytest.raises(KeyError, match="other.weight"):
        snapshots.restore(torch.nn.Linear(2, 2), {"other.weight": torch.ones(2, 2)})
