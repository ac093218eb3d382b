"""A model whose lower layers stay in their file against the same model in memory."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit import models
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Edit, Question, Turn, turns
from ultraedit.editors.ultraedit import UltraEdit
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost
from ultraedit.host.trace import signals
from ultraedit.lifelong.loop import MemoryRecorder, run_turns
from ultraedit.models import describe_modules, load, load_streamed, offload, save
from ultraedit.models.fingerprint import fingerprint
from ultraedit.models.modules import decoder_blocks

EDITS = [
    Edit(
        f"What is the native language of {name}?",
        target,
        rephrases=(f"{name} speaks",),
        locality=(Question("Who wrote it?", "Jane Austen"),),
    )
    for name, target in (("Danielle Darrieux", "French"), ("Ada", "Dutch"), ("Thomas", "English"))
]


def saved(tmp_path, arch, dtype=torch.float32):
    """A model folder, and the pattern of the MLP outputs of its two last layers."""
    tiny = tiny_model(arch, layers=4, dtype=dtype)
    kind = next(g for g in describe_modules(tiny.model) if "mlp" in g.kind and g.d_out == 32)
    save(tiny, tmp_path / "model")
    return str(tmp_path / "model"), [f"layers.[2-3].{kind.kind}"]


def absent(model):
    return {name for name, weight in model.named_parameters() if weight.is_meta}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_streamed_model_is_edited_and_scored_like_the_same_in_memory(arch, tmp_path):
    folder, patterns = saved(tmp_path, arch, torch.bfloat16)
    found = []
    for lm in (
        load(folder, dtype="bfloat16", device="cpu"),
        load_streamed(folder, patterns, dtype="bfloat16", device="cpu"),
    ):
        away = absent(lm.model)
        host = ModelHost(lm, patterns)
        host.use_trunk()
        before = evaluate(host, EDITS, free_answers=0)
        run_turns(host, UltraEdit(eta="auto"), turns(EDITS, 2), MemoryRecorder())
        after = evaluate(host, EDITS, reference=before.reference, free_answers=0)
        assert absent(lm.model) == away
        found.append((host.weights.snapshot(), before.scores, after.scores, len(away)))
    (ours, *scores, _), (theirs, *streamed_scores, away) = found
    assert away > 0
    assert scores == streamed_scores
    for path, weight in ours.items():
        assert torch.equal(weight, theirs[path])


def test_each_layer_is_read_once_for_all_batches(tmp_path, monkeypatch):
    monkeypatch.setitem(signals.MAX_TOKENS, "cpu", 16)
    folder, patterns = saved(tmp_path, "llama")
    host = ModelHost(load_streamed(folder, patterns, device="cpu"), patterns)
    blocks = decoder_blocks(host.language_model.model)
    reads = []
    for number, block in enumerate(blocks):
        for _, hook in offload._hooks(block):
            if hook.offload:
                inner = hook.weights_map

                class Counting(dict):
                    def __missing__(self, key, inner=inner, number=number):
                        reads.append(number)
                        return inner[key]

                hook.weights_map = Counting()
    assert host.trunk is not None
    items = host.encode([(edit.prompt, edit.target) for edit in EDITS])
    host.trunk.states(items)
    weights = len(list(blocks[0].parameters()))
    assert reads == [0] * weights + [1] * weights
    host.signals(Turn(1, tuple(EDITS)))
    assert len(reads) > 2 * weights  # once more, to see that the model can be cut
    reads.clear()
    host.signals(Turn(1, tuple(EDITS)))
    host.predict(items)
    assert not reads


def test_a_streamed_model_has_a_trunk_always_so_that_turns_agree(tmp_path):
    folder, patterns = saved(tmp_path, "llama")
    lm = load_streamed(folder, patterns, device="cpu")
    first = ModelHost(lm, patterns).signals(Turn(1, tuple(EDITS)))
    host = ModelHost(lm, patterns)
    host.use_trunk(for_edits=False)
    host.signals(Turn(1, tuple(EDITS)))
    host.drop_trunk()
    again = host.signals(Turn(1, tuple(EDITS)))
    assert host.trunk is not None and host.trunk.computed > 0
    for path, signal in first.items():
        assert torch.equal(signal.grads, again[path].grads)


def test_the_layers_come_from_their_own_file_and_are_let_go(tmp_path):
    folder, patterns = saved(tmp_path, "gpt2")
    lm = load_streamed(folder, patterns, device="cpu")
    block = decoder_blocks(lm.model)[1]
    assert offload.is_offloaded(block)
    assert not offload.is_offloaded(decoder_blocks(lm.model)[2])
    with offload.held(block):
        assert not any(weight.is_meta for weight in block.parameters())
    assert all(weight.is_meta for weight in block.parameters())
    with pytest.raises(RuntimeError), offload.held(block):
        raise RuntimeError
    assert all(weight.is_meta for weight in block.parameters())


@pytest.mark.parametrize("arch", ["llama", "gemma3-multimodal"])
def test_a_streamed_model_answers_is_identified_and_is_saved_whole(arch, tmp_path):
    folder, patterns = saved(tmp_path, arch)
    whole = load(folder, dtype="float32", device="cpu")
    lm = load_streamed(folder, patterns, dtype="float32", device="cpu")
    assert fingerprint(lm.model) == fingerprint(whole.model)
    prompt = EDITS[0].prompt
    assert ModelHost(lm, patterns).answer([prompt], [5]) == ModelHost(whole, None).answer(
        [prompt], [5]
    )
    save(lm, tmp_path / "again")
    again = load(str(tmp_path / "again"), dtype="float32", device="cpu")
    for name, weight in whole.model.named_parameters():
        assert torch.equal(weight, again.model.get_parameter(name))


def test_nothing_below_the_edited_layers_is_nothing_to_stream(tmp_path):
    folder, _ = saved(tmp_path, "llama")
    for pattern in ("layers.0.mlp.down_proj", "lm_head"):
        with pytest.raises(ConfigError, match=r"no layer below .* to stream"):
            load_streamed(folder, [pattern], device="cpu")


def test_a_module_that_stayed_on_the_disk_is_not_edited(tmp_path):
    folder, patterns = saved(tmp_path, "llama")
    lm = load_streamed(folder, patterns, device="cpu")
    with pytest.raises(ConfigError, match=r"layers\.1\.mlp\.down_proj is to be edited"):
        ModelHost(lm, ["layers.1.mlp.down_proj"])


def test_a_model_that_accelerate_has_placed_is_edited_as_any_other(tmp_path):
    folder, patterns = saved(tmp_path, "qwen2")
    found = []
    for options in ({"device_map": "auto"}, {"device": "cpu"}):
        host = ModelHost(load(folder, dtype="float32", **options), patterns)
        host.use_trunk()
        found.append(host.signals(Turn(1, tuple(EDITS))))
    for path, signal in found[0].items():
        torch.testing.assert_close(signal.grads.cpu(), found[1][path].grads)


def test_the_package_offers_it():
    assert models.load_streamed is load_streamed
