"""The command line: quick, one line for a mistake, and exit codes that a script can trust."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toy
from midway import cli
from midway.cli import group
from midway.study import params
from midway.study.errors import InputError

BASE = {"study": "x", "intermediate": {"steps": 2}, "transfer": {"steps": 2}}
REFUSED = {
    "unknown key": ("intermediate: {stepz: 3}", "did you mean 'intermediate.steps'|'steps'"),
    "wrong type": ("seeds: [1, two]", "seeds"),
    "text for a number": ('intermediate: {batch_size: "10"}', "batch_size"),
    "out of range": ("transfer: {batch_size: 0}", "batch_size"),
    "unknown task": ("intermediate: {variants: [mnlu]}", "did you mean 'mnli'"),
    "unknown language": (
        "intermediate: {steps: 1}\ntransfer: {steps: 1, languages: {xquad: [fr]}}",
        "xquad has no language 'fr'",
    ),
    "a path as a name": ("study: ../../etc", "study"),
    "an absolute path": ("study: /tmp/x", "study"),
    "a command": ("study: $(touch pwned)", "study"),
    "a line end": ('study: "a\\nb"', "study"),
    "dots": ("study: a..b", "study"),
    "an option": ("study: --help", "study"),
    "an alias bomb": ("a: &a [1]\nb: [*a, *a]", "aliases"),
    "a Python object": ("study: !!python/object/apply:os.system [ls]", "not valid YAML"),
    "a key twice": ("study: a\nstudy: b", "twice"),
    "no mapping": ("- 1", "expected lines"),
    "nothing": ("", "expected lines"),
}


@pytest.mark.parametrize("verb", ["run", "plan", "doctor"])
@pytest.mark.parametrize("fault", REFUSED)
def test_a_params_file_is_refused_in_one_line(tmp_path, capsys, monkeypatch, fault, verb):
    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))
    text, words = REFUSED[fault]
    text = text if "study" in text or ":" not in text else f"study: x\n{text}"
    (tmp_path / "p.yaml").write_text(text)
    assert cli.main([verb, str(tmp_path / "p.yaml")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("midway: ") and len(err.splitlines()) == 1
    assert any(w in err for w in words.split("|"))
    assert [p.name for p in tmp_path.iterdir()] == ["p.yaml"]


def test_a_refusal_takes_under_a_second(tmp_path):
    """And before torch, papermill or a kernel is even imported."""
    (tmp_path / "p.yaml").write_text("study: x\nsteps: 3\n")
    env = os.environ | {"PYTHONPATH": str(toy.PROJECT / "lib")}
    command = [sys.executable, "-X", "importtime", "-m", "midway", "run", str(tmp_path / "p.yaml")]
    before = os.times()
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    after = os.times()
    assert done.returncode == 2
    cpu = sum(after[2:4]) - sum(before[2:4])
    assert cpu < 1, f"{cpu:.2f} core-seconds"
    heavy = ("torch", "transformers", "pandas", "submitit", "papermill", "nbformat", "datasets")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & set(heavy)


MISTAKES = {
    ("run", "nowhere.yaml"): "no such params file",
    ("run", "."): "a folder, not a params file",
    ("run", "mini"): "no such params file; did you mean 'params/mini.yaml'?",
    ("status", "outputs/none"): "not a study's outputs",
    ("audit", "."): "not a study's outputs",
    ("status", "outputs/mine"): "there are outputs/mini",
    ("plan", "params/min.yaml"): "did you mean 'params/mini.yaml'?",
    ("plan", "zzz"): "there are: params/mini.yaml",
    ("plan", "outputs/mini"): "it is a study's outputs",
    ("plan", "{p}", "--json", "--cost"): "leave out --json",
    ("plan", "{p}", "--set", "transfer.steps"): "the = is missing",
    ("plan", "{p}", "--set", "transfer.steps", "20"): "the = is missing",
    ("plan", "{p}", "--set", "transfer.steps=[1"): "not valid YAML",
    ("plan", "{p}", "--set", "transfer.stepz=1"): "did you mean",
    ("plan", "{p}", "--set", "study.x=1"): "not a group of settings",
    ("plan", "{p}", "--set", "study=../x"): "study",
}


@pytest.mark.parametrize("args", MISTAKES)
def test_mistakes_on_the_command_line(tmp_path, monkeypatch, capsys, args):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIDWAY_ROOT", str(tmp_path))
    (tmp_path / "outputs" / "mini").mkdir(parents=True)
    (tmp_path / "params").mkdir()
    (tmp_path / "notebooks").mkdir()
    for place in ("p.yaml", "params/mini.yaml", "outputs/mini/params.yaml"):
        (tmp_path / place).write_text(yaml.safe_dump(BASE))
    assert cli.main([a.format(p=tmp_path / "p.yaml") for a in args]) == 2
    err = capsys.readouterr().err
    assert MISTAKES[args] in err and len(err.splitlines()) == 1


def test_values_of_set_are_typed_as_in_a_file():
    assert cli.changes(["a.b=1e-5", "c=[1, 2]", "d=none", "e=", "f=a=b"]) == {
        "a.b": 1e-5, "c": [1, 2], "d": "none", "e": None, "f": "a=b"
    }  # fmt: skip


def test_examples_of_the_help_are_read_as_they_stand():
    """Whoever pastes one must not get a usage message."""
    texts = [group.EPILOG, *(c.epilog for c in group.verbs.commands.values())]
    found = re.findall(r"(?m)^  midway ((?:.*\\\n)*.*?)(?:(?<=\S)   .*)?$", "\n".join(texts))
    assert len(found) > 20 and {e.split()[0] for e in found} == set(group.verbs.commands)
    for example in found:
        name, *words = shlex.split(example.replace("\\\n", " "))
        with contextlib.suppress(InputError):  # outputs/mini need not be there
            group.verbs.commands[name].make_context(name, words)
        for path in (w for w in words if w.startswith(("params/", "lib/"))):
            assert (toy.PROJECT / path).is_file()


@pytest.mark.parametrize("verb", ["", *group.verbs.commands])
def test_help_shows_how(verb, capsys):
    assert cli.main([*verb.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert f"Usage: midway {verb}".strip() in out and f"  midway {verb}" in out


MISSPELT = {
    ("xyzzy",): "No such command 'xyzzy'",
    ("statsu",): "Did you mean 'status'?",
    ("run",): "Missing argument 'PARAMS'",
    ("run", "p.yaml", "--corse", "2"): "'--cores'",
    ("correlate",): "Missing argument 'TABLE'",
    ("recommend",): "Missing argument 'FOLDER'",
    (): "Usage: midway",
}


@pytest.mark.parametrize("args", MISSPELT)
def test_what_is_unknown_or_missing_is_named(args, capsys):
    assert cli.main(list(args)) == 2
    said = capsys.readouterr().err
    assert MISSPELT[args] in said
    if args:  # every refusal is one line
        assert said.startswith("midway: ") and said.count("\n") == 1 and "--help" in said


@pytest.mark.parametrize("args, shown", [(["help"], "Commands:"), (["help", "plan"], "--set")])
def test_help_is_a_word_too(args, shown, capsys):
    assert cli.main(args) == 0 and shown in capsys.readouterr().out


def test_a_study_is_no_table(tmp_path, capsys):
    """It was read as another tool's results, and the columns named were not the study's."""
    (tmp_path / "params.yaml").write_text("study: x", encoding="utf-8")
    args = ["correlate", str(tmp_path), "--unit", "variant", "--predictors", "a", "--outcomes", "b"]
    assert cli.main(args) == 2
    assert "03_correlation/tables/correlation.csv" in capsys.readouterr().err


def test_lists_name_what_may_be_asked_for(capsys):
    for what, name in (
        ("tasks", "xquad"), ("encoders", "xlm-roberta  XLMRobertaModel"), ("params", "params/mini"),
    ):  # fmt: skip
        assert cli.main(["list", what]) == 0
        out = capsys.readouterr().out
        assert name in out
        assert cli.main(["list"]) == 0 and f"{what}:\n{out}" in capsys.readouterr().out
    assert "(Phang et al. 2020, arXiv 2005.13013, version 1)" in out


def test_a_folder_that_cannot_be_written_is_one_line(monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "outputs/x")

    monkeypatch.setattr(params, "load", full)
    assert cli.main(["doctor", "params/mini.yaml"]) == 1
    assert capsys.readouterr().err == "midway: outputs/x: No space left on device\n"


def test_output_into_a_closed_pipe_is_not_an_error(tmp_path):
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(BASE | {"seeds": list(range(400))}))
    env = os.environ | {"PYTHONPATH": str(toy.PROJECT / "lib")}
    command = [sys.executable, "-m", "midway", "plan", str(tmp_path / "p.yaml")]
    plan = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    plan.stdout.read(10)
    plan.stdout.close()
    assert b"Traceback" not in plan.stderr.read()
    plan.wait(60)


@pytest.mark.parametrize(
    "output, code, said",
    [
        ("> /dev/full", 1, "midway: writing: No space left on device\n"),
        (">&-", 0, ""),
        ("| cat", 0, ""),
    ],
)
@pytest.mark.parametrize("verb", ["list tasks", "--help"])
def test_output_that_cannot_be_written(output, code, said, verb):
    """A full disk and a closed standard output ended in tracebacks."""
    env = os.environ | {"PYTHONPATH": str(toy.PROJECT / "lib"), "PYTHONIOENCODING": "ascii"}
    line = f"{sys.executable} -m midway {verb} {output}"
    done = subprocess.run(line, shell=True, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, said)


def test_letters_that_a_terminal_lacks_are_shown(tmp_path):
    (tmp_path / "t.csv").write_text("task,dev_é,gain\na,1,2\nb,2,3\nc,3,5\n")
    env = os.environ | {"PYTHONPATH": str(toy.PROJECT / "lib"), "PYTHONIOENCODING": "ascii"}
    asked = ["--unit", "task", "--predictors", "dev_*", "--outcomes", "gain", "--resamples", "99"]
    command = [sys.executable, "-m", "midway", "correlate", str(tmp_path / "t.csv"), *asked]
    done = subprocess.run(command, env=env, capture_output=True)
    assert done.returncode == 0 and b"\ndev_\\xe9,gain,3" in done.stdout


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["mnli", "xnli", "en", "../x", "$(x)", "\n", "none+mlm", "mnli+shuffled"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=8) | st.sampled_from(["steps", "tasks"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
keys = st.sampled_from(
    ["study", "seeds", *(
        f"{g}.{f}"
        for g in ("encoder", "data", "intermediate", "transfer", "correlation", "compute")
        for f in params.Study.model_fields[g].annotation.model_fields
    )]
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.dictionaries(keys, values, max_size=3), cut=st.integers(0, 400))
def test_any_params_file_is_taken_or_refused_in_one_line(tmp_path_factory, changes, cut):
    """Never a traceback, never a file left behind."""
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    tree = {k: dict(v) if isinstance(v, dict) else v for k, v in BASE.items()}
    for key, value in changes.items():
        group, _, field = key.partition(".")
        if field:
            tree.setdefault(group, {})[field] = value
        else:
            tree[group] = value
    text = yaml.safe_dump(tree, allow_unicode=True)
    (folder / "p.yaml").write_text(text if cut > 300 else text[: max(cut, 20)], encoding="utf-8")
    try:
        study = params.load(folder / "p.yaml")
        assert "/" not in study.study and ".." not in study.study
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    assert [p.name for p in folder.iterdir()] == ["p.yaml"]


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_the_shell_completes_verbs_and_options(tmp_path, capsys):
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "complete.sh").write_text(capsys.readouterr().out)
    shim = tmp_path / "midway"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m midway "$@"\n')
    shim.chmod(0o755)
    ask = (
        "source ./complete.sh; f=$(complete -p midway | sed 's/.*-F \\([^ ]*\\).*/\\1/');"
        " COMP_WORDS=(midway $1 $2); COMP_CWORD=$#; $f midway; echo ${COMPREPLY[@]}"
    )
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    env["PYTHONPATH"] = str(toy.PROJECT / "lib")

    def answer(*words):
        done = subprocess.run(
            ["bash", "-c", ask, "_", *words], cwd=tmp_path, capture_output=True, text=True, env=env
        )
        return done.stdout.split()

    assert answer("sta") == ["status"]
    assert "--profile" in answer("run", "--p")


@pytest.mark.parametrize("given", ["\x1b[2J", "\x9b31m", "\u202e", "\x00", "\r"])
def test_control_characters_of_data_do_not_reach_the_terminal(monkeypatch, capsys, given):
    """A unit or an error with an escape sequence could repaint a reader's screen."""
    monkeypatch.setattr(cli.verbs, "main", lambda *_, **__: print(f"a {given}\tyes, é\nb"))
    assert cli.main(["status", "x"]) == 0
    assert capsys.readouterr().out == f"a \\u{ord(given[0]):04x}{given[1:]}\tyes, é\nb\n"
    text = json.dumps([given], ensure_ascii=False)
    monkeypatch.setattr(cli.verbs, "main", lambda *_, **__: print(text))
    assert cli.main(["status", "x"]) == 0
    assert json.loads(capsys.readouterr().out) == [given]
