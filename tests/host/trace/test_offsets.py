"""A pass can be resumed from one token and layer on, and offsets are searched for many edits."""

from __future__ import annotations

import pytest
import torch

from tests.naive.offsets import logits_with, naive_offset, output_at
from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.encoding import Encoded, encode
from ultraedit.core.errors import NumericalError
from ultraedit.core.types import OffsetSearch
from ultraedit.host import trace
from ultraedit.host.trace import offsets
from ultraedit.host.trace.prefix_cache import resumable_batches
from ultraedit.models.modules import decoder_blocks

LAYER = 1
SEARCH = OffsetSearch(lr=0.3, steps=8, weight_decay=0.2, kl=0.5, clamp=2.0)


def blocks_of(lm):
    return trace.Blocks(lm.model, decoder_blocks(lm.model))


def rows_of(lm):
    pairs = [
        ("What is the native language of Danielle Darrieux?", "French"),
        ("Paris", "the capital of France"),
        ("In which city is it", "a b c d e"),
    ]
    items = encode(lm.tokenizer, pairs)
    return [
        trace.PrefixedRow(items[0], 5),
        trace.PrefixedRow(items[1], 0),
        trace.PrefixedRow(items[2], len(items[2].prompt_ids) - 1),
    ]


def goals_of(lm):
    texts = [
        ("Ada wrote", "Paris"),
        ("The river flows through Vienna", "the tower"),
        ("It", "1843"),
    ]
    goals = []
    for number, (prompt, target) in enumerate(texts):
        prompts = [prompt, f"Therefore it was so. {prompt}"][: 1 + number % 2]
        items = encode(lm.tokenizer, [(text, target) for text in prompts])
        subject = encode(lm.tokenizer, [(prompt, "x")])[0].prompt_ids
        goals.append(
            trace.Goal(
                tuple(trace.PrefixedRow(item, len(item.prompt_ids) - 1) for item in items),
                trace.PrefixedRow(Encoded(subject, (0,)), len(subject) - 1),
            )
        )
    return goals


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_resumed_pass_equals_a_whole_one_with_the_offset_added(arch):
    lm = tiny_model(arch, layers=4)
    blocks, rows = blocks_of(lm), rows_of(lm)
    upper = trace.Upper(blocks, LAYER)
    frozen = upper.freeze(rows)
    delta = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    seen = set()
    for indices, batch in resumable_batches(lm.model, frozen):
        outputs = batch.outputs.clone()
        outputs[:, 0] += delta[indices]
        with torch.no_grad():
            found = upper.logits(batch, outputs)
        for place, index in enumerate(indices):
            item, at = rows[index]
            with torch.no_grad():
                whole = logits_with(lm.model, blocks.list[LAYER], item, at, delta[index])
            expected = whole[len(item.prompt_ids) - 1 :]
            torch.testing.assert_close(found[batch.rows == place], expected, rtol=0, atol=5e-6)
            seen.add(index)
    assert seen == {0, 1, 2}


def test_a_row_is_frozen_with_the_layers_outputs_and_nothing_of_the_layers_below():
    lm = tiny_model("llama", layers=4)
    blocks, rows = blocks_of(lm), rows_of(lm)
    (frozen, *_) = trace.Upper(blocks, LAYER).freeze(rows)
    expected = output_at(lm.model, blocks.list[LAYER], *rows[0])
    torch.testing.assert_close(frozen.outputs[0], expected, rtol=0, atol=1e-5)
    assert frozen.outputs.shape[0] == rows[0].length == len(rows[0].item) - 5
    assert sorted(frozen.past) == [2, 3]
    assert frozen.past[2][0].shape == (2, 5, 8)  # heads, earlier tokens, d_head


@pytest.mark.parametrize("arch", ["llama", "gptj", "gemma3"])
def test_the_search_of_many_edits_finds_what_one_at_a_time_finds_step_by_step(arch):
    lm = tiny_model(arch, layers=3, dtype=torch.float64)
    blocks, goals = blocks_of(lm), goals_of(lm)
    upper = trace.Upper(blocks, LAYER)
    found = trace.search_offsets(upper, goals, SEARCH)
    for index, goal in enumerate(goals):
        delta, loss, steps = naive_offset(lm.model, blocks.list[LAYER], goal, SEARCH)
        torch.testing.assert_close(found.offsets[index], delta, rtol=1e-3, atol=1e-4)
        assert float(found.losses[index]) == pytest.approx(loss, rel=1e-3)
        assert int(found.steps[index]) == steps
    alone = [trace.search_offsets(upper, [goal], SEARCH) for goal in goals]
    together = torch.cat([each.offsets for each in alone])
    torch.testing.assert_close(found.offsets, together, rtol=1e-3, atol=1e-4)


def test_each_edit_stops_by_itself_and_the_others_go_on():
    lm = tiny_model("llama", layers=3)
    upper, goals = trace.Upper(blocks_of(lm), LAYER), goals_of(lm)
    easy = OffsetSearch(lr=0.3, steps=8, weight_decay=0.0, kl=0.0, clamp=1e6)
    losses = trace.search_offsets(upper, goals, easy).losses
    between = float(losses.sort().values[:2].mean())
    stopping = OffsetSearch(lr=0.3, steps=8, weight_decay=0.0, kl=0.0, clamp=1e6, stop=between)
    found = trace.search_offsets(upper, goals, stopping)
    assert int((found.steps < 7).sum()) >= 1
    assert int(found.steps.max()) == 7
    late = found.steps == 7
    whole = trace.search_offsets(upper, goals, easy)
    torch.testing.assert_close(found.offsets[late], whole.offsets[late], rtol=1e-3, atol=1e-4)


def test_no_offset_leaves_its_ball():
    lm = tiny_model("llama", layers=3)
    search = OffsetSearch(lr=1.0, steps=6, weight_decay=0.0, kl=0.0, clamp=0.5)
    found = trace.search_offsets(trace.Upper(blocks_of(lm), LAYER), goals_of(lm), search)
    relative = found.offsets.norm(dim=1) / found.outputs.norm(dim=1)
    torch.testing.assert_close(relative, torch.full((3,), 0.5), rtol=1e-5, atol=0)


def test_a_heavier_divergence_keeps_what_is_said_of_the_subject_closer():
    lm = tiny_model("llama", layers=3)
    blocks, goal = blocks_of(lm), goals_of(lm)[0]
    layer, upper = blocks.list[LAYER], trace.Upper(blocks, LAYER)

    def moved(kl):
        search = OffsetSearch(lr=0.3, steps=10, weight_decay=0.0, kl=kl, clamp=10.0)
        delta = trace.search_offsets(upper, [goal], search).offsets[0]
        item, at = goal.essence
        with torch.no_grad():
            now = logits_with(lm.model, layer, item, at, delta)[-1].log_softmax(-1)
            before = logits_with(lm.model, layer, item, at, 0 * delta)[-1].log_softmax(-1)
        return float((before.exp() * (before - now)).sum())

    assert moved(50.0) < 0.5 * moved(0.0)


def test_edits_are_searched_in_parts_with_the_same_result(monkeypatch):
    lm = tiny_model("llama", layers=3)
    upper, goals = trace.Upper(blocks_of(lm), LAYER), goals_of(lm)
    whole = trace.search_offsets(upper, goals, SEARCH)
    monkeypatch.setattr(offsets, "AT_ONCE", 2)
    parts = trace.search_offsets(upper, goals, SEARCH)
    torch.testing.assert_close(parts.offsets, whole.offsets, rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_not_finite_is_refused():
    lm = tiny_model("llama", layers=3)
    upper, goals = trace.Upper(blocks_of(lm), LAYER), goals_of(lm)
    lm.model.lm_head.weight[0] = float("nan")
    with pytest.raises(NumericalError, match="The loss of an edit is not finite"):
        trace.search_offsets(upper, goals, SEARCH)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_values_at_single_tokens_are_those_of_a_whole_pass(arch):
    lm = tiny_model(arch, layers=3)
    blocks = blocks_of(lm)
    layer = blocks.list[1]
    module = (
        next(m for n, m in layer.named_modules() if n in ("mlp.down_proj", "mlp.fc_out"))
        if arch != "gpt2"
        else layer.mlp.c_proj
    )
    places = [trace.TokenPlace(row.item.input_ids, row.at) for row in rows_of(lm)]
    found = trace.values_at(lm.model, places, inputs={"in": module}, outputs={"out": layer})
    for index, (ids, at) in enumerate(places):
        seen = {}
        handles = [
            module.register_forward_pre_hook(lambda _, args, s=seen: s.update({"in": args[0]})),
            layer.register_forward_hook(
                lambda _, __, o, s=seen: s.update({"out": o[0] if isinstance(o, tuple) else o})
            ),
        ]
        with torch.no_grad():
            lm.model(torch.tensor([ids]), use_cache=False)
        for handle in handles:
            handle.remove()
        for name, values in seen.items():
            torch.testing.assert_close(found[name][index], values[0, at], rtol=0, atol=1e-5)
