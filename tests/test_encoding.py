"""Label and length invariants of the released layout, for two kinds of tokenizer (oracle 12)."""

import pytest
import torch

from tests.tiny import toy_tokenizer
from ultraedit.encoding import collate, encode, longest_first, token_batches
from ultraedit.errors import DataError

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
