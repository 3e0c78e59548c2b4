"""03's sentences on studies whose truth is known; benchmarks/truth.py has a hundred draws each."""

import pytest

import truth


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["none", "between", "within"])
def test_sentences_say_what_is_true(kind):
    """Six studies: nothing false in five at least, and what is there is found in half."""
    true = {"none": [], "between": ["between", "answer"], "within": ["within"]}[kind]
    claims = [{s for s in truth.FALSE if truth.said(found, s)}
              for found in (truth.sentences(kind, seed) for seed in range(6))]  # fmt: skip
    allowed = {*true, "choice"} if kind == "between" else set(true)
    assert sum(bool(c - allowed) for c in claims) <= 1
    for section in true:
        assert sum(section in c for c in claims) >= 3
