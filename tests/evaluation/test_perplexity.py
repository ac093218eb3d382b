"""Perplexity against one passage at a time through plain transformers."""

from __future__ import annotations

import math

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.evaluation.perplexity import COLLAPSED, perplexity, read_text
from ultraedit.host.host import ModelHost

PASSAGES = [
    "Ada wrote the first program for a machine that was never built.",
    "The Danube",
    "Danielle Darrieux was born in Bordeaux and sang in French and in English all her life.",
    "One",
]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(PASSAGES), encoding="utf-8")
    return str(path)


@torch.no_grad()
def slow(host):
    """Every passage by itself, the model's own loss."""
    lm, total, tokens = host.language_model, 0.0, 0
    for passage in PASSAGES:
        ids = lm.tokenizer(passage, return_tensors="pt")["input_ids"]
        if ids.shape[1] > 1:
            loss = lm.model(input_ids=ids, labels=ids).loss
            total += float(loss) * (ids.shape[1] - 1)
            tokens += ids.shape[1] - 1
    return math.exp(total / tokens)


@pytest.mark.parametrize("trunk", [False, True])
def test_it_is_that_of_the_models_own_loss(corpus, trunk):
    host = ModelHost(tiny_model("llama"), ["layers.1.mlp.down_proj"])
    if trunk:
        host.use_trunk()
    assert perplexity(host, read_text(host, corpus)) == pytest.approx(slow(host), rel=1e-5)


def test_a_text_is_drawn_the_same_way_each_time_and_none_is_none(corpus):
    host = ModelHost(tiny_model("llama"), None)
    two = read_text(host, corpus, 2)
    assert len(two) == 2
    assert two == read_text(host, corpus, 2)
    assert perplexity(host, read_text(host, None)) is None


def test_a_model_that_has_collapsed_gets_a_number_that_json_holds(corpus):
    host = ModelHost(tiny_model("llama"), None)
    with torch.no_grad():
        host.language_model.model.get_output_embeddings().weight.fill_(math.nan)
    assert perplexity(host, read_text(host, corpus)) == pytest.approx(COLLAPSED)
