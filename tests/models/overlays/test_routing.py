"""Routing: which weight a sequence gets, alone, in a batch, and while it is continued."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from tests.tiny import tiny_model
from ultraedit import load_wise
from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.linalg import activation_distances
from ultraedit.core.types import Additive, Memory, Routed
from ultraedit.host.host import ModelHost
from ultraedit.models import describe_modules, fingerprint, load, save
from ultraedit.models.generation import generate
from ultraedit.models.overlays.routing import LONG, of_sequences, router_of

PATH = "model.layers.1.mlp.down_proj"
PROMPTS = (
    "Who was the first president of the United States?",
    "What is the native language of Danielle Darrieux?",
    "Which river flows through Vienna, Budapest and Belgrade?",
    "In which city is the Eiffel Tower?",
    "What company makes the iPhone?",
    "Apple",
)
LIMITS = [6] * len(PROMPTS)


def host_of(arch="llama"):
    return ModelHost(tiny_model(arch, layers=3), [PATH])


def memory(seed, size=0.4):
    drawn = torch.Generator().manual_seed(seed)
    return size * torch.randn(48, 32, generator=drawn)


def distance_of(host, prompts, change, answer="x"):
    """Distances of prompts as they are defined, one sequence at a time."""
    found = []
    for prompt in prompts:
        held = host.hold(PATH, [(prompt, answer)])
        inputs = held.inputs[held.asked]
        before = inputs @ host.weight(PATH)
        after = inputs @ (host.weight(PATH) + change)
        apart = torch.nn.functional.silu(after) - torch.nn.functional.silu(before)
        found.append(float(apart.norm(dim=-1).mean()))
    return torch.tensor(found)


@pytest.fixture
def split():
    """A host, and a patch that gives the memory to about half of the prompts."""
    host = host_of()
    change = memory(0)
    found = distance_of(host, PROMPTS, change)
    threshold = float(found.sort().values[2:4].mean())
    return host, Routed(PATH, (Memory(change, threshold),)), (found >= threshold).long()


def encoded(host, prompts, answer="nobody knows it"):
    return host.encode([(prompt, answer) for prompt in prompts])


def test_a_mixed_batch_is_routed_as_each_of_its_sequences_alone(split):
    host, patch, expected = split
    assert 0 < int(expected.sum()) < len(PROMPTS)
    items = encoded(host, PROMPTS)
    with host.patched(patch):
        router = router_of(host.language_model.model)
        alone, chosen = [], []
        for item in items:
            alone += host.predict([item])
            chosen.append(int(router.chosen))
        together = host.predict(items)
    assert chosen == expected.tolist()
    assert together == alone


def test_a_memory_that_answers_is_the_edited_weight_and_the_others_are_the_unedited_one(split):
    host, patch, expected = split
    items = encoded(host, PROMPTS)
    plain = host.predict(items)
    with host.weights.applied(Additive({PATH: patch.memories[0].change})):
        edited = host.predict(items)
    with host.patched(patch):
        routed = host.predict(items)
    assert plain != edited
    for index, choice in enumerate(expected.tolist()):
        assert routed[index] == (edited if choice else plain)[index]


def test_the_choice_is_the_prompts_and_not_the_answers(split):
    host, patch, expected = split
    pairs = [(p, "words that say a lot more than the prompt did, on and on") for p in PROMPTS]
    with host.patched(patch):
        router = router_of(host.language_model.model)
        for (prompt, answer), choice in zip(pairs, expected.tolist(), strict=True):
            host.predict(host.encode([(prompt, answer)]))
            assert int(router.chosen) == choice, prompt


def test_free_answers_of_a_mixed_batch_are_those_of_each_prompt_alone(split):
    host, patch, expected = split
    plain = host.answer(PROMPTS, LIMITS)
    with host.weights.applied(Additive({PATH: patch.memories[0].change})):
        edited = host.answer(PROMPTS, LIMITS)
    assert plain != edited
    with host.patched(patch):
        together = host.answer(PROMPTS, LIMITS)
        alone = [host.answer([prompt], [6])[0] for prompt in PROMPTS]
    wanted = [(edited if c else plain)[i] for i, c in enumerate(expected.tolist())]
    assert together == alone == wanted


def test_a_choice_is_held_while_a_sequence_is_continued_with_a_cache(split):
    host, patch, expected = split
    lm = host.language_model
    ids = [lm.tokenizer(prompt, return_tensors="pt")["input_ids"] for prompt in PROMPTS]
    with host.patched(patch):
        router = router_of(lm.model)
        caches = []
        for each in ids:
            caches.append(lm.model(each, past_key_values=DynamicCache(config=lm.model.config)))
        # In another order, so that only the cache can tell which sequence goes on.
        for index in (5, 0, 3, 1, 4, 2):
            lm.model(torch.tensor([[7]]), past_key_values=caches[index].past_key_values)
            assert int(router.chosen) == int(expected[index])


def test_the_official_protocol_decides_once_for_a_whole_call(split):
    host, patch, _ = split
    with host.patched(Routed(PATH, patch.memories, "batch")):
        router = router_of(host.language_model.model)
        host.predict(encoded(host, PROMPTS))
        assert len(set(router.chosen.tolist())) == 1
        chosen = []
        for item in encoded(host, PROMPTS):
            host.predict([item])
            chosen.append(int(router.chosen))
    assert len(set(chosen)) == 2


def test_of_several_memories_the_one_that_moves_a_sequence_most_answers():
    host = host_of()
    changes = [memory(seed, size) for seed, size in ((1, 0.2), (2, 0.4), (3, 0.3))]
    found = torch.stack([distance_of(host, PROMPTS, change) for change in changes])
    patch = Routed(PATH, tuple(Memory(change, 0.0) for change in changes))
    with host.patched(patch):
        host.predict(encoded(host, PROMPTS))
        router = router_of(host.language_model.model)
        order = sorted(range(len(PROMPTS)), key=lambda i: -len(encoded(host, PROMPTS)[i]))
        assert router.chosen.tolist() == [int(found[:, i].argmax()) + 1 for i in order]
    shut = Routed(PATH, tuple(Memory(change, float("inf")) for change in changes))
    with host.patched(shut):
        host.predict(encoded(host, PROMPTS))
        assert not router_of(host.language_model.model).chosen.any()


def test_a_long_sequence_counts_by_its_largest_distance_and_a_short_one_by_its_mean():
    values = torch.arange(LONG + 5.0).repeat(2, 1)
    counted = torch.ones_like(values, dtype=torch.bool)
    counted[1, 4:] = False
    assert of_sequences(values, counted).tolist() == [LONG + 4.0, 1.5]


def test_a_distance_is_taken_behind_the_nonlinearity():
    before, after = torch.tensor([[-3.0, 1.0]]), torch.tensor([[-5.0, 4.0]])
    assert activation_distances(before, after, torch.relu).tolist() == [3.0]


def test_the_model_is_as_it_was_once_memories_are_taken_off(split):
    host, patch, _ = split
    host.weights.apply(Additive({PATH: memory(5)}))
    model = host.language_model.model
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    named = fingerprint(model)
    with host.patched(patch):
        assert fingerprint(model) != named
    assert router_of(model) is None
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert fingerprint(model) == named
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma3-multimodal"])
def test_a_saved_model_with_memories_answers_alike_wherever_it_is_loaded(arch, tmp_path):
    lm = tiny_model(arch, layers=3)
    kind = next(g for g in describe_modules(lm.model) if "mlp" in g.kind and g.d_out == 32)
    host = ModelHost(lm, [f"layers.[1].{kind.kind}"])
    (path,) = host.modules
    drawn = torch.Generator().manual_seed(0)
    change = 0.4 * torch.randn(tuple(host.modules[path]), generator=drawn)
    everywhere = Routed(path, (Memory(change, float("inf")), Memory(change, 1e-3)))
    with host.patched(everywhere):
        seen = host.answer(PROMPTS, LIMITS)
        named = fingerprint(lm.model)
        save(lm, tmp_path / "edited")
        save(lm, tmp_path / "edited")  # in the place of the older one
    loaded = load(str(tmp_path / "edited"), dtype="float32", device="cpu")
    assert generate(loaded, PROMPTS, max_new_tokens=LIMITS) == seen
    assert fingerprint(loaded.model) == named
    model = load_wise(tmp_path / "edited")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "edited" / "base")
    ids = tokenizer(PROMPTS[0], return_tensors="pt")
    added = model.generate(**ids, max_new_tokens=6, do_sample=False)
    text = tokenizer.decode(added[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    assert text.strip().splitlines()[0].strip() == seen[0]
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "edited" / "base")
    assert fingerprint(plain) == fingerprint(lm.model)


@pytest.fixture
def folder(split, tmp_path):
    host, patch, _ = split
    with host.patched(patch):
        save(host.language_model, tmp_path / "edited")
    return tmp_path / "edited"


def test_a_model_with_memories_cannot_be_edited_as_if_it_had_none(folder):
    with pytest.raises(ConfigError, match="are in memories beside its weights"):
        ModelHost(load(str(folder)), [PATH])


def test_a_folder_that_is_damaged_or_of_something_else_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"it has no wise\.json"):
        load_wise(tmp_path)
    text = (folder / "wise.json").read_text()
    (folder / "wise.json").write_text(text.replace('"format": 1', '"format": 9'))
    with pytest.raises(ConfigError, match="is of format 9; this version reads format 1"):
        load(str(folder))
    (folder / "wise.json").write_text(text)
    (folder / "memories.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(StorageError, match="Cannot read"):
        load(str(folder))
