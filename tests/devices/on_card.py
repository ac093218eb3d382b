"""Run every editor on a pretended card and on the CPU: ``python -m tests.devices.on_card``.

Prints an object of JSON: by name of a check the fault that it ended with, or null.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from tests.devices.card import cards
from tests.editors.cases import CASES
from tests.editors.test_contract import EDITS, host_of, make, run
from ultraedit.core.types import Question
from ultraedit.editors import EDITORS
from ultraedit.evaluation.monitors.locality import Locality
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.loop import norms
from ultraedit.models import modules as module_checks
from ultraedit.tools.doctor.smoke import smoke_test

CARD = torch.device("card", 0)
OWN = str(Path("src", "ultraedit"))
ASKED = [
    replace(edit, rephrases=(f"{edit.prompt}?",), locality=(Question("Where is it?", "Paris"),))
    for edit in EDITS[:2]
]

# A weight of the card is no `nn.Parameter` by its type, which is how quantised ones are known.
module_checks.why_not = lambda *_: None


def on_card(name: str, dtype: torch.dtype = torch.float32) -> ModelHost:
    """A host whose model is on the first card."""
    plain = host_of(name, dtype=dtype)
    plain.language_model.model.to(CARD)
    return again(plain, name)


def spread(name: str) -> ModelHost:
    """A host whose last layer, norm and head are on another device than the rest.

    As a device map has them; the other device is the CPU, since torch's spare backend has a thread
    for the backward pass of its first card alone.
    """
    plain = host_of(name)
    model = plain.language_model.model.to(CARD)
    for part in (model.model.layers[2], model.model.norm, model.lm_head):
        part.to("cpu")
        part.register_forward_pre_hook(_moved, with_kwargs=True)
    return again(plain, name)


def _moved(module: nn.Module, args: Any, kwargs: Any) -> Any:
    """Bring what a part of the model is given to its card, as accelerate does."""
    place = next(module.parameters()).device
    move = lambda each: each.to(place) if isinstance(each, torch.Tensor) else each  # noqa: E731
    return tree_map(move, args), tree_map(move, kwargs)


def again(plain: ModelHost, name: str) -> ModelHost:
    """A host of the model of another, which has moved since."""
    master = getattr(make(name), "master", "float32")
    return ModelHost(plain.language_model, list(plain.modules), master, plain._statistics)


def weights(host: ModelHost) -> dict[str, torch.Tensor]:
    return {path: host.weights.weight(path).cpu() for path in host.modules}


def edits_alike(name: str, make_host: Callable[[str], ModelHost]) -> None:
    """Two turns on cards write what they write on the CPU, and score as they do."""
    scored = []
    for host in (make_host(name), host_of(name)):
        torch.manual_seed(0)
        places = {n: p.device for n, p in host.language_model.model.named_parameters()}
        progress = run(host, make(name), EDITS[:4], per_turn=2)
        with host.viewed(make(name), progress.state):
            scored.append((weights(host), evaluate(host, ASKED, free_answers=1).scores))
        assert places == {n: p.device for n, p in host.language_model.model.named_parameters()}
    (ours, our_scores), (theirs, their_scores) = scored
    for path, weight in ours.items():
        torch.testing.assert_close(weight, theirs[path], rtol=1e-3, atol=1e-4)
    assert our_scores == their_scores, (our_scores, their_scores)


def edits_in_bfloat16(name: str) -> None:
    """Nothing meets what is on another device. Attention takes another kernel on the CPU, so the
    weights are not those of the CPU to more digits than bfloat16 has."""
    host = on_card(name, torch.bfloat16)
    progress = run(host, make(name), EDITS[:4], per_turn=2)
    with host.viewed(make(name), progress.state):
        evaluate(host, ASKED, free_answers=1)


def goes_on_elsewhere(name: str) -> None:
    """A state that was saved on another machine is taken up, from the CPU to the card and back."""
    editor = make(name)
    for first, then in ((host_of(name), on_card(name)), (on_card(name), host_of(name))):
        progress = run(first, editor, EDITS[:2], per_turn=2)
        then.weights.restore({path: c.cpu() for path, c in first.weights.changes.items()})
        progress.state = {key: each.cpu() for key, each in progress.state.items()}
        before = weights(then)
        run(then, editor, EDITS[2:4], per_turn=2, progress=progress, first=2)
        if EDITORS[name].beside is None:
            assert any(not torch.equal(w, before[p]) for p, w in weights(then).items())


def keeps_a_trunk(make_host: Callable[[str], ModelHost]) -> None:
    """What lies below the edited layers is kept and gone on from, in memory and in a file."""
    for budget in (2**20, 0):
        host, plain = make_host("ultraedit"), host_of("ultraedit")
        host.use_trunk(budget_bytes=budget)
        items = host.encode([(edit.prompt, edit.target) for edit in EDITS])
        assert host.trunk is not None and host.trunk.works_for(items)
        for _ in range(2):
            assert host.predict(items) == plain.predict(items)
        host.drop_trunk()


def watches(make_host: Callable[[str], ModelHost]) -> None:
    """What the monitors look at is read, and the same as on the CPU."""
    seen = [
        (Locality(host, ASKED).measure(), norms(host), host.loss(host.encode([("Who", "it was")])))
        for host in (make_host("ultraedit"), host_of("ultraedit"))
    ]
    assert repr(seen[0]) == repr(seen[1]), seen


def examines() -> None:
    """`doctor` edits a model of the card as a test."""
    outcome = smoke_test(on_card("ultraedit").language_model, ["layers.[1-2].mlp.down_proj"])
    assert outcome.fault is None, outcome.fault


def refuses() -> None:
    """What CUDA refuses is refused, or the other checks would show nothing."""
    card, other = torch.ones(3, 3, device=CARD), torch.ones(3, 3)
    weight = torch.ones(3, 3, device=CARD, requires_grad=True)
    bad: list[Callable[[], object]] = [
        lambda: card + other,
        lambda: card @ other,
        lambda: torch.cat([card, other]),
        lambda: card + torch.ones(3, 3, device=torch.device("card", 1)),
        lambda: other[torch.tensor([0], device=CARD)],
        lambda: torch.randn(3, 3, device=CARD, generator=torch.Generator()),
        lambda: card.addmm_(other, other),
        lambda: torch.nn.functional.cross_entropy(card, torch.tensor([0, 1, 2])),
        lambda: ((weight @ card).sum() * 2).backward(torch.ones(())) or card + other,
    ]
    for place, attempt in enumerate(bad):
        try:
            attempt()
        except RuntimeError:
            continue
        raise AssertionError(f"number {place} went through")
    assert weight.grad is not None and weight.grad.device == CARD
    assert (card * 2).cpu().equal(other * 2)
    assert card[torch.tensor([0, 2])].device == CARD  # as CUDA does
    assert card.sum().item() == 9 and (card + torch.tensor(1.0)).sum().item() == 18


def checks() -> Iterator[tuple[str, Callable[[], None]]]:
    for name in sorted(CASES):
        yield f"{name} one-card", partial(edits_alike, name, on_card)
        yield f"{name} two-devices", partial(edits_alike, name, spread)
        yield f"{name} bfloat16", partial(edits_in_bfloat16, name)
        yield f"{name} elsewhere", partial(goes_on_elsewhere, name)
    for place in (on_card, spread):
        yield f"trunk {place.__name__}", partial(keeps_a_trunk, place)
        yield f"monitors {place.__name__}", partial(watches, place)
    yield "doctor", examines
    yield "refusals", refuses


def main() -> None:
    chosen = sys.argv[1:]
    faults: dict[str, str | None] = {}
    for name, check in checks():
        if chosen and not {name, *name.split()} & set(chosen):
            continue
        try:
            with cards():
                check()
            faults[name] = None
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)[::-1]
            own = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if OWN in f.filename]
            faults[name] = f"{type(error).__name__}: {str(error)[:300]} at {' < '.join(own[:4])}"
    print(json.dumps(faults, indent=1))


if __name__ == "__main__":
    main()
