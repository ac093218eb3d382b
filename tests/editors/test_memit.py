"""MEMIT's solution, its way through the layers, and the places where it looks."""

from __future__ import annotations

import pytest
import torch

from tests.editors.test_contract import EDITS, host_of, make
from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.linalg import weighted_ridge_update
from ultraedit.core.types import Additive, Edit, Lookup, LowRank, SecondMoment, Turn
from ultraedit.editors import make_editor
from ultraedit.editors.families.locate_then_edit import mean_inputs
from ultraedit.editors.memit import MEMIT, smoothed
from ultraedit.host.host import ModelHost
from ultraedit.host.second_moments import OfPrompts


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def moment_of(d, seed=9):
    rows = random(4 * d, d, seed=seed)
    return rows.T @ rows / len(rows)


def dense(change):
    return change.dense() if isinstance(change, LowRank) else change


@pytest.mark.parametrize("n", [3, 8, 20])
def test_the_update_is_the_minimiser_in_the_metric_of_the_moment(n):
    keys, residuals, moment = random(n, 8), random(n, 5, seed=1), moment_of(8)
    delta = dense(weighted_ridge_update(keys, residuals, moment, 0.7)).requires_grad_()
    loss = (keys @ delta - residuals).square().sum()
    loss = loss + 0.7 * torch.trace(delta.T @ moment @ delta)
    (gradient,) = torch.autograd.grad(loss, delta)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-10)


@pytest.mark.parametrize("n", [3, 8, 20])
def test_woodburys_form_equals_the_dense_one_of_the_paper(n):
    keys, residuals, moment = random(n, 8), random(n, 5, seed=1), moment_of(8)
    found = weighted_ridge_update(keys, residuals, moment, 0.7)
    assert isinstance(found, LowRank) == (n < 8)
    expected = torch.linalg.solve(0.7 * moment + keys.T @ keys, keys.T @ residuals)
    torch.testing.assert_close(dense(found), expected, rtol=1e-10, atol=1e-12)


def test_a_small_texts_moment_is_mixed_with_the_identity_and_a_large_ones_hardly():
    rows = random(3, 8)
    singular = rows.T @ rows / 3
    few = smoothed(SecondMoment(singular, 3, "three tokens"))
    assert torch.linalg.eigvalsh(singular)[0].abs() < 1e-12
    assert torch.linalg.eigvalsh(few)[0] > 0.1 * singular.diagonal().median()
    many = smoothed(SecondMoment(singular, 10**7, "a library"))
    torch.testing.assert_close(many, singular, rtol=1e-5, atol=1e-5)


def test_one_turn_follows_the_papers_algorithm_layer_by_layer():
    host, editor = host_of("memit"), make("memit")
    turn = Turn(1, tuple(EDITS[:4]))
    state = editor.init(host)
    patch, _ = editor.step(host, turn, state)
    low, high = host.modules
    prompts = editor.prompts(turn.edits, state)
    plain = [lookups[0] for lookups in prompts]
    found = host.search_offsets(high, editor.goals(turn.edits, state), editor.search)
    z = (found.outputs + found.offsets).double()

    def solved(path, divisor):
        keys = mean_inputs(host, [path], prompts)[path].double()
        residuals = (z - host.outputs_at(high, plain).double()) / divisor
        moment = smoothed(host.second_moment(path))
        return torch.linalg.solve(editor.ridge * moment + keys.T @ keys, keys.T @ residuals)

    first = solved(low, 2).float()
    torch.testing.assert_close(dense(patch.changes[low]), first, rtol=1e-3, atol=1e-5)
    with host.patched(Additive({low: first})):
        second = solved(high, 1).float()
    torch.testing.assert_close(dense(patch.changes[high]), second, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(solved(high, 1).float(), second, rtol=1e-2)  # the patch matters


def test_the_wanted_states_make_the_model_say_the_targets():
    host, editor = host_of("memit"), make("memit")
    turn = Turn(1, tuple(EDITS[:4]))
    state = editor.init(host)
    found = host.search_offsets(
        list(host.modules)[-1], editor.goals(turn.edits, state), editor.search
    )
    assert float(found.losses.mean()) < 5.0  # about 6.2 = ln 512 without an offset
    assert found.steps.tolist() == [11] * 4


def test_keys_are_half_of_the_plain_prompt_and_half_of_the_contexts():
    class Host:
        def inputs_at(self, paths, lookups):
            values = [float(len(lookup.text)) for lookup in lookups]
            return {path: torch.tensor(values).unsqueeze(1) for path in paths}

    prompts = [[Lookup("a" * n, 0, 1) for n in row] for row in ([2, 10, 20], [4, 6, 8])]
    means = mean_inputs(Host(), ["layer"], prompts)["layer"]
    assert means.tolist() == [[(2 + 15) / 2], [(4 + 7) / 2]]
    alone = mean_inputs(Host(), ["layer"], [row[:1] for row in prompts])["layer"]
    assert alone.tolist() == [[2.0], [4.0]]


def test_contexts_are_the_unedited_models_and_stay_in_the_state():
    host, editor = host_of("memit"), make_editor("memit", {"contexts": 3})
    state = editor.init(host)
    (lookups,) = editor.prompts(EDITS[:1], state)
    assert len(lookups) == 4
    assert lookups[0].text == EDITS[0].prompt
    for lookup, start in zip(lookups[1:], ("The", "Therefore", "Because"), strict=True):
        assert lookup.text.startswith(start)
        assert lookup.text.endswith(f". {EDITS[0].prompt}")
        assert lookup.text[lookup.start : lookup.end] == "number 0"
    path = next(iter(host.modules))
    host.weights.apply(Additive({path: torch.ones(48, 32)}))
    (later,) = editor.prompts(EDITS[:1], state)
    assert later == lookups


def test_a_layer_that_nobody_reads_or_that_leads_elsewhere_is_refused():
    tiny = tiny_model("llama", layers=3)
    turn = Turn(1, tuple(EDITS[:2]))
    statistics = OfPrompts(["What is it?"])
    for patterns, message in (
        (["layers.[1-2].mlp.down_proj"], "is in the last layer, whose output at the subject"),
        (["layers.[0-1].mlp.up_proj"], "has 48 outputs, but this editor needs a matrix that leads"),
        (["layers.1.mlp.down_proj", "layers.1.self_attn.o_proj"], "one matrix per decoder layer"),
    ):
        host = ModelHost(tiny, patterns, "float32", statistics)
        editor = MEMIT(contexts=0, steps=2)
        with pytest.raises(ConfigError, match=message):
            editor.step(host, turn, editor.init(host))


def test_rows_without_a_subject_are_named_with_what_to_type():
    edits = [EDITS[0], *(Edit("Who is it?", "Ada", id=f"row {n}") for n in range(7))]
    message = r"7 of 8 have none .*\(row 0, row 1, row 2, row 3, row 4, \.\.\.\).*subject=auto"
    with pytest.raises(DataError, match=message):
        MEMIT().check(edits)
    MEMIT().check(EDITS)
    with pytest.raises(DataError, match="no rephrase shares a word"):
        MEMIT(subject="auto").check(edits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "lr must be a positive number, got 0.0"),
        ({"ridge": -1.0}, "ridge must be a positive number"),
        ({"kl": -0.5}, "kl must be a number of at least 0"),
        ({"steps": 1}, "steps must be at least 2, got 1"),
        ({"contexts": 6}, "contexts must be 0 to 5, got 6"),
        ({"subject": "none"}, "subject must be given or auto, got 'none'"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MEMIT(**options)


def test_the_source_of_the_statistics_is_remarked():
    host = host_of("memit")
    remarks = make("memit").remarks(host, {})
    assert remarks["statistics"].endswith("tokens of prompts of the edits")


@pytest.mark.real
@pytest.mark.slow
def test_memit_writes_real_edits_into_a_real_model_as_its_preset_says(smollm2, shared_data):
    from ultraedit.data import read
    from ultraedit.evaluation.scoring import evaluate
    from ultraedit.models import find_preset

    edits = read(f"counterfact:{shared_data / 'counterfact' / 'counterfact_20k.json'}", limit=8)
    preset = find_preset(smollm2, "counterfact", "memit")
    statistics = OfPrompts([edit.prompt for edit in edits])
    host = ModelHost(smollm2, preset.modules, "float32", statistics)
    editor = make_editor("memit", dict(preset.options))
    before = evaluate(host, edits, free_answers=0)
    patch, _ = editor.step(host, Turn(1, tuple(edits)), editor.init(host))
    with host.patched(patch):
        after = evaluate(host, edits, reference=before.reference, free_answers=0)
    assert before.scores.efficacy < 0.3
    assert after.scores.efficacy > 0.85
    assert after.scores.agreement > 0.7


def test_a_norm_behind_the_layer_does_not_blow_the_change_up(monkeypatch):
    """In Gemma what a layer puts out is much shorter than what the norm behind makes of it."""

    def largest():
        host = host_of("memit", "gemma3")
        for block in host.language_model.model.model.layers:
            block.post_feedforward_layernorm.weight.data.fill_(500.0)
        editor = make_editor("memit", {"ridge": 1e-3, "steps": 10})
        patch, _ = editor.step(host, Turn(1, tuple(EDITS[:4])), editor.init(host))
        return max(
            float(dense(change).norm() / host.weight(path).norm())
            for path, change in patch.changes.items()
        )

    through = largest()
    monkeypatch.setattr(ModelHost, "invert_post_norm", lambda self, path, lookups, moves: moves)
    assert 0 < through < 5 < 50 < largest()
