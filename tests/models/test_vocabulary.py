"""A tokenizer with more tokens than the model has embeddings ends in a sentence."""

from __future__ import annotations

import pytest
from torch import nn

from tests.tiny import tiny_model
from ultraedit.core.errors import DataError
from ultraedit.host.host import ModelHost

KNOWN, UNKNOWN = "a", "The capital of France"


def shortened(rows: int = 100):
    """A model with embeddings for the first tokens of its tokenizer alone."""
    language_model = tiny_model("llama")
    model = language_model.model
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        layer.weight = nn.Parameter(layer.weight[:rows].clone(), requires_grad=False)
    model.config.vocab_size = rows
    return language_model


@pytest.fixture
def model():
    return shortened()


MESSAGE = r"The tokenizer writes '.+' as token \d+, but .* has embeddings for 100 tokens\."


def test_facts_with_such_tokens_are_refused(model):
    host = ModelHost(model, ["layers.[0-1].mlp.down_proj"])
    assert max(host.language_model.tokenizer(UNKNOWN)["input_ids"]) >= 100
    with pytest.raises(DataError, match=MESSAGE):
        host.encode([("Who?", UNKNOWN)])
    with pytest.raises(DataError, match=MESSAGE):
        host.encode([(UNKNOWN, "who")])


def test_questions_with_such_tokens_are_refused(model):
    with pytest.raises(DataError, match=MESSAGE):
        ModelHost(model, None).answer([UNKNOWN], [2])


def test_what_the_model_knows_is_asked_also_with_padding_that_it_does_not_know(model):
    model.tokenizer.pad_token_id = 300
    host = ModelHost(model, None)
    known = [KNOWN, KNOWN + KNOWN + KNOWN]
    assert max(max(row) for row in model.tokenizer(known)["input_ids"]) < 100
    padded = host.answer(known, [3, 3])
    assert padded == [host.answer([prompt], [3])[0] for prompt in known]


def test_what_a_test_does_to_its_tokenizer_is_not_seen_by_others():
    """A padding token that was left behind was taken out of every answer of later tests."""
    changed = tiny_model("llama").tokenizer
    changed.pad_token_id = 300
    assert tiny_model("llama").tokenizer.pad_token == "<pad>"
    assert "ĠB" not in tiny_model("llama").tokenizer.all_special_tokens
