"""A wrong params file must be refused in one line that says what to do, before anything starts."""

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midway.study import params, refusals
from midway.study.errors import InputError

BASE = {"study": "x", "intermediate.steps": 2, "transfer.steps": 2}

REFUSED = [
    ({"transfer.lrr": 1e-4}, "unknown key 'transfer.lrr'; did you mean 'lr'?"),
    ({"colour": 1}, "unknown key 'colour'"),
    ({"transfer.batch_size": "16"}, "transfer.batch_size: found '16'"),
    ({"transfer.batch_size": 0}, "transfer.batch_size: found 0"),
    ({"transfer.batch_size": 1.5}, "transfer.batch_size: found 1.5"),
    ({"transfer.lr": -1.0}, "transfer.lr: found -1.0"),
    ({"transfer.lr": float("nan")}, "transfer.lr"),
    ({"intermediate.variants": ["mlni"]}, "did you mean 'mnli'?"),
    ({"intermediate.variants": ["none+mlm"]}, "takes no suffix"),
    ({"intermediate.variants": ["mnli+mlm+shuffled"]}, "in the order"),
    ({"intermediate.variants": ["mnli", "mnli"]}, "'mnli' occurs twice"),
    ({"intermediate.variants": []}, "at least one variant"),
    ({"transfer.targets": ["xqad"]}, "did you mean 'xquad'?"),
    ({"transfer.languages": {"xquad": ["fr"]}}, "xquad has no language 'fr'"),
    ({"transfer.languages": {"xqad": ["de"]}}, "did you mean 'xquad'?"),
    ({"transfer.epochs": 2}, "transfer.steps and transfer.epochs exclude each other"),
    ({"transfer.steps": None}, "transfer.steps or transfer.epochs is needed"),
    ({"intermediate.tasks": {"mmli": {}}}, "did you mean 'mnli'?"),
    ({"intermediate.tasks": {"mnli": {"stepps": 1}}}, "did you mean 'steps'?"),
    ({"data.source": "local"}, "data.root is needed"),
    ({"data.source": "web"}, "data.source: found 'web'"),
    ({"encoder.kind": "hub"}, "encoder.name is needed"),
    ({"encoder.kind": "path"}, "encoder.path is needed"),
    ({"encoder": {"kind": "hub", "name": "a/b"}}, "encoder.revision is None, not a commit"),
    ({"intermediate.variants": ["mnli"]}, "a gain is the difference from none, which is missing"),
    ({"encoder.frozen_layers": 2}, "needs encoder.frozen_embeddings: true"),
    ({"encoder": {"layers": 2, "frozen_layers": 3}}, "must not exceed encoder.layers"),
    ({"study": "../x"}, "study: use letters"),
    ({"study": "a/b"}, "study: use letters"),
    ({"study": "$(id)"}, "study: use letters"),
    ({"study": "a\nb"}, "study: use letters"),
    ({"seeds": []}, "at least one seed"),
    ({"seeds": [1, 1]}, "each once"),
    ({"correlation.alpha": 1.0}, "correlation.alpha"),
    ({"correlation.primary": [["main"]]}, "not a pair [predictor, outcome]"),
    ({"correlation.primary": [["main", "averge"]]}, "did you mean 'average'?"),
    ({"intermediate.doses": []}, "intermediate.doses"),
    ({"intermediate.doses": [0.5]}, "the last one 1.0"),
    ({"intermediate.doses": [0.5, 0.2, 1.0]}, "increasing shares"),
    ({"intermediate.doses": [0.0, 1.0]}, "above 0"),
    ({"intermediate.dosed": ["qqp"]}, "intermediate.dosed: 'qqp' is not trained"),
    ({"intermediate.dosed": ["none"]}, "intermediate.dosed: 'none' is not trained"),
    ({"transfer": {"steps": 1, "targets": ["xnli"], "dose_targets": ["panx"]}}, "dose_targets"),
    ({"intermediate.variants": ["mnli+longer"]}, "takes no suffix but +longer"),
    ({"intermediate": {"variants": ["none", "none+longer"], "epochs": 1}}, "additional steps"),
    ({"compute.precision": "fp8"}, "compute.precision"),
]

FILES = [
    (b"", "expected lines"),
    (b"- a\n- b\n", "expected lines"),
    (b"study: [\n", "not valid YAML"),
    (b"study: x\nstudy: y\n", "occurs twice"),
    (b"a: &a [1]\nstudy: *a\n", "aliases"),
    (b"study: \xff\xfe\n", "UTF-8"),
    (b"study: !!python/object/apply:os.system [id]\n", "not valid YAML"),
    (b"x: 1\n" * 20000, "larger than"),
    (b"study: x\n" + b"[" * 3000, "not valid YAML"),
    (b"? [1, 2]\n: 3\n", "not valid YAML"),
]


def write(path, changes):
    tree = {}
    for key, value in {**BASE, **changes}.items():
        refusals.change(tree, key, value)
    import yaml

    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_refused_in_one_line(tmp_path, changes, message):
    path = write(tmp_path / "p.yaml", changes)
    with pytest.raises(InputError) as error:
        params.load(path)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert "p.yaml" in str(error.value)


@pytest.mark.parametrize(("content", "message"), FILES)
def test_files_that_are_no_params(tmp_path, content, message):
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        params.load(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError, match="(no such|not a) params file"):
            params.load(path)


@pytest.mark.parametrize("name", ["mini", "smoke"])
def test_shipped_params_load(root, name):
    study = params.load(root / "params" / f"{name}.yaml")
    assert study.study == name


def test_every_shipped_params_file_loads(root):
    for path in (root / "params").glob("*.yaml"):
        study = params.load(path)
        assert study.study == path.stem, "a study is named like its file"


def test_without_none_there_are_still_scores(tmp_path):
    """Only gains need the baseline; none alone gives scores, too."""
    for changes in (
        {"intermediate.variants": ["mnli"], "correlation.outcome": "score"},
        {"intermediate.variants": ["none"]},
    ):
        assert params.load(write(tmp_path / "p.yaml", changes)).intermediate.variants


def test_set_changes_one_value(root):
    study = params.load(root / "params" / "smoke.yaml", {"transfer.steps": 3, "seeds": [1, 2]})
    assert study.transfer.steps == 3 and study.seeds == [1, 2]
    with pytest.raises(InputError, match="did you mean"):
        params.load(root / "params" / "smoke.yaml", {"transfer.stepss": 3})


def test_overrides_inherit_and_switch_between_steps_and_epochs(tmp_path):
    path = write(tmp_path / "p.yaml", {"transfer.tasks": {"xquad": {"epochs": 2, "lr": 1e-3}}})
    own = params.load(path).training("transfer", "xquad")
    assert (own.steps, own.epochs, own.lr, own.batch_size) == (None, 2, 1e-3, 16)


def test_targets_that_share_a_model_stay_together(tmp_path):
    path = write(tmp_path / "p.yaml", {"transfer.targets_per_job": 1})
    parts = params.load(path).parts()
    assert ["xquad", "mlqa"] in parts.values() and len(parts) == 8
    assert sum(parts.values(), []) == list(params.tasks.TARGETS)


def test_doses_are_variants_of_02_alone(root):
    """Each dose is carried to the targets by jobs of its own; its training is one job."""
    study = params.load(
        root / "params/smoke.yaml",
        {
            "intermediate.variants": ["none", "mnli", "mnli+shuffled", "multi"],
            "intermediate.doses": [0.3, 1.0],
            "intermediate.dosed": ["mnli", "mnli+shuffled"],
            "transfer.dose_targets": ["tatoeba", "xnli"],
            "transfer.targets_per_job": 1,
        },
    )
    assert study.carried() == [
        "none", "mnli", "mnli@0.3", "mnli+shuffled", "mnli+shuffled@0.3", "multi",
    ]  # fmt: skip
    assert params.split_dose("mnli+shuffled@0.3") == ("mnli+shuffled", 0.3)
    assert params.split_dose("mnli") == ("mnli", 1.0)
    assert study.parts("mnli") == {"part1": ["xnli"], "part2": ["xquad"], "part3": ["tatoeba"]}
    assert study.parts("mnli@0.3") == {"part1": ["xnli"], "part3": ["tatoeba"]}


def test_fold_gives_the_same_study(root, tmp_path):
    import yaml

    study = params.load(root / "params" / "mini.yaml")
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(study.fold()), encoding="utf-8")
    again = params.load(tmp_path / "p.yaml")
    assert again.transfer == study.transfer
    for phase, task in (("intermediate", "csqa"), ("transfer", "udpos"), ("transfer", "xquad")):
        assert again.training(phase, task) == study.training(phase, task)


def test_refusal_takes_no_heavy_import(tmp_path):
    """Refusals come before any kernel: torch and its like must not even be imported."""
    code = (
        "import sys; from midway.study import params\n"
        "try: params.load(sys.argv[1])\n"
        "except params.InputError as e: print(e)\n"
        "assert not {'torch', 'transformers', 'pandas', 'datasets'} & set(sys.modules)"
    )
    path = write(tmp_path / "p.yaml", {"transfer.lrr": 1})
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0 and "did you mean 'lr'" in done.stdout, done.stderr
    print(f"{time.perf_counter() - begin:.2f} s")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["study", "seeds", "encoder", "data", "intermediate", "transfer", "correlation", "compute"]
    + [f"{p}.{k}" for p in ("transfer", "intermediate") for k in params.Transfer.model_fields]
    + [f"encoder.{k}" for k in params.Encoder.model_fields]
)


@pytest.mark.slow
@given(st.dictionaries(KEYS | st.text(max_size=6), JSON, max_size=4))
@settings(max_examples=1000, deadline=None)
def test_any_tree_is_accepted_or_refused_in_one_line(tmp_path_factory, changes):
    """1,000 random files: never a traceback."""
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    import yaml

    tree = {"study": "x", "intermediate": {"steps": 1}, "transfer": {"steps": 1}}
    try:
        for key, value in changes.items():
            refusals.change(tree, key, value)
    except InputError:
        pass
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    try:
        assert isinstance(params.load(path), params.Study)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000
