"""The names that a notebook author needs explain themselves, and their examples are true."""

import doctest
import inspect

import pytest

import midway


@pytest.mark.parametrize("name", midway.FACE)
def test_every_name_has_an_example_that_is_true(name, monkeypatch, root):
    """Examples that need an encoder or a study are marked +SKIP and only have to parse."""
    monkeypatch.chdir(root)
    thing = getattr(midway, name)
    text = inspect.getdoc(thing) or ""
    assert "\nExamples\n--------\n>>> " in text, name
    test = doctest.DocTestParser().get_doctest(text, {name: thing}, name, None, 0)
    found: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=found.append)
    assert not found, "".join(found)
