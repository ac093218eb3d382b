"""Label and length invariants of the released layout, for two kinds of tokenizer (oracle 12)."""

from dataclasses import replace

import pytest
import torch

from tests.tiny import appending, tiny_model, toy_tokenizer
from ultraedit.core.encoding import (
    Added,
    about_appended,
    added_tokens,
    collate,
    encode,
    locate,
    longest_first,
    prompt_ids,
    seam,
    text_ids,
    token_batches,
)
from ultraedit.core.errors import DataError
from ultraedit.core.types import Lookup, Recalled
from ultraedit.evaluation.probes.contexts import Chat
from ultraedit.host.second_moments.collection import tokenize
from ultraedit.models.generation import generate
from ultraedit.models.overlays.facts import Recall

PAIRS = [
    ("What is the native language of Danielle Darrieux?", "French"),
    ("Who wrote it?", "Jane Austen"),
    ("In which city is the tower, the tall one?", "Paris, France"),
    ("Who wrote it?", "W"),
]


@pytest.fixture(params=["bpe", "sentencepiece"])
def tokenizer(request):
    return toy_tokenizer(request.param)


def test_every_answer_token_is_predicted_once_and_no_prompt_token_is_scored(tokenizer):
    for (prompt, answer), item in zip(PAIRS, encode(tokenizer, PAIRS), strict=True):
        assert list(item.prompt_ids) == tokenizer(prompt)["input_ids"]
        assert list(item.answer_ids) == tokenizer(f" {answer}", add_special_tokens=False).input_ids
        assert len(item) == len(item.input_ids) == len(item.prompt_ids) + len(item.answer_ids) - 1
        batch = collate([item])
        read = batch.input_ids.flatten()
        # What stands after each supervised position is the label there, but for the last.
        for position, label in list(zip(batch.positions, batch.labels, strict=True))[:-1]:
            assert read[position + 1] == label
        assert batch.positions.min() == len(item.prompt_ids) - 1
        assert batch.labels.tolist() == list(item.answer_ids)


def test_padding_is_never_supervised_nor_attended_to(tokenizer):
    items = encode(tokenizer, PAIRS)
    batch = collate(items)
    assert batch.attention_mask.sum(dim=1).tolist() == [len(item) for item in items]
    assert batch.attention_mask.flatten()[batch.positions].all()
    assert batch.rows.tolist() == [r for r, item in enumerate(items) for _ in item.answer_ids]
    assert torch.all((batch.input_ids == 0) | (batch.attention_mask == 1))


def test_batches_hold_each_item_once_longest_first_and_within_both_budgets(tokenizer):
    items = encode(tokenizer, PAIRS * 5)
    batches = list(token_batches(items, max_tokens=60, max_answer_tokens=12))
    assert [index for batch in batches for index in batch] == longest_first(items)
    assert len(batches) > 1
    for batch in batches:
        assert len(batch) == 1 or len(batch) * len(items[batch[0]]) <= 60
        assert len(batch) == 1 or sum(len(items[i].answer_ids) for i in batch) <= 12


def test_equally_long_items_keep_their_order(tokenizer):
    items = encode(tokenizer, [PAIRS[3], PAIRS[0], PAIRS[3], PAIRS[3]])
    assert longest_first(items) == [1, 0, 2, 3]


def test_an_item_larger_than_the_budget_stands_alone(tokenizer):
    items = encode(tokenizer, PAIRS)
    assert [len(b) for b in token_batches(items, max_tokens=1, max_answer_tokens=1)] == [1] * 4


def test_a_prompt_longer_than_the_context_is_refused_with_its_length(tokenizer):
    length = len(encode(tokenizer, PAIRS[:1])[0])
    with pytest.raises(DataError, match=f"is {length} tokens long, but the model reads at most 5"):
        encode(tokenizer, PAIRS[:1], max_length=5)


def test_an_end_token_that_the_tokenizer_appends_is_taken_off_everywhere(tokenizer):
    other = appending(tokenizer)
    end = tokenizer.eos_token_id
    assert other(PAIRS[0][0])["input_ids"][-1] == end
    assert added_tokens(other) == added_tokens(tokenizer)._replace(behind=(end,))
    assert encode(other, PAIRS) == encode(tokenizer, PAIRS)
    prompts = [prompt for prompt, _ in PAIRS]
    assert prompt_ids(other, prompts) == [
        tuple(tokenizer(prompt)["input_ids"]) for prompt in prompts
    ]
    assert text_ids(other, prompts) == prompt_ids(other, prompts)
    lookups = [Lookup(PAIRS[0][0], 31, 48), Lookup("Paris", 0, 5)]
    assert locate(other, lookups) == locate(tokenizer, lookups)
    facts = Recalled((("The tower is in", "Paris"),), k=1, threshold=0.0)
    ours, theirs = Recall(facts, other, None), Recall(facts, tokenizer, None)
    (ids,) = prompt_ids(tokenizer, ["The tower is in"])
    assert ours.prompt(ids, 1) == theirs.prompt(ids, 1) != ids
    assert about_appended(tokenizer) is None
    assert "</s>" in about_appended(other)


def test_an_end_token_that_the_text_itself_ends_with_stays(tokenizer):
    text = f"Who wrote it?{tokenizer.eos_token}"
    assert text_ids(appending(tokenizer), [text]) == [tuple(tokenizer(text)["input_ids"])]


@pytest.mark.parametrize("arch", ["llama", "mistral"])
def test_free_answers_and_statistics_are_those_of_the_same_tokenizer_without_the_end(arch):
    lm = tiny_model(arch)
    other = replace(lm, tokenizer=appending(lm.tokenizer))
    prompts = [prompt for prompt, _ in PAIRS]
    answers = [generate(each, prompts, max_new_tokens=[6] * 4) for each in (lm, other)]
    assert answers[0] == answers[1]
    assert any(answers[0])
    assert tokenize(other, prompts) == tokenize(lm, prompts)


def test_a_mark_of_the_beginning_is_not_seen_where_only_an_end_is_appended():
    tokenizer = appending(toy_tokenizer("bpe"))
    tokenizer.eos_token = tokenizer.bos_token = "</s>"
    tokenizer.chat_template = "</s>{{ messages[0].content }}"
    assert Chat(tokenizer).rendered("Who?") == "</s>Who?"


def test_tokenizers_without_a_token_for_anything_add_nothing():
    assert added_tokens(lambda text, **_: {"input_ids": []}) == Added()


SPACED = [
    ("Who wrote it? ", "Jane Austen"),
    ("Who wrote it?", " Jane Austen"),
    ("Who wrote it?\u3000\t", "\tJane Austen\n"),
    ("Who wrote it?  ", "  Jane Austen  "),
]


@pytest.mark.parametrize("pair", SPACED)
def test_one_blank_stands_between_prompt_and_answer(tokenizer, pair):
    plain = encode(tokenizer, [("Who wrote it?", "Jane Austen")])
    assert encode(tokenizer, [pair]) == plain
    assert prompt_ids(tokenizer, [pair[0]]) == [plain[0].prompt_ids]


def test_a_blank_is_moved_into_an_answer_that_would_have_no_gap(tokenizer):
    """As behind a chat template that ends in one."""
    assert seam("[INST] Who? [/INST] ", "Lyon", "") == ("[INST] Who? [/INST]", " Lyon")
    assert seam("<|assistant|>\n", "Lyon", "") == ("<|assistant|>\n", "Lyon")
    assert seam("The towns are:\n", "Lyon") == ("The towns are:\n", " Lyon")
    assert seam(" ", "Lyon") == (" ", " Lyon")
    (spaced,) = encode(tokenizer, [("Who wrote it? ", "Paris")], gap="")
    assert spaced == encode(tokenizer, [("Who wrote it?", "Paris")])[0]


def test_free_answers_begin_where_teacher_forcing_does():
    lm = tiny_model("llama")
    plain, spaced = generate(lm, ["Who wrote it?", "Who wrote it? "], max_new_tokens=[6, 6])
    assert plain == spaced != ""


def test_a_blank_at_the_end_moves_no_subject(tokenizer):
    text = "The tower of Paris"
    assert locate(tokenizer, [Lookup(f"{text} ", 13, 18)]) == locate(
        tokenizer, [Lookup(text, 13, 18)]
    )


def test_a_fact_in_front_of_a_question_has_one_blank_too(tokenizer):
    question = prompt_ids(tokenizer, ["The tower is in"])[0]
    told = [
        Recall(Recalled((pair,), k=1, threshold=0.0), tokenizer, None).prompt(question, 1)
        for pair in (("The tower is in", "Paris"), ("The tower is in ", " Paris\n"))
    ]
    assert told[0] == told[1] != question
