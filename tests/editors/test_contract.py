"""What every registered editor promises. A new editor joins by one row in `cases.py`."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.editors.cases import CASES, LAYERS
from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.types import Edit, Editor, Turn, turns
from ultraedit.editors import EDITORS, make_editor
from ultraedit.host.host import ModelHost
from ultraedit.host.second_moments import OfPrompts
from ultraedit.lifelong.loop import MemoryRecorder, run_turns
from ultraedit.models import describe_modules

ANSWERS = ["French", "Jane Austen", "Paris", "the Danube", "Dutch", "Apple", "1843", "George"]
EDITS = [
    Edit(f"Who or what in the list is number {n}", answer, subject=f"number {n}", id=str(n))
    for n, answer in enumerate(ANSWERS * 2)
]


def make(name: str) -> Editor:
    return make_editor(name, CASES[name])


def host_of(name: str, arch: str = "llama", dtype: torch.dtype = torch.float32) -> ModelHost:
    tiny = tiny_model(arch, layers=3, dtype=dtype)
    kind = next(g for g in describe_modules(tiny.model) if "mlp" in g.kind and g.d_out == 32)
    master = getattr(make(name), "master", "float32")
    statistics = OfPrompts([edit.prompt for edit in EDITS])
    return ModelHost(tiny, [f"layers.[{LAYERS.get(name, '1-2')}].{kind.kind}"], master, statistics)


def run(host, editor, edits=EDITS, per_turn=4, progress=None, first=1):
    batches = [Turn(first + n, t.edits) for n, t in enumerate(turns(edits, per_turn))]
    return run_turns(host, editor, batches, MemoryRecorder(), progress)


def parameters(host):
    return {n: p.detach().clone() for n, p in host.language_model.model.named_parameters()}


def loss(host, edits=EDITS) -> float:
    from ultraedit.host import trace

    items = host.encode([(edit.prompt, edit.target) for edit in edits])
    total = 0.0
    with torch.no_grad():
        for _, batch in trace.batches(host.language_model.model, items):
            logits = trace.supervised_logits(host.language_model.model, batch).float()
            total += float(torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum"))
    return total


def test_every_registered_editor_has_a_row_here():
    assert CASES.keys() == EDITORS.keys()


@pytest.fixture(params=sorted(CASES))
def name(request):
    return request.param


@pytest.fixture(
    params=sorted(name for name in CASES if EDITORS[name].beside not in ("facts", "changes"))
)
def writer(request):
    """Editors that change weights."""
    return request.param


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_loss_on_the_edits_goes_down_on_every_architecture(writer, arch):
    host = host_of(writer, arch)
    before = loss(host)
    run(host, make(writer), per_turn=len(EDITS))
    assert loss(host) < 0.95 * before


def test_only_the_edited_modules_change(writer):
    host = host_of(writer)
    before = parameters(host)
    run(host, make(writer))
    changed = {n for n, p in parameters(host).items() if not torch.equal(p, before[n])}
    assert changed == {f"{path}.weight" for path in host.modules}


def test_a_step_leaves_model_and_state_alone_and_revert_is_bit_exact(writer):
    host, editor = host_of(writer), make(writer)
    before = parameters(host)
    state = editor.init(host)
    kept = {key: tensor.clone() for key, tensor in state.items()}
    patch, _ = editor.step(host, Turn(1, tuple(EDITS)), state)
    assert all(torch.equal(p, before[n]) for n, p in parameters(host).items())
    assert all(torch.equal(state[key], tensor) for key, tensor in kept.items())
    with host.weights.applied(patch):
        assert any(not torch.equal(p, before[n]) for n, p in parameters(host).items())
    assert all(torch.equal(p, before[n]) for n, p in parameters(host).items())


def test_the_same_seed_gives_the_same_weights(name):
    hosts = [host_of(name), host_of(name)]
    for host in hosts:
        torch.manual_seed(3)
        run(host, make(name))
    first, second = map(parameters, hosts)
    assert all(torch.equal(p, second[n]) for n, p in first.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_models_dtype_and_device_are_kept(name, dtype):
    host = host_of(name, dtype=dtype)
    device = host.language_model.device
    run(host, make(name))
    assert {p.dtype for p in host.language_model.model.parameters()} == {dtype}
    assert {p.device for p in host.language_model.model.parameters()} == {device}


def test_a_turn_without_edits_changes_nothing(name):
    host, editor = host_of(name), make(name)
    before = parameters(host)
    state = editor.init(host)
    patch, after = editor.step(host, Turn(1, ()), state)
    host.weights.apply(patch)
    assert all(torch.equal(p, before[n]) for n, p in parameters(host).items())
    assert all(torch.equal(state[key], tensor) for key, tensor in after.items())


def test_a_run_resumed_from_disk_equals_an_unbroken_one(name, tmp_path):
    whole, broken = host_of(name), host_of(name)
    torch.manual_seed(3)
    run(whole, make(name))

    torch.manual_seed(3)
    progress = run(broken, make(name), EDITS[:8])
    save_file(progress.state, tmp_path / "state.safetensors")
    save_file(broken.weights.snapshot(), tmp_path / "weights.safetensors")
    resumed = host_of(name)
    resumed.weights.restore(load_file(tmp_path / "weights.safetensors"))
    progress.state = load_file(tmp_path / "state.safetensors")
    run(resumed, make(name), EDITS[8:], progress=progress, first=3)

    expected = parameters(whole)
    assert all(torch.equal(p, expected[n]) for n, p in parameters(resumed).items())


def test_a_turn_of_one_supervised_token_is_fine(name):
    host = host_of(name)
    short = Edit("What?", "1", subject="What")
    assert len(host.encode([(short.prompt, short.target)])[0].answer_ids) <= 2
    run(host, make(name), [short, *EDITS[:4], short], per_turn=1)
    assert all(torch.isfinite(p).all() for p in parameters(host).values())
