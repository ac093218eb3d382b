"""What is special about UltraEdit: its equations, its two protocols, its step."""

from __future__ import annotations

import pytest
import torch
from benchmarks.naive import Record, naive_edit, naive_scores

from tests.editors.test_contract import EDITS, host_of, parameters
from tests.tiny import tiny_model
from ultraedit.core.errors import ConfigError
from ultraedit.core.stats import EPS
from ultraedit.core.types import (
    Additive,
    Edit,
    LayerSignal,
    LossTerm,
    LossValue,
    LowRank,
    ModuleShape,
    Turn,
    turns,
)
from ultraedit.editors.ultraedit import AUTO_PASSES, PASS_SHARE, PROTOCOLS, UltraEdit
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.loop import MemoryRecorder, run_turns

SIZES = (3, 1, 2)  # supervised tokens of three edits


class FakeHost:
    """A host with one made-up layer, so that the equations can be written out beside it."""

    def __init__(self, seed=0):
        self.modules = {"layer": ModuleShape(8, 4)}
        generator = torch.Generator().manual_seed(seed)
        n = sum(SIZES)
        segments = torch.tensor([i for i, size in enumerate(SIZES) for _ in range(size)])
        self.signal = LayerSignal(
            torch.randn(n, 8, generator=generator),
            torch.randn(n, 4, generator=generator),
            segments,
        )
        self.base = torch.randn(8, 4, generator=generator)

    def signals(self, turn):
        return {"layer": self.signal} if turn.edits else {}

    def weight(self, path):
        return self.base


TURN = Turn(1, tuple(EDITS[:3]))


def step(editor, hosts):
    state = editor.init(hosts[0])
    for host in hosts:
        patch, state = editor.step(host, TURN, state)
    change = patch.changes["layer"]
    return change.dense() if isinstance(change, LowRank) else change


def averaged(signal, sizes_of_groups):
    tokens = torch.tensor([t for t in sizes_of_groups for _ in range(t)]).unsqueeze(1)
    return torch.cat([signal.keys, signal.grads / tokens], dim=1)


def test_two_turns_follow_the_papers_equations():
    hosts = [FakeHost(0), FakeHost(1)]
    z = [averaged(host.signal, SIZES).double() for host in hosts]
    seen = torch.cat(z)
    mu, sigma = seen.mean(0), (seen.var(0, unbiased=True) * 11 / (11 + EPS)).sqrt()  # Eq. 2, 3
    z_hat = (z[1] - mu) / (sigma + EPS)  # Eq. 1
    h_hat, g_hat = z_hat[:, :8], z_hat[:, 8:]  # Eq. 4
    v = -0.3 * h_hat.square().sum(1, keepdim=True) * g_hat  # Eq. 5
    h = hosts[1].signal.keys.double()
    expected = torch.linalg.solve(h.T @ h + 2.0 * torch.eye(8), h.T @ v)  # Eq. 7
    found = step(UltraEdit(eta=0.3, ridge=2.0), hosts)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_doubling_eta_doubles_the_update():
    once, twice = (step(UltraEdit(eta=eta), [FakeHost()]) for eta in (0.1, 0.2))
    torch.testing.assert_close(2 * once, twice)
    assert once.abs().max() > 0


def test_each_difference_between_the_protocols_is_an_option_of_its_own():
    paper, official = UltraEdit(), UltraEdit(protocol="official")
    for name, value in PROTOCOLS["official"].items():
        assert getattr(official, name) == value != getattr(paper, name)
        assert getattr(UltraEdit(**{name: value}), name) == value
    every = UltraEdit(**PROTOCOLS["official"])
    assert torch.equal(step(every, [FakeHost()]), step(official, [FakeHost()]))


@pytest.mark.parametrize("option", ["variance", "loss_average"])
def test_each_statistical_option_changes_the_update(option):
    changed = UltraEdit(eta=0.1, **{option: PROTOCOLS["official"][option]})
    hosts = [FakeHost(0), FakeHost(1)]
    assert not torch.allclose(step(UltraEdit(eta=0.1), hosts), step(changed, hosts))


def test_statistics_by_shape_are_shared_by_modules_of_one_shape():
    host = host_of("ultraedit")
    assert {k.split("/")[0] for k in UltraEdit().init(host)} == set(host.modules)
    shared = UltraEdit(statistics="shape").init(host)
    assert {k.split("/")[0] for k in shared} == {"48x32"}
    _, state = UltraEdit(statistics="shape", eta=0.1).step(host, Turn(1, tuple(EDITS)), shared)
    rows = next(iter(host.signals(Turn(1, tuple(EDITS))).values())).keys.shape[0]
    assert state["48x32/seen"] == 2 * rows


def test_auto_eta_changes_the_outputs_by_alpha_at_most_and_then_stays():
    host = host_of("ultraedit")
    editor = UltraEdit(eta="auto", alpha=0.25, loss_left=0, passes=1)
    turn = Turn(1, tuple(EDITS))
    patch, state = editor.step(host, turn, editor.init(host))
    signals = host.signals(turn)
    for path, change in patch.changes.items():
        keys = signals[path].keys
        relative = (keys @ change.dense()).norm() / (keys @ host.weight(path)).norm()
        assert float(relative) == pytest.approx(0.25 / 2**0.5, rel=1e-4)  # two modules
    _, later = editor.step(host, turn, state)
    assert all(later[key] == value for key, value in state.items() if key.startswith("eta/"))


def first_turn(host, **options):
    """The steps that auto finds on a first turn, and the share of the loss that they leave."""
    editor = UltraEdit(eta="auto", passes=1, **options)
    turn = Turn(1, tuple(EDITS))
    patch, state = editor.step(host, turn, editor.init(host))
    pairs = tuple((edit.prompt, edit.target) for edit in EDITS)
    term = LossTerm(pairs, 1.0, "answer")
    before, after = (host.patch_loss(each, [term])[0].loss for each in (Additive({}), patch))
    found = [float(value) for name, value in state.items() if name.startswith("eta/")]
    return found, after / before


@pytest.mark.parametrize("wanted", [0.9, 0.85])
def test_auto_eta_leaves_the_share_of_the_loss_that_is_asked_for(wanted):
    host = host_of("ultraedit")
    everything = first_turn(host, alpha=8.0, loss_left=0)[1]
    assert everything < wanted - 0.05  # so that it is the loss that decides, and not alpha
    left = first_turn(host, alpha=8.0, loss_left=wanted)[1]
    assert left == pytest.approx(wanted, abs=0.02)


def test_auto_eta_shrinks_with_the_root_of_the_length_of_the_run():
    host = host_of("ultraedit")
    options = {"alpha": 8.0, "loss_left": 0.85}
    found = {n: first_turn(host, expected_edits=n, **options)[0] for n in (9, 125, 500, 2000)}
    usual = found[500]
    assert found[2000] == pytest.approx([eta / 2 for eta in usual])
    assert found[9] == found[125] == pytest.approx([eta * 2 for eta in usual])
    halved = first_turn(host, step_factor=0.5, **options)[0]
    assert halved == pytest.approx([eta / 2 for eta in usual])
    most = first_turn(host, alpha=0.01, loss_left=0.0)[0]  # never past alpha
    assert first_turn(host, expected_edits=9, alpha=0.01, loss_left=0.0)[0] == most


def test_auto_eta_does_not_push_on_when_that_makes_the_loss_worse():
    host = host_of("ultraedit")
    losses = [first_turn(host, alpha=alpha, loss_left=0)[1] for alpha in (1, 4, 16, 64, 256)]
    assert losses[-1] > min(losses)  # sanity: one can go too far
    assert first_turn(host, alpha=256.0, loss_left=0.001)[1] < losses[-1]


def test_auto_eta_is_not_decided_by_facts_that_the_model_knows(monkeypatch):
    host = host_of("ultraedit")
    known = [LossValue(0.01, 1.0)]
    monkeypatch.setattr(host, "patch_loss", lambda *_: known)
    editor, turn = UltraEdit(eta="auto", alpha=1.0, passes=1), Turn(1, tuple(EDITS))
    _, state = editor.step(host, turn, editor.init(host))
    found = [float(value) for name, value in state.items() if name.startswith("eta/")]
    monkeypatch.undo()
    assert found == pytest.approx(first_turn(host, alpha=0.5, loss_left=0)[0])


def test_several_passes_are_the_turn_made_again_from_where_it_left_the_weights():
    turn = Turn(1, tuple(EDITS))
    host, again = host_of("ultraedit"), host_of("ultraedit")
    editor = UltraEdit(eta=0.1, passes=3, written=0.0)
    patch, state = editor.step(host, turn, editor.init(host))
    once = UltraEdit(eta=0.1)
    left = once.init(again)
    for _ in range(3):
        each, left = once.step(again, turn, left)
        again.weights.apply(each)
    assert all(float(host.change(path).norm()) == 0 for path in host.modules)  # nothing is applied
    for path, change in patch.changes.items():
        dense = change.dense() if isinstance(change, LowRank) else change
        torch.testing.assert_close(dense, again.change(path), rtol=1e-3, atol=1e-6)
    assert state.keys() == left.keys()


def test_passes_end_once_the_turn_is_written(monkeypatch):
    host, turn = host_of("ultraedit"), Turn(1, tuple(EDITS))
    losses = iter([2.0, 0.4, 0.2, 0.1])
    asked = []

    def patch_loss(patch, terms):
        asked.append(patch)
        return [LossValue(next(losses), 1.0)]

    monkeypatch.setattr(host, "patch_loss", patch_loss)
    editor = UltraEdit(eta=0.1, passes=9, written=0.3)
    _, state = editor.step(host, turn, editor.init(host))
    rows = next(iter(host.signals(turn).values())).keys.shape[0]
    seen = {int(value) for name, value in state.items() if name.endswith("/seen")}
    assert len(asked) == 3 and seen == {3 * rows}


def test_a_pass_that_writes_no_more_is_the_last(monkeypatch):
    host, turn = host_of("ultraedit"), Turn(1, tuple(EDITS))
    losses = iter([2.0, 1.5, 1.49])
    monkeypatch.setattr(host, "patch_loss", lambda *_: [LossValue(next(losses), 1.0)])
    editor = UltraEdit(eta=0.1, passes=9)
    editor.step(host, turn, editor.init(host))
    assert not list(losses)


def test_one_pass_is_the_paper_and_auto_has_more_smaller_ones():
    assert UltraEdit().passes == UltraEdit(eta="auto", passes=1).passes == 1
    assert UltraEdit(eta="auto").passes == AUTO_PASSES
    host, turn = host_of("ultraedit"), Turn(1, tuple(EDITS))
    steps = []
    for passes in (1, 2):
        editor = UltraEdit(eta="auto", passes=passes)
        _, state = editor.step(host, turn, editor.init(host))
        steps.append([float(value) for name, value in state.items() if name.startswith("eta/")])
    assert steps[1] == pytest.approx([PASS_SHARE * eta for eta in steps[0]])


def test_no_pass_is_held_off_the_keys_of_another():
    host, turn = host_of("ultraedit"), Turn(1, tuple(EDITS))
    editor = UltraEdit(eta=1e-4, passes=3, written=0.0, retention=1.0)
    _, state = editor.step(host, turn, editor.init(host))
    _, once = UltraEdit(eta=1e-4, retention=1.0).step(host, turn, editor.init(host))
    for name in (name for name in once if name.startswith("past/")):
        assert float(state[name].trace()) == pytest.approx(float(once[name].trace()), rel=0.01)


def test_auto_eta_waits_for_a_turn_that_says_something():
    host = host_of("ultraedit")
    editor = UltraEdit(eta="auto")
    one = Edit("What?", "1")
    patch, state = editor.step(host, Turn(1, (one,)), editor.init(host))
    if len(host.encode([("What?", "1")])[0].answer_ids) == 1:
        assert not patch.changes
    _, state = editor.step(host, Turn(2, tuple(EDITS)), state)
    assert sum(key.startswith("eta/") for key in state) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": 0.0}, r"eta must be a positive number or 'auto', got 0\.0"),
        ({"eta": float("nan")}, "eta must be a positive number or 'auto', got nan"),
        ({"loss_left": 1.0}, "loss_left must be at least 0 and below 1, got 1.0"),
        ({"passes": 0}, "passes must be at least 1, or auto, got 0"),
        ({"written": -1.0}, "written must be at least 0 nats, got -1.0"),
        ({"expected_edits": 0}, "expected_edits must be at least 1, got 0"),
        ({"retention": 1.5}, "retention must be from 0 to 1, got 1.5"),
        ({"ridge": -1.0}, r"ridge must be a positive number, got -1\.0"),
        ({"protocol": "officil"}, "protocol must be one of paper, official, got 'officil'"),
        ({"micro_batch": 0}, "micro_batch must be at least 1, got 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        UltraEdit(**options)


def relative_difference(ours, theirs, base):
    theirs = theirs.detach()
    return float((ours - theirs).norm() / (theirs - base).norm())


@pytest.mark.parametrize(
    "patterns",
    [
        ["layers.[1-2].mlp.down_proj"],
        ["layers.1.mlp.gate_proj", "layers.[1-2].mlp.up_proj"],
    ],
)
def test_official_equals_the_released_algorithm_on_a_tiny_model(patterns):
    tinies = [tiny_model("llama", layers=3) for _ in range(2)]
    edits = [Edit(f"{e.prompt}{' Say it.' * (n % 3)}", e.target) for n, e in enumerate(EDITS * 3)]
    host = ModelHost(tinies[0], patterns, "model")
    base = parameters(host)
    editor = UltraEdit(eta=1e-2, protocol="official", micro_batch=4)
    run_turns(host, editor, turns(edits, 16), MemoryRecorder())
    modules = {p: tinies[1].model.get_submodule(p) for p in host.modules}
    records = [Record(e.prompt, e.target, "?", "?", "?") for e in edits]
    naive_edit(
        tinies[1].model,
        tinies[1].tokenizer,
        records,
        modules,
        eta=1e-2,
        edits_per_turn=16,
        micro_batch=4,
    )
    ours = parameters(host)
    for path, module in modules.items():
        name = f"{path}.weight"
        assert relative_difference(ours[name], module.weight, base[name]) < 1e-4


@pytest.mark.real
@pytest.mark.slow
def test_official_equals_the_released_algorithm_after_five_turns_of_real_edits(
    smollm2, shared_data
):
    from ultraedit.data import read

    edits = read(f"zsre:{shared_data / 'zsre' / 'zsre_10k.json'}", limit=500)
    host = ModelHost(smollm2, ["layers.[25-28].mlp.down_proj"], "model")
    base = {p: host.weight(p).T.clone() for p in host.modules}
    editor = UltraEdit(eta=1e-3, protocol="official")
    run_turns(host, editor, turns(edits, 100), MemoryRecorder())
    ours = {p: host.weight(p).T.clone() for p in host.modules}
    scored = edits[:100]
    scores = evaluate(host, scored, free_answers=0).scores
    host.weights.reset()
    modules = {p: smollm2.model.get_submodule(p) for p in host.modules}
    records = [
        Record(e.prompt, e.target, e.rephrases[0], e.locality[0].prompt, e.locality[0].target)
        for e in edits
    ]
    naive_edit(
        smollm2.model, smollm2.tokenizer, records, modules, eta=1e-3, solve_dtype=torch.float64
    )
    naive = naive_scores(smollm2.model, smollm2.tokenizer, records[:100])
    for path, module in modules.items():
        difference = relative_difference(ours[path], module.weight, base[path])
        assert difference < 1e-4, f"{path}: {difference}"
    smollm2.model.requires_grad_(False)
    host.weights.reset()
    for name, value in naive.items():
        assert getattr(scores, name) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("retention", [0.3, 1.0])
def test_retention_holds_the_update_off_the_keys_of_earlier_turns(retention):
    hosts = [FakeHost(0), FakeHost(1), FakeHost(2)]
    for host in hosts:  # float64, so that the two ways of solving can be told from rounding
        host.signal = host.signal._replace(
            keys=host.signal.keys.double(), grads=host.signal.grads.double()
        )
        host.base = host.base.double()
    editor = UltraEdit(eta=0.3, ridge=2.0, retention=retention)
    state = editor.init(hosts[0])
    for host in hosts[:2]:
        _, state = editor.step(host, TURN, state)
    moments = editor.solve(hosts[2], hosts[2].signals(TURN), editor.unpack(state))
    h = hosts[2].signal.keys
    past = sum(host.signal.keys.T @ host.signal.keys for host in hosts[:2])
    system = h.T @ h + 2.0 * torch.eye(8) + retention * past
    v = 0.3 * editor.targets(h, moments.normalized["layer"])
    change = editor.step(hosts[2], TURN, state)[0].changes["layer"]
    found = change.dense() if isinstance(change, LowRank) else change
    torch.testing.assert_close(found, torch.linalg.solve(system, h.T @ v), rtol=1e-9, atol=1e-12)
    plain = step(UltraEdit(eta=0.3, ridge=2.0), hosts)
    for host in hosts[:2]:  # what was written at the earlier keys is disturbed less
        assert (host.signal.keys @ found).norm() < (host.signal.keys @ plain).norm()


def test_retention_is_off_by_default_and_its_state_survives_the_disk(tmp_path):
    from safetensors.torch import load_file, save_file

    host = host_of("ultraedit")
    first, second = Turn(1, tuple(EDITS[:8])), Turn(2, tuple(EDITS[8:]))
    _, state = UltraEdit().step(host, first, UltraEdit().init(host))
    assert not any(name.startswith("past/") for name in state)
    editor = UltraEdit(eta=0.1, retention=0.5)
    _, state = editor.step(host, first, editor.init(host))
    assert {f"past/{path}" for path in host.modules} <= state.keys()
    save_file(state, tmp_path / "state.safetensors")
    again = load_file(tmp_path / "state.safetensors")
    ours, theirs = (editor.step(host, second, each) for each in (state, again))
    assert all(torch.equal(ours[1][name], theirs[1][name]) for name in ours[1])
    for path, change in ours[0].changes.items():
        assert torch.equal(change.left, theirs[0].changes[path].left)
        assert torch.equal(change.right, theirs[0].changes[path].right)
