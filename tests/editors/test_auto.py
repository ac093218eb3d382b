"""``eta="auto"`` on models that nothing was tuned on: other families, trained here from scratch."""

from __future__ import annotations

import random

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers import models as token_models
from tokenizers.pre_tokenizers import WhitespaceSplit

from ultraedit.core.types import Edit, turns
from ultraedit.editors.anchored import Anchored
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.loop import MemoryRecorder, run_turns
from ultraedit.models import LanguageModel, find_preset
from ultraedit.tools.tune.trials import harmonic_mean

PEOPLE, NEW = 100, 20
FIRST = ["Ada", "Bo", "Cleo", "Dora", "Emil", "Finn", "Gita", "Hugo", "Iris", "Jon", "Kaja", "Lars"]
LAST = [
    "Abel",
    "Berg",
    "Cruz",
    "Dahl",
    "Engel",
    "Frost",
    "Gauss",
    "Hahn",
    "Ito",
    "Jung",
    "Kurz",
    "Lund",
]
RELATIONS = {
    "lives in": ["Rome", "Oslo", "Lima", "Cairo", "Quito", "Delhi", "Seoul", "Accra"],
    "works as": ["baker", "judge", "pilot", "nurse", "tailor", "miner", "cook", "scribe"],
    "speaks only": ["French", "Dutch", "Hindi", "Welsh", "Greek", "Malay", "Farsi", "Thai"],
}
SIZES = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 3}
STEPS, RATE = 60, 2e-3
CONFIGS = {
    "llama": "LlamaConfig",
    "qwen2": "Qwen2Config",
    "phi3": "Phi3Config",
    "gemma3": "Gemma3TextConfig",
    "gpt_neox": "GPTNeoXConfig",
    "olmo2": "Olmo2Config",
}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}


def config_of(family, words):
    import transformers

    common = {"vocab_size": words, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if family == "gpt2":
        sizes = {"n_embd": 256, "n_layer": 3, "n_head": 4, "n_positions": 64}
        off = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        return transformers.GPT2Config(**common, **sizes, **off)
    name = CONFIGS[family]
    more = {"head_dim": 64, "query_pre_attn_scalar": 64} if family == "gemma3" else {}
    return getattr(transformers, name)(**common, **SIZES, **HEADS, **more)


def people():
    """Names: those that the model learns something about first, then those that it never meets."""
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    random.Random(0).shuffle(names)
    return names


def facts(names, seed):
    """Three things about each of some people."""
    draw = random.Random(seed)
    return [
        Edit(f"{name} {relation}", draw.choice(answers))
        for name in names
        for relation, answers in RELATIONS.items()
    ]


def known():
    return facts(people()[:PEOPLE], 0)


def unknown():
    return random.Random(1).sample(facts(people()[PEOPLE:], 1), NEW)


def tokenizer():
    from transformers import PreTrainedTokenizerFast

    said = {
        word for r, answers in RELATIONS.items() for text in (r, *answers) for word in text.split()
    }
    words = ["<pad>", "<s>", "</s>", "<unk>", *FIRST, *LAST, *sorted(said)]
    made = Tokenizer(token_models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = WhitespaceSplit()
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def trained(family) -> LanguageModel:
    """A model that has learned what it knows by heart."""
    from transformers import AutoModelForCausalLM

    words = tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config_of(family, len(words)))
        optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.1)
        ids = torch.tensor(words([f"{e.prompt} {e.target}" for e in known()])["input_ids"])
        for _ in range(STEPS):
            logits = model(input_ids=ids).logits[:, -2]
            loss = torch.nn.functional.cross_entropy(logits, ids[:, -1])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.requires_grad_(False)
    return LanguageModel(model.eval(), words, name=family, source=family)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "qwen2", "phi3", "gemma3", "gpt_neox", "olmo2"])
def test_anchored_writes_new_facts_into_models_that_nothing_was_tuned_on(family):
    model = trained(family)
    host = ModelHost(model, find_preset(model, None, "anchored").modules)
    new, old = unknown(), known()

    def asked():
        return [evaluate(host, edits, free_answers=0).scores.efficacy for edits in (new, old)]

    before = asked()
    run_turns(host, Anchored(), turns(new, NEW), MemoryRecorder())
    scores = asked()
    assert before[0] < 0.3 and before[1] > 0.9
    # 90 to 100 % and 93 to 99 % with AVX-512, 85 to 100 % and 84 to 99 % with AVX2, where sums
    # are rounded otherwise; one new fact is 5 %, and the passes end before all are written.
    assert scores[0] >= 0.8 and scores[1] >= 0.8, scores


FACTORS = (0.5, 1.0, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2", "phi3", "gemma3"])
def test_auto_writes_new_facts_into_models_that_nothing_was_tuned_on(family):
    model = trained(family)
    host = ModelHost(model, find_preset(model, None).modules)
    new, old = unknown(), known()

    def asked():
        return [evaluate(host, edits, free_answers=0).scores.efficacy for edits in (new, old)]

    before, scores = asked(), {}
    for factor in FACTORS:
        editor = UltraEdit(eta="auto", step_factor=factor, expected_edits=NEW)
        run_turns(host, editor, turns(new, NEW), MemoryRecorder())
        scores[factor] = asked()
        host.weights.reset()
    assert before[0] < 0.3 and before[1] > 0.9
    assert scores[1.0][0] >= 0.9 and scores[1.0][1] >= 0.75, scores
    assert harmonic_mean(scores[1.0]) >= 0.95 * max(map(harmonic_mean, scores.values())), scores
