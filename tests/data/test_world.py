"""The microworld itself: names, frames and words that every language must have and render."""

import itertools

import pytest

from midway.data import mini
from midway.data.mini import frames, lexicon, world

FORMS = [("s", 3), ("n", 2), ("q", 3), ("w", 1)]


def values(kind: str) -> list:
    """All keys of a kind, dates and organisations thinned out."""
    if kind in world.WORDS:
        return world.WORDS[kind].split()
    return {
        "city": world.CITIES,
        "country": world.COUNTRIES,
        "tongue": world.TONGUES,
        "weekday": list(range(7)),
        "age": [25, 36, 60],
        "date": [(month, 12) for month in range(1, 13)],
        "person": world.MEN + world.WOMEN,
        "org": list(itertools.product(world.INSTITUTIONS[:-1], world.CITIES))
        + [("firm", firm) for firm in world.FIRMS],
    }[kind]


@pytest.mark.parametrize("lang", mini.LANGUAGES)
def test_every_fact_can_be_said_of_everybody(lang):
    """A value without a needed form, or a frame with a typing error, would stop a run midway."""
    for topic, kind in world.ATTRIBUTES.items():
        for key, name, (form, number) in itertools.product(values(kind), ("Marco", "Keiko"), FORMS):
            for wording in range(number):
                slots = (("p", world.person(name)), ("v", (kind, key)))
                said = lexicon.say(world.Clause(topic, form, wording, slots), lang)
                assert not set(said.text) & set("$|/_"), said.text
                assert "  " not in said.text and said.text[-1] in ".?。？؟।", said.text
                assert "".join(token.text for token in said.tokens) == "".join(said.text.split())
                asked = {"q": "p", "w": "v"}.get(form)
                for slot in [asked] if asked else "pv":
                    start, end = said.span(slot)
                    assert said.text[start:end].strip() == said.text[start:end] != ""


@pytest.mark.parametrize("lang", mini.LANGUAGES)
def test_relations_and_fillers_can_be_said(lang):
    """Role changes need both ends of each relation, in both genders."""
    for topic, (p, q) in itertools.product(
        world.RELATIONS, [("Marco", "Keiko"), ("Keiko", "Marco")]
    ):
        slots = (("p", world.person(p)), ("q", world.person(q)))
        ends = [lexicon.say(world.Clause(topic, form, 0, slots), lang) for form in ("fwd", "inv")]
        assert ends[0].text != ends[1].text
        for said in ends:
            assert said.span("p") != said.span("q")
    assert len([lexicon.plain(line, lang) for line in lexicon.language(lang)["filler"]]) == 6


@pytest.mark.parametrize("lang", mini.LANGUAGES)
def test_languages_have_the_same_frames(lang):
    """A missing wording would make test sets differ between languages."""
    data = lexicon.language(lang)
    assert set(data["facts"]) == set(world.ATTRIBUTES)
    assert set(data["relations"]) == set(world.RELATIONS)
    assert set(data["org"]) == set(world.INSTITUTIONS)
    for topic, forms in data["facts"].items():
        assert len(set(forms["s"])) == len(set(forms["q"])) == 3, topic
        assert len(set(forms["n"])) == 2 and isinstance(forms["w"], str), topic
    for kind, keys in world.WORDS.items():
        assert list(data["words"][kind]) == keys.split()
    for kind in ("country", "weekday"):
        for key in data["words"].get(kind, {}):  # citation forms written here are the CLDR's
            written = [token.text for token in lexicon.entry(lang, kind, key)[""]]
            assert written == [token.text for token in lexicon.citation(lang, kind, key)]


@pytest.mark.parametrize("lang", mini.LANGUAGES)
def test_different_values_have_different_words(lang):
    """Two names or values with one spelling would make labels wrong in that language."""
    for kind in set(world.ATTRIBUTES.values()):
        texts = [
            " ".join(token.text for token in lexicon.citation(lang, kind, key))
            for key in values(kind)
            if kind != "org"
        ]
        assert len(set(texts)) == len(texts), kind


@pytest.mark.parametrize("lang", sorted(set(mini.LANGUAGES) - {"en", "de", "es", "fr", "tr"}))
def test_names_are_in_the_script(lang):
    """A name left in Latin letters would make that language easier than it claims."""
    for name in world.MEN + world.WOMEN:
        text = lexicon.citation(lang, "person", name)[0].text
        assert not any("a" <= char.lower() <= "z" for char in text), (lang, name)


@pytest.mark.parametrize(
    ("word", "form", "expected"),
    [
        ("Oslo", "loc", "Oslo'da"),
        ("Helsinki", "dat", "Helsinki'ye"),
        ("Paris", "abl", "Paris'ten"),
        ("Norveç", "loc", "Norveç'te"),
        ("Ruth", "gen", "Ruth'un"),
        ("Marco", "gen", "Marco'nun"),
        ("Zürih", "loc", "Zürih'te"),
        ("Ivo", "acc", "Ivo'yu"),
        ("Tunus", "abl", "Tunus'tan"),
    ],
)
def test_turkish_suffixes_follow_vowel_harmony(word, form, expected):
    """Wrong harmony would be wrong Turkish in every sentence with that name."""
    assert lexicon.turkish(word, form) == expected


def said(topic, form, name, value, lang):
    slots = (("p", world.person(name)), ("v", value))
    return lexicon.say(world.Clause(topic, form, 0, slots), lang)


def test_sentences_read_as_they_should():
    """Articles, elision, gender, attached punctuation and unspaced script, one case each."""
    assert said("job", "s", "Marco", ("job", "engineer"), "en").text == (
        "Marco works as an engineer."
    )
    assert said("job", "s", "Keiko", ("job", "cook"), "de").text == "Keiko arbeitet als Köchin."
    assert said("home", "q", "Emi", ("city", "Europe/Oslo"), "es").text == "¿Dónde vive Emi?"
    assert said("birthday", "n", "Emi", ("date", (3, 4)), "fr").text == (
        "L'anniversaire d'Emi n'est pas le 4 mars."
    )
    couple = world.Clause("spouse", "s", 2, (("p", world.person("Ruth")), ("v", ("person", "Ivo"))))
    assert lexicon.say(couple, "es").text == "Ruth e Ivo son un matrimonio."
    assert said("weekday", "s", "Ali", ("weekday", 1), "tr").text == "Ali'nin izin günü salı."
    assert lexicon.value("tr", "city", "Australia/Melbourne", "dat")[0].text == "Melbourne'e"
    assert said("birth", "s", "Keiko", ("country", "FR"), "ru").text == "Кейко родилась во Франции."
    assert said("home", "s", "Marco", ("city", "Europe/Oslo"), "zh").text == "马科住在奥斯陆。"
    assert said("home", "q", "Keiko", ("city", "Europe/Oslo"), "ar").text == "أين تسكن كيكو؟"
    assert said("home", "s", "Keiko", ("city", "Europe/Oslo"), "hi").text == ("केइको ओस्लो में रहती है।")


def test_tags_and_entities_line_up_with_tokens():
    """Tagging tasks are made of the same frames: nested organisations are one entity."""
    text = said("employer", "s", "Marco", ("org", ("university", "Europe/Oslo")), "en")
    pairs = [(token.text, token.upos) for token in text.tokens]
    assert pairs[-4:] == [("University", "PROPN"), ("of", "ADP"), ("Oslo", "PROPN"), (".", "PUNCT")]
    assert text.entities()[-4:] == ["B-ORG", "I-ORG", "I-ORG", "O"]


def test_a_frame_without_a_tag_is_refused():
    """A reviewer who forgets a tag is told which word lacks it."""
    with pytest.raises(ValueError, match="'lives' needs a tag"):
        frames.parse("$p lives in/P $v .")


def test_draws_keep_test_names_values_and_attributes_out_of_training():
    """Scores must not be recall of training names, values or attributes."""
    train = [world.Draw("xnli", "train", 0, i, "target") for i in range(300)]
    test = [world.Draw("xnli", "test", 0, i, "target") for i in range(300)]
    assert not {d.name() for d in train} & {d.name() for d in test}
    seen = {d.attribute() for d in train}
    assert not seen & set(world.HELD_OUT)
    assert set(world.HELD_OUT) < {d.attribute() for d in test}
    cities = {d.value("home") for d in train}, {d.value("home") for d in test}
    assert len(cities[0]) < len(cities[1])


@pytest.mark.parametrize("labels", [2, 3])
def test_every_block_of_labels_is_balanced(labels):
    """Majority baselines must stay at chance for every size."""
    drawn = [world.balanced(labels, "key", i) for i in range(labels * 20)]
    for start in range(0, len(drawn), labels):
        assert sorted(drawn[start : start + labels]) == list(range(labels))
