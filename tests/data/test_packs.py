"""The translation pairs from the JupyterLab language packs: what retrieval scores stand on."""

from importlib import metadata

import pytest

from midway.data.mini import packs
from midway.study.errors import InputError, MissingData

TATOEBA, BUCC = packs.languages("tatoeba"), packs.languages("bucc2018")


def test_at_least_twelve_languages_have_150_pairs():
    """A pack that shrinks would silently turn a language's score into noise."""
    counts = packs.counts()
    assert len(counts) >= 12
    assert min(counts.values()) >= 150, counts


@pytest.mark.parametrize("lang", TATOEBA)
def test_every_sentence_occurs_once(lang):
    """A duplicate sentence would make a right retrieval count as wrong."""
    english, foreign = zip(*packs.pool(lang), strict=True)
    assert len(set(map(packs._key, english))) == len(english)
    assert len(set(map(packs._key, foreign))) == len(foreign)
    assert not set(english) & set(foreign)


@pytest.mark.parametrize("lang", TATOEBA)
def test_tatoeba_test_and_dev_are_disjoint_and_sized(lang):
    """Choosing a layer on dev must not have seen a test pair."""
    test = packs.make("tatoeba", "test", lang)
    assert 150 <= len(test) <= packs.TEST_PAIRS
    assert set(test[0]) == {"id", "source", "target", "lang"}
    try:
        dev = packs.make("tatoeba", "dev", lang)
    except MissingData:
        dev = []
    assert not {r["target"] for r in dev} & {r["target"] for r in test}
    assert not {r["id"] for r in dev} & {r["id"] for r in test}


def test_order_is_fixed_and_size_takes_the_first_rows():
    """A run with a smaller test size must be a part of the full one."""
    full = packs.make("tatoeba", "test", "de", seed=0)
    assert packs.make("tatoeba", "test", "de", size=40, seed=7) == full[:40]


@pytest.mark.parametrize("lang", BUCC)
@pytest.mark.parametrize("size", [None, 120])
def test_mining_has_half_its_pool_paired(lang, size):
    """Mining needs sentences without a partner on both sides, and gold ids that exist."""
    for split in packs.SPLITS:
        rows = packs.make("bucc2018", split, lang, size=size)
        assert size is None or len(rows) <= size
        sources = [r for r in rows if r["side"] == "source"]
        targets = {r["id"]: r for r in rows if r["side"] == "target"}
        gold = {r["text"]: r["gold"][0] for r in sources if r["gold"]}
        assert len({r["id"] for r in rows}) == len(rows)
        assert set(gold.values()) <= set(targets)
        assert all(not r["gold"] for r in targets.values())
        pairs = {foreign: english for english, foreign in packs.pool(lang)}
        assert all(targets[i]["text"] == pairs[text] for text, i in gold.items())
        assert len(gold) / len(sources) == pytest.approx(2 / 3, abs=0.03)
        assert len(sources) == len(targets)


@pytest.mark.parametrize("lang", BUCC)
def test_mining_ids_do_not_give_the_pairs_away(lang):
    """Ids that run in parallel on both sides would leak the gold standard."""
    rows = packs.make("bucc2018", "test", lang)
    gold = [(r["id"][3:], r["gold"][0][3:]) for r in rows if r["gold"]]
    assert sum(a == b for a, b in gold) < 0.05 * len(gold)


@pytest.mark.parametrize("lang", BUCC)
def test_mining_dev_and_test_share_no_sentence(lang):
    """The threshold is tuned on dev; a shared sentence would flatter the test score."""
    dev, test = (
        {(r["side"], r["text"]) for r in packs.make("bucc2018", s, lang)} for s in packs.SPLITS
    )
    assert not dev & test


def test_a_missing_pack_is_named_with_its_install_command(monkeypatch):
    """Without the pack the user must learn what to install, not see a traceback or 0.0."""

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    packs.pool.cache_clear()
    monkeypatch.setattr(packs.metadata, "distribution", absent)
    with pytest.raises(MissingData, match="pip install jupyterlab-language-pack-fr-FR"):
        packs.make("tatoeba", "test", "fr")
    packs.pool.cache_clear()


def test_a_pack_with_too_few_pairs_is_missing_data(monkeypatch):
    """An emptied catalogue must be reported, not scored on three sentences."""
    monkeypatch.setattr(packs, "pool", lambda lang: packs_few)
    packs_few = (("Open the file", "Datei öffnen"),) * 3
    for task in ("tatoeba", "bucc2018"):
        with pytest.raises(MissingData, match="only 3 usable pairs"):
            packs.make(task, "test", "de")


def test_unknown_language_and_train_split_are_refused():
    """These tasks have no training data, and BUCC only four languages."""
    with pytest.raises(InputError, match="'es'"):
        packs.make("bucc2018", "test", "es")
    with pytest.raises(InputError, match="train"):
        packs.make("tatoeba", "train", "de")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("&Save the file", "Save the file"),
        ("ファイル(&F)", "ファイル"),
        ("\nMove %1\n  to %2 ", "Move X to Y"),
        ("%s of {total} files", "X of Y files"),
        ("100%sure", "100%sure"),
    ],
)
def test_tidy(raw, clean):
    """Mnemonics and placeholders are not language; they must not serve as retrieval clues."""
    assert packs.tidy(raw) == clean


@pytest.mark.parametrize(
    ("english", "foreign", "lang", "ok"),
    [
        ("Close the file", "Datei schließen", "de", True),
        ("Close file", "Datei schließen", "de", False),  # two words
        ("Close the file", "Close the file", "de", False),  # not translated
        ("Close the file", "Item icon id", "ja", False),  # another script
        ("Close file X now", "Datei jetzt schließen", "de", False),  # placeholder lost
        ("Run jupyter_config.py now", "jupyter_config.py ausführen", "de", False),  # code
    ],
)
def test_usable(english, foreign, lang, ok):
    """Each filter rule, with the kind of string it is there for."""
    assert packs.usable(english, foreign, lang) is ok
