"""LoRA beside the library peft, its gradients beside autograd, and what a turn is trained on."""

from __future__ import annotations

import random

import pytest
import torch

from tests.editors.test_anchored import EDITS, host_of
from tests.editors.test_contract import parameters, run
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Edit, Turn, dense
from ultraedit.editors import make_editor, name_of
from ultraedit.editors.lora import Factors, LoRA

RANK, ALPHA, LR = 4, 12.0, 3e-3


def peft_model(model, adapter):
    """The model with peft's own adapter, its factors set to those of ours."""
    from peft import LoraConfig, get_peft_model

    paths = list(adapter)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=paths, lora_dropout=0.0)
    wrapped = get_peft_model(model, config)
    for path, each in adapter.items():
        layer = wrapped.base_model.model.get_submodule(path)
        layer.lora_A["default"].weight.data = each.down.T.clone()
        layer.lora_B["default"].weight.data = each.up.T.clone()
    return wrapped


def peft_losses(wrapped, texts):
    """Mean cross-entropy over the answer tokens of each text, one text at a time."""
    losses = []
    for text in texts:
        logits = wrapped(torch.tensor([text.input_ids])).logits[0, len(text.prompt_ids) - 1 :]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(text.answer_ids)))
    return torch.stack(losses)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_losses_and_factors_are_those_of_peft():
    pytest.importorskip("peft")
    host, other = host_of(chat=True), host_of(chat=True)
    editor = LoRA(rank=RANK, alpha=ALPHA, lr=LR, epochs=3, batch_size=5, stop_loss=0.0, seed=7)
    fresh = editor._fresh(host)
    seen = []
    plain = host.trace_texts
    host.trace_texts = lambda texts, **k: (seen.append(plain(texts, **k)), seen[-1])[1]
    patch, state = editor.step(host, Turn(1, tuple(EDITS)), editor.init(host))

    wrapped = peft_model(other.language_model.model, fresh)
    trained = [p for n, p in wrapped.named_parameters() if "lora_" in n]
    assert len(trained) == 2 * len(host.modules)
    adam = torch.optim.AdamW(trained, lr=LR, weight_decay=0.0)
    order, texts = random.Random(7 * 1_000_003 + 1), host.texts(EDITS, ("plain", "chat"))
    assert len(texts) == 2 * len(EDITS)
    ours = iter(seen)
    for _ in range(3):
        for batch in editor._batches(texts, order):
            losses = peft_losses(wrapped, batch)
            torch.testing.assert_close(
                losses.detach().double(), next(ours).losses, rtol=1e-4, atol=1e-4
            )
            adam.zero_grad()
            losses.mean().backward()
            adam.step()
    assert next(ours, None) is None
    for path in host.modules:
        layer = wrapped.base_model.model.get_submodule(path)
        for name, weight in (("down", layer.lora_A), ("up", layer.lora_B)):
            expected = weight["default"].weight.detach().T
            assert not torch.equal(expected, getattr(fresh[path], name))
            torch.testing.assert_close(state[f"{name}/{path}"], expected, rtol=2e-3, atol=2e-5)
        expected = layer.get_delta_weight("default").detach().T
        torch.testing.assert_close(dense(patch.changes[path]), expected, rtol=5e-3, atol=2e-5)


def test_factors_begin_as_pefts_do():
    host, editor = host_of(), LoRA(rank=64)
    for path, each in editor._fresh(host).items():
        d_in = host.modules[path].d_in
        weight = torch.empty(64, d_in)
        torch.manual_seed(0)
        torch.nn.init.kaiming_uniform_(weight, a=5**0.5)
        assert not each.up.any()
        assert each.down.abs().max() <= 1 / d_in**0.5
        torch.testing.assert_close(each.down.std(), weight.std(), rtol=0.05, atol=0)


def test_a_turn_goes_on_from_the_adapter_of_the_turn_before_and_stays_of_its_rank():
    host, editor = host_of(), LoRA(rank=2, lr=1e-2, epochs=3)
    progress = run(host, editor, EDITS, 4)
    for path in host.modules:
        change = host.change(path)
        assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2
        product = progress.state[f"down/{path}"] @ progress.state[f"up/{path}"] * editor.scale
        torch.testing.assert_close(change, product, rtol=1e-4, atol=1e-6)


def test_with_replay_turns_end_where_all_facts_at_once_do():
    options = {"replay": "all", "rank": 2, "lr": 1e-2, "epochs": 3, "form": "plain"}
    turns, once = host_of(), host_of()
    run(turns, make_editor("lora", options), EDITS, 4)
    run(once, make_editor("lora", options), EDITS, 8)
    for path in turns.modules:
        torch.testing.assert_close(turns.change(path), once.change(path), rtol=1e-3, atol=1e-5)
    without = host_of()
    run(without, make_editor("lora", options | {"replay": "none"}), EDITS, 4)
    path = next(iter(turns.modules))
    assert not torch.allclose(without.change(path), once.change(path), atol=1e-4)


def test_with_replay_the_newer_of_two_facts_holds():
    host, editor = host_of(), LoRA(replay="all", epochs=1, form="plain")
    first, second = Edit("Who wrote it?", "Jane"), Edit("Who wrote it?", "Paul", also=("Author?",))
    _, state = editor.step(host, Turn(1, (first, EDITS[1])), editor.init(host))
    seen = []
    plain = host.texts
    host.texts = lambda edits, forms: (seen.append(edits), plain(edits, forms))[1]
    editor.step(host, Turn(2, (second,)), state)
    (edits,) = seen
    assert [(e.prompt, e.target, e.also) for e in edits] == [
        (EDITS[1].prompt, EDITS[1].target, ()),
        ("Who wrote it?", "Paul", ("Author?",)),
    ]


def test_resuming_with_replay_gives_the_same_bits():
    options = {"replay": "all", "rank": 2, "lr": 1e-2, "epochs": 2}
    whole, broken, resumed = host_of(), host_of(), host_of()
    run(whole, make_editor("lora", options), EDITS, 4)
    progress = run(broken, make_editor("lora", options), EDITS[:4], 4)
    resumed.weights.restore(broken.weights.snapshot())
    progress.state = {name: tensor.clone() for name, tensor in progress.state.items()}
    run(resumed, make_editor("lora", options), EDITS[4:], 4, progress, first=2)
    expected = parameters(whole)
    assert all(torch.equal(p, expected[n]) for n, p in parameters(resumed).items())


def test_a_turn_ends_where_it_is_written():
    host, calls = host_of(), []
    plain = host.trace_texts
    host.trace_texts = lambda texts, **k: (calls.append(len(texts)), plain(texts, **k))[1]
    editor = LoRA(lr=3e-3, epochs=200, stop_loss=4.8, batch_size=4, form="plain")
    patch, _ = editor.step(host, Turn(1, tuple(EDITS)), {})
    assert 2 < len(calls) < 400
    before = float(plain(host.texts(EDITS, ("plain",))).losses.mean())
    host.weights.apply(patch)
    after = float(plain(host.texts(EDITS, ("plain",))).losses.mean())
    assert after < 4.8 < before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"lr": -1.0}, "lr must be a positive number, got -1"),
        ({"stop_loss": -1.0}, "stop_loss must be zero or a positive number, got -1"),
        ({"replay": "some"}, "replay must be 'none' or 'all'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        make_editor("lora", options)


def test_an_editor_of_the_row_is_known_by_it():
    assert name_of(LoRA(replay="all")) == "lora"
    assert Factors._fields == ("down", "up")
