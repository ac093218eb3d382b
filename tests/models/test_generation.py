"""Free answers in batches are those that each prompt would get alone, step by step."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tests.tiny import tiny_model
from ultraedit.core.errors import DataError
from ultraedit.models import generation
from ultraedit.models.generation import generate

PROMPTS = [
    "Who was the first president of the United States?",
    "The Danube",
    "In which city is the Eiffel Tower? The tower stands in",
    "What?",
    "Ada Lovelace wrote the first program in 1843 for the Analytical Engine of",
]
LIMITS = [9, 14, 3, 14, 1]


@torch.no_grad()
def choices(lm, prompt, limit, end):
    """The tokens that greedy decoding adds: no batch, no padding, no cache."""
    ids = lm.tokenizer(prompt)["input_ids"]
    added = []
    while len(added) < limit and len(ids) + len(added) < lm.context_length:
        logits = lm.model(input_ids=torch.tensor([ids + added]), use_cache=False).logits
        added.append(int(logits[0, -1].argmax()))
        text = lm.tokenizer.decode(added, skip_special_tokens=True)
        if added[-1] == end or "\n" in text.lstrip():
            break
    return added


def alone(lm, prompt, limit, end=None):
    text = lm.tokenizer.decode(choices(lm, prompt, limit, end), skip_special_tokens=True)
    return next(iter(text.strip().splitlines()), "").strip()


def pre_hooks(lm):
    return [hook for module in lm.model.modules() for hook in module._forward_pre_hooks.values()]


def say_in_the_middle(lm, token):
    """Make the model say `token` in the middle of its answer to the last prompt.

    Returns:
        What it says before, and in how many tokens.
    """
    ids = choices(lm, PROMPTS[-1], 14, None)
    place = next(n for n in range(2, len(ids)) if ids[n] not in ids[:n])
    assert token not in ids
    head = lm.model.get_output_embeddings().weight.data
    head[[ids[place], token]] = head[[token, ids[place]]]
    return lm.tokenizer.decode(ids[:place]).strip(), place


@pytest.mark.parametrize(
    "arch", ["gpt2", "gptj", "llama", "mistral", "phi3", "gemma3", "gemma3-multimodal"]
)
def test_a_batch_gets_the_answers_that_each_prompt_gets_alone(arch, monkeypatch):
    lm = tiny_model(arch)
    end = lm.model.generation_config.eos_token_id
    expected = [alone(lm, *case, end) for case in zip(PROMPTS, LIMITS, strict=True)]
    assert len(set(expected)) > 3
    assert generate(lm, PROMPTS, max_new_tokens=LIMITS) == expected
    monkeypatch.setattr(generation, "MAX_BATCH_TOKENS", 1)
    assert generate(lm, PROMPTS, max_new_tokens=LIMITS) == expected


def test_answers_come_in_the_order_of_the_prompts_and_are_all_counted():
    lm = tiny_model("llama")
    counted = []

    class Counter:
        def stage(self, name, total=None):
            raise AssertionError("not its own stage")

        def advance(self, steps=1):
            counted.append(steps)

    forward = generate(lm, PROMPTS, max_new_tokens=LIMITS, observer=Counter())
    backward = generate(lm, PROMPTS[::-1], max_new_tokens=LIMITS[::-1])
    assert forward == backward[::-1]
    assert sum(counted) == len(PROMPTS)
    assert generate(lm, [], max_new_tokens=[]) == []


def test_an_answer_ends_with_its_line():
    lm = tiny_model("llama")
    (newline,) = lm.tokenizer("\n")["input_ids"]
    said, _ = say_in_the_middle(lm, newline)
    assert said
    assert generate(lm, PROMPTS[-1:], max_new_tokens=[14]) == [said]
    assert generate(lm, PROMPTS[-2:], max_new_tokens=[14, 14])[1] == said


def test_an_answer_of_several_lines_ends_with_the_last_of_them():
    lm = tiny_model("llama")
    (newline,) = lm.tokenizer("\n")["input_ids"]
    limit = 40
    said, _ = say_in_the_middle(lm, newline)
    ids = torch.tensor([lm.tokenizer(PROMPTS[-1])["input_ids"]])
    with torch.no_grad():
        whole = lm.model.generate(ids, max_new_tokens=limit, do_sample=False, eos_token_id=None)
    text = lm.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
    parts = [line.strip() for line in text.split("\n") if line.strip()]
    assert len(parts) >= 2
    lm.model.generation_config.eos_token_id = None
    lm = replace(lm, tokenizer=copy.deepcopy(lm.tokenizer))
    lm.tokenizer.eos_token = None
    one, two = generate(lm, PROMPTS[-1:] * 2, max_new_tokens=[limit] * 2, lines=[1, 2])
    assert one == said
    assert two == "\n".join(parts[:2])


def test_no_token_is_computed_after_the_line():
    lm = tiny_model("llama")
    (newline,) = lm.tokenizer("\n")["input_ids"]
    _, place = say_in_the_middle(lm, newline)
    steps = []
    with torch.no_grad():
        handle = lm.model.register_forward_hook(lambda *_: steps.append(1))
        generate(lm, PROMPTS[-1:], max_new_tokens=[14])
        handle.remove()
    assert len(steps) == place + 1


def test_an_answer_ends_with_the_models_end_token():
    lm = tiny_model("llama")
    said, _ = say_in_the_middle(lm, lm.tokenizer.eos_token_id)
    assert said
    assert generate(lm, PROMPTS[-1:], max_new_tokens=[14]) == [said]


def test_limits_hold_for_a_model_without_an_end_token():
    lm = tiny_model("llama")
    tokenizer = copy.deepcopy(lm.tokenizer)
    tokenizer.eos_token = tokenizer.pad_token = None
    lm.model.generation_config.eos_token_id = None
    lm = replace(lm, tokenizer=tokenizer)
    expected = [alone(lm, *case) for case in zip(PROMPTS, LIMITS, strict=True)]
    assert generate(lm, PROMPTS, max_new_tokens=LIMITS) == expected


def test_the_models_own_generation_settings_do_not_bend_greedy_decoding():
    lm = tiny_model("llama")
    expected = generate(lm, PROMPTS, max_new_tokens=LIMITS)
    own = lm.model.generation_config
    own.repetition_penalty, own.no_repeat_ngram_size, own.max_length = 5.0, 1, 4
    own.do_sample, own.temperature, own.top_k = True, 0.6, 10
    kept = own.to_dict()
    assert generate(lm, PROMPTS, max_new_tokens=LIMITS) == expected
    assert lm.model.generation_config is own
    assert own.to_dict() == kept


@pytest.mark.parametrize("arch", ["gpt2", "gptj", "llama"])
def test_a_prompt_that_nearly_fills_the_context_does_not_cut_its_neighbours_short(arch):
    lm = tiny_model(arch)
    long = PROMPTS[0]
    while len(lm.tokenizer(long)["input_ids"]) < lm.context_length - 12:
        long += " it"
    prompts, limits = [long, PROMPTS[1], PROMPTS[3]], [20, 20, 18]
    end = lm.model.generation_config.eos_token_id
    expected = [alone(lm, *case, end) for case in zip(prompts, limits, strict=True)]
    assert generate(lm, prompts, max_new_tokens=limits) == expected


def test_no_hook_stays_on_the_model_even_when_it_fails(monkeypatch):
    lm = tiny_model("llama")
    generate(lm, PROMPTS, max_new_tokens=LIMITS)
    assert pre_hooks(lm) == []

    def fail(*args, **kwargs):
        assert pre_hooks(lm)
        raise RuntimeError("no memory")

    own = lm.model.generation_config
    monkeypatch.setattr(lm.model, "generate", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        generate(lm, PROMPTS, max_new_tokens=LIMITS)
    assert pre_hooks(lm) == []
    assert lm.model.generation_config is own


def test_a_prompt_that_cannot_be_read_is_refused():
    lm = tiny_model("llama")
    with pytest.raises(DataError, match=r"tokens long, but the model reads at most 256"):
        generate(lm, ["the " * 300], max_new_tokens=[4])
    with pytest.raises(DataError, match=r"finds no token in the prompt ''"):
        generate(lm, [""], max_new_tokens=[4])
