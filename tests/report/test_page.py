"""The report: a page from any state of a study, safe, self-contained, readable by everybody."""

import base64
import json
import re
import shutil
import time
from pathlib import Path
from urllib.parse import unquote, urldefrag
from xml.etree import ElementTree

import nbformat
import pandas as pd
import pytest

import browser
import synthetic
from midway.correlation import arrays, correlate, export, tables
from midway.report import answer, collect, notebooks
from midway.report import page as report
from midway.run import hashes, plan
from midway.run.record import BY_HAND, RUNNER, ScoreRecord, StepRecord
from midway.run.steps import StepId
from midway.study import names, params, tasks
from midway.study.files import write_atomic

TARGETS = list(tasks.TARGETS)
EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"
HEBREW, ARABIC = "שלום עולם", "أين تقع المدرسة؟"
DOT = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
    )
).decode()


def notebook(folder: Path, title="01 · A step", error=False) -> None:
    """An executed notebook whose outputs hold everything that may be dangerous or crooked."""
    rows = pd.DataFrame({"text": [EVIL, HEBREW, ARABIC, "北京"], "n": [1, 2, 3, 4]})
    cell, markdown = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    out = nbformat.v4.new_output
    nb = nbformat.v4.new_notebook()
    nb.cells = [
        markdown(f"# {title}\n\nOne sentence with $x<y$.\n\n| a | b |\n|---|---|\n| 1 | 2 |"),
        cell("import pandas  # set up", metadata={"tags": ["setup"]}),
        markdown(f"## Rows\n\n{EVIL} [away](javascript:alert(1)) [rel](../x.md)"),
        cell(
            "rows.head()  # 'text'",
            outputs=[
                out("display_data", data={"text/html": rows.to_html(), "text/plain": "x"}),
                out("display_data", data={"text/html": f"<b>raw</b>{EVIL}"}),
                out("stream", name="stdout", text=f"\x1b[31mred\x1b[0m {EVIL} {HEBREW}\n"),
                out("display_data", data={"image/png": DOT, "text/plain": "<Figure>"}),
                out("display_data", data={"application/javascript": "alert(1)"}),
            ],
        ),
    ]
    if error:
        line = f"\x1b[31mValueError\x1b[0m: {EVIL}"
        nb.cells[-1].outputs.append(
            out("error", ename="ValueError", evalue=EVIL, traceback=["Traceback", line])
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notebook.ipynb").write_text(nbformat.writes(nb), encoding="utf-8")


def change(path: Path, **fields) -> None:
    tree = json.loads(path.read_text(encoding="utf-8")) | fields
    (StepRecord if "step" in tree else ScoreRecord)(**tree).write(path)


def finish(study, folder: Path, seeds=(1,)) -> None:
    """Add to a synthetic study what only real runs have: notebooks, controls, layers, 03 and 04."""
    environment = {"python": "3.11", "packages": {"torch": "2"}, "cpu": "a cpu", "bf16": True}
    for path in sorted(folder.glob("0[12]_*/**/record.json")):
        notebook(path.parent, path.parent.relative_to(folder).as_posix())
        tree = json.loads(path.read_text(encoding="utf-8"))
        for target, result in tree["results"].get("targets", {}).items():
            if tree["variant"] == "none":
                metric = tasks.get(target).metric
                result["controls"] = {k: {"majority": {metric: 20.0}} for k in result["languages"]}
            if target == "udpos":
                result["missing"] = {"th": f"no file {EVIL} {HEBREW}"}
        change(path, results=tree["results"], environment=environment)
    for path in sorted(folder.glob("02_*/**/scores/tatoeba.*.json")):
        layers = {str(k): {"from_english": 10.0 * k} for k in range(1, 7)}
        change(path, extra={"layer": 6, "direction": "from_english", "layers": layers})
    for step in ("03_correlation", "04_published"):
        synthetic._record(study, folder / step, step, None, None, None, {})
        notebook(folder / step, step)
    predictors, outcomes = tables.predictors(folder), tables.outcomes(folder)
    X, Y, skip = arrays.wide(predictors, outcomes)
    cells = correlate.correlate(X, Y, permutations=199, resamples=199, skip=skip)
    export.write(cells, folder / "03_correlation" / "tables", "correlation", index=False)
    table = pd.DataFrame({"claim": [EVIL, "b"], "rho": [0.51234, None]})
    (folder / "04_published" / "tables").mkdir()
    table.to_csv(folder / "04_published" / "tables" / "averages.csv", index=False)


@pytest.fixture(scope="module")
def full(root, tmp_path_factory) -> Path:
    """A finished study: 11 variants and two controls, 9 targets, one seed; its report is built."""
    folder = tmp_path_factory.mktemp("outputs") / "full"
    variants = [*synthetic.VARIANTS, "mnli+shuffled", "squad1+mlm"]
    study = synthetic.write(root, folder, variants, TARGETS, seeds=(1,))
    finish(study, folder)
    report.build(study, folder)
    return folder


@pytest.fixture(scope="module")
def half(root, tmp_path_factory) -> Path:
    """Two seeds; some variants not carried over, one failed, one died, one running."""
    folder = tmp_path_factory.mktemp("outputs") / "half"
    study = synthetic.write(
        root, folder, targets=TARGETS, transferred=["none", "mnli", "squad1", "ccg", "qqp"]
    )
    finish(study, folder)
    shutil.rmtree(folder / "03_correlation")
    for variant, state in (("hellaswag", "failed"), ("csqa", "died"), ("multi", "interrupted")):
        out = folder / "02_transfer" / variant / "seed1" / "part1"
        notebook(out, variant, error=state == "failed")
        end = {"state": state, "error": f"ValueError: {EVIL}", "cell": 3, "started": "x"}
        write_atomic(out / "state.json", json.dumps(end))
    (folder / "02_transfer" / "anli" / "seed1" / "part1").mkdir(parents=True)
    torn = folder / "02_transfer" / "anli" / "seed1" / "part1" / "notebook.ipynb"
    torn.write_text('{"cells": [', encoding="utf-8")
    broken = folder / "01_intermediate" / "cosmosqa" / "seed1" / "record.json"
    broken.write_text('{"state": "done", ', encoding="utf-8")
    report.build(study, folder)
    return folder


def html(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


def links(path: Path) -> list[Path]:
    found = re.findall(r'href="([^"]+)"', path.read_text(encoding="utf-8"))
    local = [urldefrag(u)[0] for u in found if not u.startswith(("data:", "http", "#"))]
    return [path.parent / unquote(u) for u in local]


def test_every_state_has_a_report(root, tmp_path):
    """The page of a study that has just begun must not be blank or crash."""
    study = synthetic.study(root, tmp_path / "new")
    text = report.build(study, tmp_path / "new").read_text(encoding="utf-8")
    assert "0 of 46 steps are finished" in text and "Unfinished" in text
    assert text.count('class="open"') == len(synthetic.VARIANTS) * 5
    synthetic._record(study, tmp_path / "new/04_published", "04_published", None, None, None, {})
    assert "1 of 46" in report.build(study, tmp_path / "new").read_text(encoding="utf-8")


def test_an_interrupted_step_is_no_failure(root, tmp_path):
    """After Ctrl-C the next run goes on with it: a red banner would alarm for nothing."""
    study = synthetic.study(root, tmp_path / "s")
    folder = tmp_path / "s/01_intermediate/mnli/seed1"
    folder.mkdir(parents=True)
    end = {"state": "interrupted", "error": "SIGINT"}
    (folder / "state.json").write_text(json.dumps(end))
    text = report.build(study, tmp_path / "s").read_text(encoding="utf-8")
    assert "1 interrupted" in text and "What failed" not in text
    (folder / "state.json").write_text(json.dumps(end | {"state": "failed"}))
    assert "What failed" in report.build(study, tmp_path / "s").read_text(encoding="utf-8")


def test_a_study_of_another_version_keeps_its_page(full, tmp_path, monkeypatch):
    """`midway report` after an update of Midway wrote an empty page; a run makes all again."""
    page, study = tmp_path / "index.html", params.load(full / "params.yaml")
    monkeypatch.setenv(RUNNER, "1")
    report.build(study, full, into=tmp_path)
    assert "No answer yet" in page.read_text(encoding="utf-8")
    monkeypatch.setenv(BY_HAND, "1")
    report.build(study, full, into=tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "No answer yet" not in text and "are from another version of Midway" in text


@pytest.mark.slow
def test_finished_study(full):
    """Finished is said only of a finished study, and its numbers are those of the tables."""
    text = html(full)
    assert "<b>Finished:</b> 28 of 28" in text and "Provisional" not in text
    gains = tables.gain_matrix(tables.outcomes(full))
    for variant, target in (("multi", "xnli"), ("mnli+shuffled", "panx")):
        value = names.number(gains.loc[variant, target], 1, True)
        page = collect.url(f"pages/02_transfer/{variant}/seed1/part1.html")
        assert f'href="{page}">{value}</a>' in text
    order = [text.index(f'scope="col" title="{t}"') for t in TARGETS]
    assert order == sorted(order), "targets stand in XTREME's order"
    assert "majority" in text and "microworld" in text


@pytest.mark.slow
def test_unfinished_study(half):
    """What failed is shown with its traceback, what is torn is named."""
    text = html(half)
    assert "Unfinished" in text and "<b>Finished" not in text and "Provisional" in text
    assert "Traceback" in text and "1 failed" in text and "1 died" in text
    assert "01_intermediate/cosmosqa/seed1/record.json: incomplete or damaged" in text
    torn = half / "pages/02_transfer/anli/seed1/part1.html"
    assert "cannot be read" in torn.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_correlation_of_records_that_are_gone_is_not_shown(full, tmp_path):
    """After deleting a step, the old coefficients would stand beside the new scores."""
    folder = tmp_path / "full"
    shutil.copytree(full, folder)
    study = params.load(folder / "params.yaml")
    sid = StepId("03_correlation")
    above = hashes.made_from(study, sid, folder, ignore_missing=False)
    change(folder / "03_correlation" / "record.json", hashes={"upstream": above})
    report.build(study, folder)
    assert "Provisional" not in html(folder)
    (folder / "02_transfer" / "mnli" / "seed1" / "part1" / "record.json").unlink()
    report.build(study, folder)
    assert "Provisional" in html(folder) and "1 out of date" in html(folder)


def test_work_by_hand_judges_records_as_plan_does(root, tmp_path):
    """05 in Jupyter showed an edited record, or one of other settings; a run did not."""
    folder = tmp_path / "s"
    study = synthetic.write(root, folder, ["none", "mnli"], ["xnli"], seeds=(1,))
    everything = {"01_intermediate/none/seed1", "01_intermediate/mnli/seed1",
                  "02_transfer/none/seed1/part1", "02_transfer/mnli/seed1/part1"}  # fmt: skip
    assert plan.current(study, folder, by_hand=True) == everything
    path = folder / "01_intermediate/mnli/seed1/record.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace('"cpu_s": 60.0', '"cpu_s": 61.0'), encoding="utf-8")
    left = plan.current(study, folder, by_hand=True)
    assert everything - left == {"01_intermediate/mnli/seed1", "02_transfer/mnli/seed1/part1"}
    path.write_text(whole, encoding="utf-8")
    change(path, hashes={"params": "of another learning rate"})
    assert plan.current(study, folder, by_hand=True) == left
    path.write_text(whole, encoding="utf-8")
    change(path, files={"encoder.safetensors": "0" * 64})  # gone: a sample has no weights
    assert plan.current(study, folder, by_hand=True) == everything
    (path.parent / "encoder.safetensors").write_bytes(b"other weights")
    assert plan.current(study, folder, by_hand=True) == left


@pytest.mark.slow
def test_text_of_data_is_text(full, half):
    """A script in a row of data must show as text, wherever rows, errors and reasons are."""
    found = 0
    for path in [*full.rglob("*.html"), *half.rglob("*.html")]:
        text = path.read_text(encoding="utf-8")
        assert "<script>document" not in text and "<img src=x" not in text
        assert "javascript:" not in re.sub(
            r"<[^a][^>]*>", "", "".join(re.findall("<a [^>]*>", text))
        )
        found += "&lt;script&gt;document" in text
    assert found > 30


@pytest.mark.slow
def test_links_resolve(full, half):
    """No number may lead nowhere."""
    for folder in (full, half):
        for path in [folder / "index.html", *folder.glob("pages/**/*.html")]:
            lost = [str(p) for p in links(path) if not p.exists()]
            assert not lost, f"{path.relative_to(folder)}: {lost[:3]}"
            text = path.read_text(encoding="utf-8")
            ids = set(re.findall(r' id="([^"]+)"', text))
            for name, id_ in re.findall(r'href="pages/(\w+)\.html#([^"]+)"', text):
                assert f'id="{id_}"' in (folder / f"pages/{name}.html").read_text("utf-8"), id_
            inside = {u[1:] for u in re.findall(r'href="(#[^"]+)"', text)}
            assert inside <= ids


@pytest.mark.slow
def test_figures_to_download(full):
    """What a paper takes from the report: valid files whose data are there, too."""
    text = html(full)
    for name in ("miniature", "forest", "curves"):
        assert f'href="figures/{name}.svg"' in text and f'id="figure-{name}"' in text
        root = ElementTree.parse(full / f"figures/{name}.svg").getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert (full / f"figures/{name}.png").read_bytes()[:4] == b"\x89PNG"
    data = pd.read_csv(full / "figures/miniature.csv", index_col=0)
    gains = tables.gain_matrix(tables.outcomes(full))
    assert data.loc["mnli", "y"] == pytest.approx(gains.loc["mnli", "average"])


@pytest.mark.slow
def test_the_first_screen_answers(full):
    """Question, answer, certainty and basis come before anything else, state included."""
    text = html(full)
    places = [text.index(x) for x in ("<h1>Does a better score", 'class="lead"',
                                      "How sure is this study?", "What does this study rest on?",
                                      "<b>Finished:</b>", 'id="gains"')]  # fmt: skip
    assert places == sorted(places)


@pytest.mark.slow
def test_pairs_are_counted_once(full):
    """Two counts of the same pairs make a reader doubt both."""
    text = html(full)
    cells = pd.read_csv(full / "03_correlation/tables/correlation.csv")
    n = int(cells["rho"].notna().sum())
    assert f"All {n} pairs with" in text and f"{n} pairs of a predictor" in text
    assert text.count('id="pair-') == n
    assert f"Of {n} predictor-outcome pairs" in text and f"over {n} pairs" in text


def test_three_tasks_are_paler_than_ten():
    """rho = 1 of three tasks is weaker evidence than rho = .8 of ten."""
    columns = ["predictor", "outcome", "n", "rho", "p", "note"]
    rows = [["em", "average", 3, 1.0, 0.3, ""], ["main", "average", 10, 0.8, 0.01, ""]]
    cells = report.correlation_tables(pd.DataFrame(rows, columns=columns))["cells"]
    assert cells[0]["shade"] < cells[1]["shade"] == pytest.approx(0.8)


def test_half_width_of_a_gain():
    """100 rows at 50 % on both sides: sd sqrt(25 + 25); seeds add their variance over k."""
    assert collect.half_width([1.0], [50.0], [50.0], 100) == pytest.approx(1.96 * 50**0.5)
    assert collect.half_width([0.0, 2.0], [50.0], [50.0], 100) == pytest.approx(1.96 * 51**0.5)
    assert collect.half_width([], [], [], 100) is None
    assert collect.half_width([1.0], [50.0], [50.0], None) is None


@pytest.mark.slow
def test_a_page_elsewhere_leads_back(full, tmp_path):
    """A report made by hand in its own folder still leads to the study's records."""
    study = params.load(full / "params.yaml")
    before = html(full)
    report.build(study, full, into=tmp_path / "hand")
    assert html(full) == before
    for path in (tmp_path / "hand").rglob("*.html"):
        assert not [p for p in links(path) if not p.exists()]


@pytest.mark.slow
def test_pages_are_kept(full, root, monkeypatch):
    """Making the report again costs as little as what has changed."""
    made = []
    real = notebooks.render
    monkeypatch.setattr(notebooks, "render", lambda *a: made.append(a[1]["path"]) or real(*a))
    study = params.load(full / "params.yaml")
    report.build(study, full)
    assert made == []
    notebook(full / "01_intermediate/mnli/seed1", "changed")
    report.build(study, full)
    assert made == ["01_intermediate/mnli/seed1"]


@pytest.mark.slow
def test_index_is_quick(full):
    """The page must not keep a run waiting: 3 s for the index of a full study."""
    study = params.load(full / "params.yaml")
    start = time.process_time()
    report.render(report.content(study, full))
    assert time.process_time() - start < 3


def test_pages_fetch_and_run_nothing():
    """A page that loads something from elsewhere tells others what is read, and breaks offline."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    here = Path(report.__file__).parent
    for name in ("index.html.j2", "page.html.j2"):
        assert policy in (here / name).read_text(encoding="utf-8")
    assert "@import" not in report.style() and "url(" not in report.style()


def test_clean_keeps_tables_and_nothing_else():
    """Pictures from elsewhere, handlers, styles and frames in an output must not reach a page."""
    text = notebooks.clean(
        '<style>x{}</style><table border="1"><tr style="a"><td onclick="b">1</td></tr></table>'
        '<img src="http://x/y.png"><img src="data:image/png;base64,AA"><iframe src="x"></iframe>'
    )
    assert "onclick" not in text and "http" not in text and "<iframe" not in text
    assert '<td dir="auto">1</td>' in text and 'alt="picture"' in text and "x{}" not in text


@pytest.mark.parametrize("value, shown", [(None, "–"), (float("nan"), "–"), (-0.04, "0.0")])
def test_number(value, shown):
    """A missing score must not look like zero, nor zero like a loss."""
    assert names.number(value, 1, True) == shown


def test_a_p_value_is_never_zero():
    assert names.p_value(0.0001) == "< 0.001" and names.p_value(float("nan")) == "–"
    assert names.p_value(0.0149) == "0.015"


def test_names_break_at_their_joints_only():
    """On a phone "steps_to_9 / 0" cannot be read."""
    assert report.breaks("steps_to_90") == "steps_<wbr>to_<wbr>90"
    assert report.breaks("a<b+c") == "a&lt;b+<wbr>c"


def test_sentences_are_set_as_such():
    line = report.typeset("rho = -0.10 (-0.8 to +0.7), p-value of 3-4 seeds, mnli-x")
    assert line == "rho\u00a0=\u00a0−0.10 (−0.8 to +0.7), p-value of 3-4 seeds, mnli-x"


def test_two_tasks_have_no_answer_and_no_power():
    """A finished study of two tasks was told to wait, and given the power of nine tasks."""
    nothing = pd.DataFrame(columns=correlate.COLUMNS)
    assert answer.here(nothing, 2, True).startswith("No answer: 2 intermediate tasks are too few.")
    assert answer.here(nothing, 2, False).startswith("No answer yet: ")
    design = {"design": [{"design": "as it is", "power_between": 0.15}]}
    assert "15 of 100" in answer._power(design | {"n": 9})[0]
    assert answer._power(design | {"n": 2}) == []


def test_copied_tables_have_titles():
    """A reader of the report does not know the names of columns in our files."""
    row = {"predictor": "edges-spr2_PRB", "outcome": "rte_TRG", "p_maxt": 0.2, "p_mc_low": 0.1}
    made = report.published("probing_tasks", "x.csv", pd.DataFrame([row]))
    assert [v for v, _ in made["rows"][0]] == ["probe of proto-roles (SPR2)", "RTE", "0.2"]
    heads = [names.title(c, "columns") for c in made["columns"]]
    assert heads == ["predictor", "outcome", "family-wise p"]
    assert names.title("hypothesis_only", "values") == "this model, second text only"


def test_a_choice_among_few_tasks_is_not_the_best():
    """A metric that three of ten tasks have does not head the table of costs."""
    rows = [["f1", "predictor", 3, 0.0], ["logme", "predictor", 10, 0.2], ["ece", "x", 10, 5.0]]
    table = pd.DataFrame(rows, columns=["predictor", "kind", "n", "regret_1"])
    table = table.assign(target="average", low=0.0, high=1.0)
    table = pd.concat([table, table[:1].assign(kind="random", predictor="random choice", n=10)])
    found = report.chosen("x.csv", table)["rows"]
    assert [r["predictor"] for r in found] == ["random choice", "logme", "ece", "f1"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if browser.BINARY is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with browser.Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("width, dark", [(1280, False), (1280, True), (400, False), (400, True)])
@pytest.mark.parametrize("name", ["index.html", "pages/02_transfer/hellaswag/seed1/part1.html"])
def test_in_a_browser(chromium, half, name, width, dark):
    """For everyone: contrast, phone width, alt texts, heading order, keyboard, offline."""
    found = chromium.open(half / name, width, dark)
    assert found["console"] == [] and found["requests"] == []
    assert found["poor"] == [], "text with a contrast below 4.5"
    assert found["width"] <= width, "the page scrolls sideways"
    assert not (found["alts"] or found["broken"] or found["pictures"] or found["nameless"])
    assert found["scrollers"] == 0, "a box that scrolls cannot be reached by keyboard"
    assert found["twice"] == [] and found["lang"] == "en" and "owned" not in found["title"]
    heads = found["heads"]
    assert heads[0] == 1 and heads.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(heads, heads[1:], strict=False))


@pytest.mark.slow
def test_audit_sees_what_is_wrong(chromium, tmp_path):
    """The checks themselves: a bad page must not pass them."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<p style='color:#999'>pale</p><img src='http://127.0.0.1:9/x.png'>"
        "<div style='width:3000px'>wide</div><script>console.log(1)</script>"
    )
    found = chromium.open(page)
    assert found["poor"] and found["requests"] and found["console"] and found["alts"]
    assert found["width"] > 1280


@pytest.mark.slow
def test_right_to_left(chromium, half):
    """Hebrew and Arabic start at the right edge of their cell, Chinese at the left."""
    chromium.open(half / "pages/02_transfer/hellaswag/seed1/part1.html")
    each = "[...document.querySelectorAll('td')]"
    directions = dict(
        chromium.js(f"{each}.map(t => [t.textContent, getComputedStyle(t).direction])")
    )
    assert directions[HEBREW] == directions[ARABIC] == "rtl" and directions["北京"] == "ltr"


@pytest.mark.slow
def test_sorting(chromium, full):
    """A click on a column's name sorts by number, not by letters; missing values stay last."""
    chromium.open(full / "index.html")
    table = "document.querySelector('#correlation').parentElement.querySelector('table.sortable')"
    chromium.js(
        f"[...{table}.querySelectorAll('button')].find(b => b.textContent == 'rho').click()"
    )
    cells = chromium.js(f"[...{table}.tBodies[0].rows].map(r => r.cells[2].textContent)")
    values = [float(c.replace("−", "-")) for c in cells if c != "–"]
    assert len(values) > 5 and values == sorted(values)
    assert cells[len(values) :] == ["–"] * (len(cells) - len(values))
    chromium.js(f"[...{table}.querySelectorAll('button')].find(b => b.textContent == 'p').click()")
    cells = chromium.js(f"[...{table}.tBodies[0].rows].map(r => r.cells[4].textContent)")
    values = [float(c.replace("< ", "")) for c in cells if c != "–"]  # "< 0.001" comes first
    assert values == sorted(values)


@pytest.mark.slow
def test_chooser(chromium, full):
    """Predictor and outcome can be chosen, a task left out by mouse and keyboard."""
    chromium.open(full / "index.html")
    dots = "[...document.querySelectorAll('#chooser .dot')]"
    said = "document.querySelector('#chooser p').textContent"
    assert chromium.js(f"{dots}.length") == 9 and "All 9 tasks" in chromium.js(said)
    shown = chromium.js(said)
    chromium.js(
        "{const s = document.querySelectorAll('#chooser select')[1]; s.value = 'xnli';"
        " s.dispatchEvent(new Event('change'))}"
    )
    assert chromium.js(said) != shown
    chromium.js(f"{dots}[0].dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    assert "Without" in chromium.js(said) and "n = 8" in chromium.js(said)
    chromium.js(f"{dots}[0].focus()")
    chromium("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter",
             windowsVirtualKeyCode=13)  # fmt: skip
    assert "Without" not in chromium.js(said), "Enter takes the task back in"


@pytest.mark.slow
def test_the_choosers_rho_is_ours(chromium, full):
    """The rank correlation in the page must be that of the library, ties included."""
    from scipy.stats import spearmanr

    chromium.open(full / "index.html")
    data = chromium.js("JSON.parse(document.getElementById('data').textContent)")
    x, y = data["x"]["main"], data["y"]["average"]
    kept = sorted(set(x) & set(y))[1:]
    first = sorted(set(x) & set(y))[0]
    chromium.js(f"document.querySelector('#chooser [data-unit={first}]').onclick()")
    said = chromium.js("document.querySelector('#chooser p').textContent")
    rho = spearmanr([x[u] for u in kept], [y[u] for u in kept]).statistic
    assert f"Without {names.variant(first)}: rho {names.number(rho, 2, True)}" in said


@pytest.mark.slow
def test_numbers_have_links(chromium, full):
    """A click on a number's cell gives an address that leads to it, also in closed sections."""
    chromium.open(full / "index.html")
    chromium.js("document.getElementById('rho-main-xnli').click()")
    assert chromium.js("location.hash") == "#rho-main-xnli"
    assert chromium.js("document.querySelectorAll('h2 > .permalink').length") >= 9
    chromium.js("document.querySelectorAll('details').forEach(d => d.open = false)")
    chromium.js("location.hash = 'pair-main-xnli'; new Promise(r => setTimeout(r, 50))")
    assert chromium.js("document.getElementById('pair-main-xnli').closest('details').open")
