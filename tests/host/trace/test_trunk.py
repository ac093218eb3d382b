"""The frozen trunk against the plain path, for every architecture, and what it keeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.encoding import Encoded, collate
from ultraedit.core.types import Edit, Turn
from ultraedit.host.host import ModelHost
from ultraedit.host.trace import Blocks, signals, supervised_logits
from ultraedit.host.trace import hidden_states as store_module
from ultraedit.host.trace import trunk as trunk_module
from ultraedit.host.trace.hidden_states import StateStore
from ultraedit.models import describe_modules
from ultraedit.models.modules import decoder_blocks

EDITS = (
    Edit("What is the native language of Danielle Darrieux?", "French"),
    Edit("Who wrote it?", "Jane Austen"),
    Edit("Where?", "Paris, the capital"),
    Edit("Which river flows through Vienna and Budapest?", "Danube"),
    Edit("Where is it?", "Paris, the capital"),
)


def host_of(arch, layers=4, lowest=2, highest=None, dtype=torch.float32):
    tiny = tiny_model(arch, layers=layers, dtype=dtype)
    kind = next(g for g in describe_modules(tiny.model) if "mlp" in g.kind and g.d_out == 32)
    return ModelHost(tiny, [f"layers.[{lowest}-{highest or layers - 1}].{kind.kind}"])


def items_of(host, edits=EDITS):
    return host.encode([(edit.prompt, edit.target) for edit in edits])


def forget(host):
    """Whether each module of a model is its own again, and no hook stays."""
    blocks = decoder_blocks(host.language_model.model)
    hooks = [
        hook
        for module in host.language_model.model.modules()
        for hook in (*module._forward_hooks, *module._forward_pre_hooks)
    ]
    return not hooks and all(type(block) is type(blocks[-1]) for block in blocks)


@pytest.mark.parametrize("highest", [2, 3])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_turn_and_its_evaluation_are_those_of_the_plain_path(arch, highest, monkeypatch):
    monkeypatch.setitem(signals.MAX_TOKENS, "cpu", 40)  # several batches
    host = host_of(arch, highest=highest)
    turn, items = Turn(1, EDITS), items_of(host)
    plain, predicted = host.signals(turn), host.predict(items)
    host.use_trunk()
    for _ in range(2):  # computed, then at hand
        ours = host.signals(turn)
        assert list(ours) == list(plain)
        for path, signal_ in plain.items():
            torch.testing.assert_close(ours[path].keys, signal_.keys, atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(ours[path].grads, signal_.grads, atol=2e-5, rtol=1e-4)
            assert torch.equal(ours[path].segments, signal_.segments)
            assert signal_.grads.abs().max() > 1e-3
        assert host.predict(items) == predicted
    assert host.trunk is not None and host.trunk.works_for(items)
    assert host.trunk.computed == len({item.input_ids for item in items}) + 1  # one to try it
    assert forget(host)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_blocks_below_run_once(arch):
    host = host_of(arch)
    runs = []
    decoder_blocks(host.language_model.model)[1].register_forward_hook(lambda *_: runs.append(1))
    host.use_trunk()
    items = items_of(host)
    host.predict(items)
    assert runs
    runs.clear()
    host.signals(Turn(1, EDITS))
    host.predict(items)
    assert not runs


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_last_mlp_runs_at_the_supervised_positions_alone_unless_it_is_edited(arch):
    for highest in (2, 3):
        host = host_of(arch, highest=highest)
        host.use_trunk()
        items = items_of(host)
        host.predict(items)
        tokens = []
        mlp = decoder_blocks(host.language_model.model)[-1].mlp
        mlp.register_forward_hook(lambda _, args, __, tokens=tokens: tokens.append(len(args[0][0])))
        host.predict(items)
        supervised = sum(len(item.answer_ids) for item in items)
        assert (sum(tokens) == supervised) == (highest == 2)


def test_the_trunk_follows_the_edits_above_it():
    host = host_of("llama")
    host.use_trunk()
    items = items_of(host)
    host.predict(items)
    path = next(iter(host.modules))
    with torch.no_grad():
        host.language_model.model.get_submodule(path).weight.mul_(-3)
    after = host.signals(Turn(1, EDITS))
    host.drop_trunk()
    plain = host.signals(Turn(1, EDITS))
    torch.testing.assert_close(after[path].grads, plain[path].grads, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma3"])
def test_a_state_depends_on_its_own_tokens_alone_to_the_last_bit(arch, dtype, monkeypatch):
    host = host_of(arch, dtype=dtype)
    items = items_of(host)
    host.use_trunk()
    together = host.trunk.states(items, keep=False)
    alone = [host.trunk.states([item], keep=False)[0] for item in items]
    monkeypatch.setitem(signals.MAX_TOKENS, "cpu", 7)
    apart = host.trunk.states(list(reversed(items)), keep=False)
    for item, *states in zip(items, together, alone, reversed(apart), strict=True):
        assert states[0].shape == (len(item), 32)
        assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])


def test_the_key_is_the_sequence_and_not_how_it_splits_into_prompt_and_answer():
    host = host_of("llama")
    host.use_trunk()
    ids = items_of(host)[0].input_ids
    ours = host.predict([Encoded(ids[:-2], (*ids[-2:], 5)), Encoded(ids, (5,))])
    assert host.trunk.computed == 2  # one of them to try it
    host.drop_trunk()
    assert ours == host.predict([Encoded(ids[:-2], (*ids[-2:], 5)), Encoded(ids, (5,))])


def test_windows_give_the_rows_of_one_pass(monkeypatch):
    host = host_of("llama")
    plain = host.signals(Turn(1, EDITS))
    monkeypatch.setitem(signals.MAX_TOKENS, "cpu", 12)
    monkeypatch.setattr(trunk_module, "WINDOW_BATCHES", 2)
    host.use_trunk()
    items = items_of(host)
    assert len(list(host.trunk.windows(items))) > 1
    ours = host.signals(Turn(1, EDITS))
    for path, signal_ in plain.items():
        torch.testing.assert_close(ours[path].grads, signal_.grads, atol=2e-5, rtol=1e-4)


def test_what_is_not_asked_again_is_not_kept():
    host = host_of("llama")
    host.use_trunk(for_edits=False)
    host.predict(items_of(host), keep=False)
    host.signals(Turn(1, EDITS))
    assert len(host.trunk.store) == 0
    assert host.trunk.reused == 0


def test_an_edit_in_the_first_block_has_no_trunk():
    host = host_of("llama", lowest=0)
    host.use_trunk()
    assert host.trunk is None
    assert host.predict(items_of(host))


def test_an_edit_outside_the_blocks_has_no_trunk():
    host = ModelHost(tiny_model("llama"), ["lm_head"])
    host.use_trunk()
    assert host.trunk is None


def test_a_model_whose_blocks_share_more_than_states_runs_whole():
    host = host_of("llama")
    blocks = decoder_blocks(host.language_model.model)
    secret = {}
    blocks[0].register_forward_hook(lambda _, __, output: secret.update(states=output))
    blocks[3].register_forward_hook(lambda _, __, output: output + secret.pop("states"))
    plain = host.predict(items_of(host))
    host.use_trunk()
    assert host.predict(items_of(host)) == plain
    assert not host.trunk.works_for(items_of(host))
    torch.testing.assert_close(
        host.signals(Turn(1, EDITS))[next(iter(host.modules))].keys.shape[0],
        sum(len(item.answer_ids) for item in items_of(host)),
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_forward_pass_can_be_resumed_at_any_block(arch):
    host = host_of(arch)
    model = host.language_model.model
    blocks = Blocks(model, decoder_blocks(model))
    batch = collate(items_of(host))
    with torch.no_grad():
        plain = supervised_logits(model, batch)
        lower = blocks.states_at(1, batch.input_ids, batch.attention_mask)
        for index in range(len(blocks)):
            states = blocks.states_at(index, batch.input_ids, batch.attention_mask)
            with blocks.resumed(index, states):
                torch.testing.assert_close(supervised_logits(model, batch), plain)
            if index > 1:  # resumed below, stopped above
                with blocks.resumed(1, lower):
                    again = blocks.states_at(index, batch.input_ids, batch.attention_mask)
                torch.testing.assert_close(again, states)
    assert forget(host)


def test_a_gradient_reaches_the_states_that_the_pass_was_resumed_with():
    host = host_of("gptj")
    model = host.language_model.model
    blocks = Blocks(model, decoder_blocks(model))
    batch = collate(items_of(host))
    states = blocks.states_at(2, batch.input_ids, batch.attention_mask).detach().requires_grad_()
    with torch.enable_grad(), blocks.resumed(2, states):
        supervised_logits(model, batch).sum().backward()
    assert states.grad is not None and states.grad.abs().sum() > 0


def test_a_pass_that_fails_puts_every_block_back():
    host = host_of("llama")
    model = host.language_model.model
    blocks = Blocks(model, decoder_blocks(model))
    with pytest.raises(RuntimeError), blocks.resumed(2, torch.zeros(1, 3, 99)):
        model(input_ids=torch.zeros(1, 3, dtype=torch.long))
    assert forget(host)


def test_past_the_budget_states_come_from_files_and_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SEGMENT_BYTES", 1500)
    host = host_of("llama", dtype=torch.bfloat16)
    items = items_of(host)
    host.use_trunk(budget_bytes=1000, folder=tmp_path)
    fresh = host.trunk.states(items)
    kept = host.trunk.states(items)
    store = host.trunk.store
    assert 0 < store.memory_bytes <= 1000
    assert store.spilled_bytes > 1500
    assert host.trunk.reused == len(items)
    for one, other in zip(fresh, kept, strict=True):
        assert torch.equal(one, other)
    host.drop_trunk()
    assert store.spilled_bytes == store.memory_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_time_and_not_the_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "SPARE_BYTES", 2**62)
    store = StateStore(0, tmp_path)
    store.put((1, 2), torch.zeros(2, 4))
    store.put((3, 4), torch.zeros(2, 4))
    assert store.get((1, 2)) is None and len(store) == 0
    assert len(caplog.records) == 1
    assert str(tmp_path) in caplog.text


def test_a_killed_process_leaves_no_file_behind(tmp_path):
    code = (
        "import sys, torch\n"
        "from ultraedit.host.trace.hidden_states import StateStore\n"
        "store = StateStore(0, sys.argv[1])\n"
        "store.put((1, 2), torch.ones(2, 4))\n"
        "assert store.get((1, 2)).sum() == 8 and store.spilled_bytes == 32\n"
        "print('spilled', flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
    )
    assert child.stdout.readline() == b"spilled\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert list(tmp_path.iterdir()) == []
