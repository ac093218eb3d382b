"""``eta="auto"`` on models that nothing was tuned on: other families, trained here from scratch."""

from __future__ import annotations

import random

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers import models as token_models
from tokenizers.pre_tokenizers import WhitespaceSplit

from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.evaluate import evaluate
from ultraedit.host import ModelHost
from ultraedit.lifelong import MemoryRecorder, run_turns
from ultraedit.models import LanguageModel, find_preset
from ultraedit.types import Edit, turns

PEOPLE, NEW = 100, 30
NAMES = [a + b + c for a in "bdfgklmnprst" for b in ("a", "e", "o") for c in ("ra", "li", "no")]
RELATIONS = {
    "lives in": ["Rome", "Oslo", "Lima", "Cairo", "Quito", "Delhi", "Seoul", "Accra"],
    "works as": ["baker", "judge", "pilot", "nurse", "tailor", "miner", "cook", "scribe"],
    "speaks": ["French", "Dutch", "Hindi", "Welsh", "Greek", "Malay", "Farsi", "Thai"],
}
SIZES = {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 5}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}


def config_of(family, words):
    import transformers

    common = {"vocab_size": words, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if family == "gpt2":
        sizes = {"n_embd": 96, "n_layer": 5, "n_head": 4, "n_positions": 64}
        off = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        return transformers.GPT2Config(**common, **sizes, **off)
    name = {"qwen2": "Qwen2Config", "phi3": "Phi3Config", "gemma3": "Gemma3TextConfig"}[family]
    more = {"head_dim": 24, "query_pre_attn_scalar": 24} if family == "gemma3" else {}
    return getattr(transformers, name)(**common, **SIZES, **HEADS, **more)


def facts(seed=0):
    """Three things about each of some made-up people."""
    draw = random.Random(seed)
    return [
        Edit(f"{name} {relation}", draw.choice(answers))
        for name in NAMES[:PEOPLE]
        for relation, answers in RELATIONS.items()
    ]


def changed():
    """Some of them that are no longer true, and what is."""
    draw = random.Random(1)
    found = []
    for old in draw.sample(facts(), NEW):
        answers = RELATIONS[old.prompt.partition(" ")[2]]
        found.append(Edit(old.prompt, draw.choice([a for a in answers if a != old.target])))
    return found


def tokenizer():
    from transformers import PreTrainedTokenizerFast

    said = {
        word for r, answers in RELATIONS.items() for text in (r, *answers) for word in text.split()
    }
    words = ["<pad>", "<s>", "</s>", "<unk>", *NAMES, *sorted(said)]
    made = Tokenizer(token_models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = WhitespaceSplit()
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def trained(family) -> LanguageModel:
    """A model that has learned its facts by heart."""
    from transformers import AutoModelForCausalLM

    words = tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config_of(family, len(words)))
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
        texts = words([f"{e.prompt} {e.target} </s>" for e in facts()], padding=True)
        ids, mask = (torch.tensor(texts[key]) for key in ("input_ids", "attention_mask"))
        labels = ids.masked_fill(mask == 0, -100)
        for _ in range(150):
            rows = torch.randint(len(ids), (128,))
            loss = model(input_ids=ids[rows], attention_mask=mask[rows], labels=labels[rows]).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.requires_grad_(False)
    return LanguageModel(model.eval(), words, name=family, source=family)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "qwen2", "phi3", "gemma3"])
def test_auto_writes_new_facts_into_models_that_nothing_was_tuned_on(family):
    model = trained(family)
    host = ModelHost(model, find_preset(model, None).modules)
    new = changed()
    before = evaluate(host, new, free_answers=0).scores.efficacy
    editor = UltraEdit(eta="auto", expected_edits=NEW)
    run_turns(host, editor, turns(new, 30), MemoryRecorder())
    after = evaluate(host, new, free_answers=0).scores.efficacy
    assert before < 0.5
    assert after >= 0.9, f"{before:.3f} to {after:.3f}"
