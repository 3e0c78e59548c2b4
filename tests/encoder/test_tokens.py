"""Tokenised rows: a shifted answer, a lost word or a dropped example would falsify every score."""

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from midway import kinds
from midway.encoder import encoder
from midway.encoder.batches import evaluation_batches, training_order
from midway.kinds import encode
from midway.kinds.tokens import texts
from midway.study import params
from midway.study.errors import InputError
from tiny import checkpoint


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = checkpoint(tmp_path_factory.mktemp("tiny"))
    return encoder.load(params.Encoder(kind="path", path=str(folder))).tokenizer


@pytest.fixture(scope="module")
def packaged():
    try:
        folder = encoder.packaged.model_folder()
    except InputError as error:
        pytest.skip(str(error))
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        model_max_length=512,
        pad_token="<pad>",
    )


def span_rows(context, question, answer):
    answers = {"text": [answer], "answer_start": [context.index(answer)]} if answer else {}
    answers = answers or {"text": [], "answer_start": []}
    row = {"id": "1", "context": context, "question": question, "answers": answers, "lang": "en"}
    return Dataset.from_list([row])


def read_back(features, s, context):
    """The text that a window's gold pieces cover."""
    first, last = features.spans[s]
    where = features.offsets[s]
    return context[where[first, 0] : where[last, 1]]


@pytest.mark.parametrize("answer", ["Lima", "the city of Lima", "1999", "A", "Rome."])
def test_gold_span_covers_the_answer(tokenizer, answer):
    context = "A man left the city of Lima in 1999. He then went to Rome."
    f = encode(span_rows(context, "where?", answer), "span", (), tokenizer, 64)
    assert f.examples == 1 and read_back(f, 0, context).strip() == answer


ENDS = {
    "a trailing space pulled in the next word": ("in Lima by day", "Lima ", "Lima"),
    "several": ("in Lima \u3000\n by day", "Lima \u3000\n ", "Lima"),
    "leading space": ("in Lima by day", " Lima", "Lima"),
    "zero-width space": ("in Lima[3]\u200b by day", "Lima[3]\u200b", "Lima[3]\u200b"),
    "zero-width space that is not the answer's": ("a\u200b Lima b", "Lima", "Lima"),
    "zero-width space in front": ("in \u200bLima b", "Lima", "Lima"),
    "joiner": ("in Lima\u200d by day", "Lima\u200d", "Lima\u200d"),
    "non-joiner": ("in Lima\u200c by day", "Lima\u200c", "Lima\u200c"),
    "left-to-right mark": ("in Lima\u200e\u200f by day", "Lima\u200e\u200f", "Lima\u200e\u200f"),
    "byte-order mark": ("\ufeffLima by day", "\ufeffLima", "Lima"),
    "control character": ("in Lima\x07 by day", "Lima\x07", "Lima\x07"),
    "bracket behind": ("in (Lima\u200b) by day", "Lima\u200b", "Lima\u200b"),
    "at the end": ("in Lima\u200b", "Lima\u200b", "Lima\u200b"),
    "before a space at the end": ("in Lima\u200b \u200b", "Lima\u200b", "Lima\u200b"),
    "decomposed accent": ("in cafe\u0301 by day", "cafe\u0301", "cafe\u0301"),
    "a letter lost in decoding": ("in caf\ufffd by day", "caf\ufffd", "caf\ufffd"),
    "tag characters": ("in Lima\U000e0041 by day", "Lima\U000e0041", "Lima\U000e0041"),
    "soft hyphen": ("in Lima\xad by day", "Lima\xad", "Lima\xad"),
    "variation selector": ("in Lima\ufe0f by day", "Lima\ufe0f", "Lima\ufe0f"),
    "no-break space": ("in Lima\xa0by day", "Lima\xa0", "Lima"),
    "next word untouched": ("in Lima by\u200b day", "Lima", "Lima"),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("which", ["tiny", "packaged"])
def test_answers_end_where_their_visible_text_ends(tokenizer, packaged, name, which):
    """An answer that ended in a zero-width character became "no answer"."""
    context, answer, text = ENDS[name]
    own = tokenizer if which == "tiny" else packaged
    f = encode(span_rows(context, "where?", answer), "span", (), own, 64)
    assert read_back(f, 0, context) == text


def test_answers_without_visible_text_are_none(tokenizer):
    f = encode(span_rows("a \u200b b", "where?", "\u200b"), "span", (), tokenizer, 64)
    assert not f.spans.any()


def test_long_context_keeps_every_character_in_some_window(tokenizer):
    """An answer that only the third window shows must be found there, and nowhere else marked."""
    context = " ".join(f"word{i}" for i in range(60)) + " Lima end"
    f = encode(span_rows(context, "where?", "Lima"), "span", (), tokenizer, 40, 10)
    assert len(f.sequences) > 3 and max(f.lengths) <= 40
    seen = np.zeros(len(context), bool)
    for s, where in enumerate(f.offsets):
        for a, b in where[where[:, 0] >= 0]:
            seen[a:b] = True
        if f.spans[s].any():
            assert read_back(f, s, context).strip() == "Lima"
    assert f.spans.any() and all(seen[i] for i, c in enumerate(context) if not c.isspace())


def test_more_pieces_than_the_encoder_has_positions_are_refused(tokenizer):
    """Otherwise the first long sentence ends the run with an index error inside the encoder."""
    with pytest.raises(InputError, match="max_length: 600; .* at most 64"):
        encode(span_rows("A b c.", "who?", ""), "span", (), tokenizer, 600)
    with pytest.raises(InputError, match="max_length"):
        texts(["A b c."], tokenizer, 600)


def test_no_answer_points_at_the_first_piece(tokenizer):
    f = encode(span_rows("A b c.", "who?", ""), "span", (), tokenizer, 64)
    assert f.spans.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "odd", ["", "\u3000", "\xa0", "\x85", " ", "\u200b", "\u200e", "\ufeff", "\x07"]
)
def test_words_without_pieces_keep_their_place(packaged, odd):
    """One of them cost a whole language; the reference scorer counts it as any other word."""
    for tokens in (["ab", odd, "cd"], [odd, "ab"], ["ab", odd], [odd], [odd, odd]):
        rows = {"id": ["1"], "tokens": [tokens], "tags": [["X"] * len(tokens)], "lang": ["en"]}
        f = encode(rows, "tags", ("O", "X"), packaged, 32)
        words = f.words[0][:, 1].tolist()
        assert set(words) >= {i for i, t in enumerate(tokens) if t != odd}
        values = [np.zeros((len(f.sequences[0]), 2), np.float32)]
        values[0][:, 1] = 1.0
        found = kinds.get("tags").answer(values, f, rows, ("O", "X")).predictions[0]
        assert found == ["X" if i in words else "O" for i in range(len(tokens))]


def test_words_are_labelled_on_their_first_piece_with_text(tokenizer):
    """The bare word-start mark before Han characters carries no text; labelling it loses them."""
    rows = {
        "id": ["1"],
        "tokens": [["是", "ab", "大的"]],
        "tags": [["A", "B", "A"]],
        "lang": ["zh"],
    }
    f = encode(Dataset.from_dict(rows), "tags", ("A", "B"), tokenizer, 64)
    pieces = tokenizer.convert_ids_to_tokens(f.sequences[0].tolist())
    labelled = [pieces[at] for at, _ in f.words[0]]
    assert labelled[0].strip("▁") == "是" and labelled[2].strip("▁")[0] == "大"
    assert f.tags[0].tolist() == [0, 1, 0] and [w for _, w in f.words[0]] == [0, 1, 2]


@given(st.lists(st.sampled_from(["a", "abc", "是", "x" * 30, "b"]), min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_no_word_is_lost_in_long_sentences(tokenizer, words):
    """A sentence longer than the encoder is cut between words; each word keeps one place."""
    rows = {"id": ["1"], "tokens": [words], "tags": [["A"] * len(words)], "lang": ["en"]}
    f = encode(Dataset.from_dict(rows), "tags", ("A",), tokenizer, 24)
    assert sorted(w for words_ in f.words for _, w in words_) == list(range(len(words)))
    assert max(f.lengths) <= 24


def test_choices_stay_with_their_example(tokenizer):
    rows = Dataset.from_dict(
        {
            "id": ["1", "2"],
            "context": ["a", "b"],
            "choices": [["x", "y", "z"], ["x", "y"]],
            "label": [2, 0],
            "lang": ["en", "en"],
        }
    )
    f = encode(rows, "choice", (), tokenizer, 64)
    assert f.of([1, 0]) == [[3, 4], [0, 1, 2]] and f.labels.tolist() == [2, 0]
    # the end of one epoch and the begin of the next in one batch: an example stands there twice
    sequences = [s for group in f.of([1, 1, 0]) for s in group]
    found = kinds.get("choice").targets(f, [1, 1, 0], sequences, 64)
    assert found["options"].tolist() == [2, 2, 3]
    assert found["labels"].tolist() == [0, 0, 2]


def test_pairs_have_both_texts(tokenizer):
    rows = {"id": ["1"], "text_a": ["a b"], "text_b": ["c"], "label": [1], "lang": ["en"]}
    f = encode(Dataset.from_dict(rows), "pair", (), tokenizer, 64)
    assert tokenizer.convert_ids_to_tokens(f.sequences[0].tolist()) == [
        "<s>", "▁a", "▁b", "</s>", "</s>", "▁c", "</s>"
    ]  # fmt: skip


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_example_is_used_once_an_epoch(size, batches, epochs, seed):
    """A skipped or doubled example would make 'epochs' untrue; the order must be repeatable."""
    lengths = np.random.default_rng(seed).integers(1, 200, size * batches)
    made = training_order(lengths, size, batches * epochs, seed)
    assert len(made) == batches * epochs and all(len(b) == size for b in made)
    assert (np.bincount(np.concatenate(made), minlength=len(lengths)) == epochs).all()
    again = training_order(lengths, size, batches * epochs, seed)
    assert all((a == b).all() for a, b in zip(made, again, strict=True))


@given(st.integers(1, 30), st.integers(1, 17), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_few_examples_still_fill_every_batch(examples, size, steps):
    """Fewer rows than a batch holds must neither stop training nor lose rows."""
    made = training_order([5] * examples, size, steps, seed=3)
    assert len(made) == steps and all(len(b) == size for b in made)
    assert set(np.concatenate(made)) <= set(range(examples))


@given(st.lists(st.integers(1, 300), min_size=1, max_size=200), st.integers(64, 1024))
def test_evaluation_batches_hold_everything_within_the_budget(lengths, tokens):
    batches = evaluation_batches(lengths, tokens)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    for b in batches:
        longest = max(lengths[i] for i in b)
        assert len(b) == 1 or longest * len(b) <= tokens
        # Short sequences do not ride along with long ones: their padding is computed too.
        for i in b[-(-512 // longest) :]:
            assert lengths[i] >= 0.85 * longest


def test_texts_are_cut_at_the_limit(tokenizer):
    f = texts(["a" * 200, "b"], tokenizer, 16)
    assert f.lengths.tolist() == [16, 3]
