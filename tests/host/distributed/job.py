"""What two processes find, beside what one finds alone, as JSON for `test_ranks`."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from tests.editors.test_contract import EDITS, host_of, make
from ultraedit.core.errors import ConfigError
from ultraedit.core.types import Edit, Question, Turn, to_json, turns
from ultraedit.evaluation.probes import Probing
from ultraedit.evaluation.scoring import evaluate
from ultraedit.host import distributed
from ultraedit.host.distributed.shared_host import SharedHost
from ultraedit.host.host import ModelHost
from ultraedit.lifelong.loop import MemoryRecorder, run_turns

FACTS = [*EDITS, Edit("Who or what in the list comes last of all", "Z", subject="list")]
NAMES = ("ultraedit", "anchored", "ft-m", "memit", "malmen", "prune", "wise", "in-context")
"""One editor of each kind, and three whose edits are asked about in another form."""

LIMITS = [3 + n % 4 for n in range(len(FACTS))]


def weights(host: ModelHost) -> str:
    """Hash of every weight of the model."""
    digest = hashlib.sha256()
    for _, weight in sorted(host.language_model.model.named_parameters()):
        digest.update(weight.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def shared(name: str) -> tuple[SharedHost, distributed.Copies]:
    """The host that the contract suite takes for an editor, on all processes."""
    copies = distributed.Copies(host_of, name)
    plain = host_of(name)
    patterns, statistics = list(plain.modules), plain._statistics
    master = getattr(make(name), "master", "float32")
    return SharedHost(plain.language_model, patterns, master, statistics, copies), copies


def use(name: str, host: ModelHost) -> dict[str, Any]:
    """Three turns of an editor, the last shorter than there are processes, and some questions."""
    editor = make(name)
    progress = run_turns(host, editor, turns(FACTS, 8), MemoryRecorder())
    prompts = [fact.prompt for fact in FACTS]
    with host.viewed(editor, progress.state):
        viewed = host.predict(host.encode([(fact.prompt, fact.target) for fact in FACTS]))
        answers = host.answer(prompts, LIMITS)
    return {"predicted": viewed, "answers": answers, "changes": host.weights.snapshot()}


def compare(name: str) -> dict[str, Any]:
    """One editor on one process and on all."""
    alone = use(name, host_of(name))
    host, copies = shared(name)
    ours = use(name, host)
    with copies.gather(weights, [()] * (copies.size - 1)) as hashes:
        own = weights(host)
    size = max(1e-30, *(float(change.norm()) for change in alone["changes"].values()))
    apart = max(float((ours["changes"][p] - c).norm()) for p, c in alone["changes"].items())
    return {
        "hashes": [own, *hashes],
        "apart": apart / size,
        "size": size,
        "predicted": [ours["predicted"], alone["predicted"]],
        "answers": [ours["answers"], alone["answers"]],
    }


def signals() -> dict[str, float]:
    """How far the rows of all processes together are from those of one, and their order."""
    host, _ = shared("ultraedit")
    plain, found = host_of("ultraedit"), {}
    for tokens in ("answer", "all"):
        ours, alone = (h.signals(Turn(1, tuple(FACTS)), tokens) for h in (host, plain))
        for path, signal in alone.items():
            for part in ("keys", "grads", "segments", "supervised"):
                a, b = getattr(ours[path], part), getattr(signal, part)
                if b is not None:
                    key = f"{tokens} {part}"
                    apart = float((a.double() - b.double()).abs().max())
                    found[key] = max(found.get(key, 0.0), apart)
    return found


def trunk() -> dict[str, Any]:
    """Questions that are asked twice with a trunk in every process."""
    host, copies = shared("ultraedit")
    items = host.encode([(fact.prompt, fact.target) for fact in FACTS])
    plain = host.predict(items)
    host.use_trunk()
    twice = [host.predict(items), host.predict(items[::-1])[::-1]]
    with copies.gather(reused, [()] * (copies.size - 1)) as others:
        own = reused(host)
    host.drop_trunk()
    return {"same": [each == plain for each in twice], "reused": [own, *others]}


def reused(host: ModelHost) -> int:
    """How often a trunk had what it was asked for."""
    assert host.trunk is not None
    return host.trunk.reused


def probes() -> list[Any]:
    """What the probes find on one process and on all."""
    edits = [
        Edit(f"Where was {name} born?", "Paris", subject=name, locality=(Question(name, "Inn"),))
        for name in ("Ada", "Bob", "Eve", "Otto", "Ida")
    ]
    found = []
    for host in (host_of("ultraedit"), shared("ultraedit")[0]):
        probing = Probing(["few-shot", "reverse", "negation"], host.language_model.tokenizer, edits)
        scored = evaluate(host, edits, probing=probing)
        found.append([to_json(scored.scores), [*scored.answers]])
    return found


def fail(host: ModelHost, kind: str) -> None:
    """Fail as a copy may."""
    if kind == "user":
        raise ConfigError("This cannot be.")
    raise ValueError("a fault")


def failures() -> dict[str, Any]:
    """What becomes of errors, and whether the processes understand each other after one."""
    host, copies = shared("ultraedit")
    found = {}
    for kind in ("user", "fault"):
        try:
            with copies.gather(fail, [(kind,)] * (copies.size - 1)):
                pass
        except Exception as error:
            found[kind] = f"{type(error).__name__}: {error}"
    try:
        with copies.gather(weights, [()] * (copies.size - 1)):
            raise KeyError("ours")
    except KeyError as error:
        found["own"] = str(error)
    found["later"] = len(host.answer([FACTS[0].prompt], [2]))
    return found


def main() -> None:
    torch.set_num_threads(1)
    with distributed.joined():
        if not distributed.is_first():
            distributed.worker_loop()
            return
        found = {
            "editors": {name: compare(name) for name in NAMES},
            "signals": signals(),
            "trunk": trunk(),
            "failures": failures(),
            "probes": probes(),
            "size": distributed.size(),
        }
        Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
