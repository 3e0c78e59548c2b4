"""Two studies side by side: what differs is shown, and what both have is compared."""

import pytest

import synthetic
from midway import cli
from midway.report import compare
from midway.study.errors import InputError


@pytest.fixture(scope="module")
def two(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for name, seeds, noise in (("a", (1,), 1.0), ("b", (1, 2), 5.0)):
        synthetic.write(root, folder / name, seeds=seeds, noise=noise)
    return folder / "a", folder / "b"


def test_what_differs_is_shown(two):
    """Two studies of which nobody knows the difference cannot be compared."""
    found = compare.compare(*two)
    assert found["settings"].loc["seeds"].tolist() == ["1", "1, 2"]
    assert not found["settings"].isin(["None", "{}", "[]"]).any(axis=None)
    assert "encoder.layers" not in found["settings"].index
    row = found["gains"].loc["MultiNLI"]
    assert row["difference"] == pytest.approx(row["B"] - row["A"])
    assert found["correlations"].loc["rise of the own score", "A"] > 0.5
    assert "10 tasks" in " ".join(compare.sentences(found))


def test_averages_over_other_targets_are_named(two, root, tmp_path):
    """A study of one target and one of nine were compared by average without a word."""
    assert "different targets" not in " ".join(compare.sentences(compare.compare(*two)))
    synthetic.write(root, tmp_path / "c", targets=["xnli", "udpos"])
    said = " ".join(compare.sentences(compare.compare(two[0], tmp_path / "c")))
    assert "different targets" in said and "Tatoeba" in said and "XNLI" not in said


def test_the_verb_prints_and_writes_a_page(two, capsys):
    assert cli.main(["compare", *map(str, two)]) == 0
    said = capsys.readouterr().out
    page = two[0].parent / "compare_a_b.html"
    assert "Settings that differ" in said and str(page) in said
    text = page.read_text(encoding="utf-8")
    assert 'href="a/index.html"' in text and "<script" not in text and "MultiNLI" in text


def test_a_folder_without_a_study_is_refused(two, tmp_path, capsys):
    assert cli.main(["compare", str(two[0]), str(tmp_path)]) == 2
    assert "not a study" in capsys.readouterr().err
    with pytest.raises(InputError):
        compare.compare(two[0], tmp_path)
