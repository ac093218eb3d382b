"""The search for MEMIT's target states: all edits at once, beside one at a time as published.

    python -m benchmarks.targets                # a few minutes on two cores
    python -m benchmarks.targets --edits 32     # more edits, nearer to a real turn

Both search the same CounterFact edits in the same model with the same settings and number of
steps. The published loop takes one edit after the other, runs its seven texts through the whole
model, logits at every token included, and lets autograd go back to the offset. Pairs are repeated
and the ratio is their median, so that a drifting machine weighs on both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import inputs, machine

ROOT = Path(__file__).parent.parent
MODULES = "layers.[4-8].mlp.down_proj"


def main() -> None:
    """Time both, compare what they find, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--edits", type=int, default=12)
    parser.add_argument("--steps", type=int, default=6, help="losses that are looked at")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--data", default=None, help="CounterFact file; default: ../shared/data")
    options = parser.parse_args()
    file = inputs.facts_file(options.data, "CounterFact", "counterfact_20k.json")
    result = compare(
        options.model, options.dtype, file, options.edits, options.steps, options.pairs
    )
    for name in ("batched_seconds", "published_seconds", "times_faster", "largest_difference"):
        print(f"{name:20} {result[name]:.4g}")
    import torch

    path = machine.write(f"targets{'-gpu' if torch.cuda.is_available() else ''}.json", result)
    print(f"Written to {path.relative_to(ROOT)}")


def compare(
    model: str, dtype: str, file: Path, edits: int, steps: int, pairs: int
) -> dict[str, Any]:
    """Load a model and search in it both ways."""
    from ultraedit.data import read
    from ultraedit.models import load

    facts = read(f"counterfact:{file}", limit=edits)
    figures = search_both_ways(load(model, dtype=dtype), MODULES, facts, steps, pairs)
    return {"model": model, "dtype": dtype, **figures}


def search_both_ways(
    language_model: Any, modules: str, facts: Sequence[Any], steps: int, pairs: int
) -> dict[str, Any]:
    """Search the same offsets both ways, a few times in turn.

    Args:
        language_model: The model; its tokenizer knows where its tokens are.
        modules: Pattern of the modules. The search is at the layer of the last.
        facts: Edits with their subjects.
        steps: Losses that are looked at.
        pairs: How often to repeat.
    """
    import torch

    from ultraedit.core.types import OffsetSearch
    from ultraedit.editors.memit import MEMIT
    from ultraedit.host.host import ModelHost

    host = ModelHost(language_model, [modules])
    editor = MEMIT()
    search = OffsetSearch(lr=0.5, steps=steps, weight_decay=1e-3, kl=0.0625, clamp=4.0, stop=0.0)
    path = list(host.modules)[-1]
    goals = editor.goals(facts, editor.init(host))
    layer = host._blocks.list[host.layer_number(path)]
    encoded = [host._goal(goal) for goal in goals]
    ours, theirs, apart = [], [], []
    for _ in range(pairs):
        begun = time.perf_counter()
        result = host.search_offsets(path, goals, search)
        _synchronize()
        middle = time.perf_counter()
        published = torch.stack(
            [published_offset(language_model.model, layer, goal, search) for goal in encoded]
        )
        _synchronize()
        ours.append(middle - begun)
        theirs.append(time.perf_counter() - middle)
        difference = (result.offsets - published).norm(dim=1) / published.norm(dim=1)
        apart.append(float(difference.max()))
    return {
        "threads": torch.get_num_threads(),
        "edits": len(facts),
        "texts_per_edit": len(encoded[0].prompts) + 1,
        "steps": steps,
        "batched_seconds": median(ours),
        "published_seconds": median(theirs),
        "times_faster": median(b / a for a, b in zip(ours, theirs, strict=True)),
        "ratios": [b / a for a, b in zip(ours, theirs, strict=True)],
        "largest_difference": max(apart),
    }


def published_offset(model: Any, layer: Any, goal: Any, search: Any) -> Any:
    """The published loop for one edit: whole passes over its padded texts, logits everywhere."""
    import torch

    rows = [*goal.prompts, goal.essence]
    ids, mask = _padded([row.item.input_ids for row in rows], next(model.parameters()).device)
    at = torch.tensor([row.at for row in rows])
    places = torch.arange(len(rows))
    state: dict[str, Any] = {"delta": None}

    def add(_: Any, __: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        if state["delta"] is None:
            state["h"] = hidden[0, rows[0].at].detach().float()
            state["delta"] = torch.zeros_like(state["h"], requires_grad=True)
        hidden = hidden.clone()
        hidden[places, at] += state["delta"].to(hidden.dtype)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = layer.register_forward_hook(add)
    adam = unedited = None
    try:
        for _ in range(1, search.steps):
            logs = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            logs = logs.float().log_softmax(-1)
            nll = torch.stack([_nll(logs[i], row.item) for i, row in enumerate(goal.prompts)])
            now = logs[-1, rows[-1].at]
            unedited = now.detach() if unedited is None else unedited
            divergence = (unedited.exp() * (unedited - now)).sum()
            delta, h = state["delta"], state["h"]
            pull = search.weight_decay * delta.norm() / h.norm() ** 2
            loss = nll.mean() + search.kl * divergence + pull
            adam = adam or torch.optim.Adam([delta], lr=search.lr)
            adam.zero_grad()
            loss.backward()
            adam.step()
            with torch.no_grad():
                delta *= (search.clamp * h.norm() / delta.norm()).clamp(max=1)
    finally:
        handle.remove()
    return state["delta"].detach()


def _nll(logs: Any, item: Any) -> Any:
    import torch

    first = len(item.prompt_ids) - 1
    tokens = torch.tensor(item.answer_ids, device=logs.device)
    return -logs[first : first + len(tokens)].gather(1, tokens.unsqueeze(1)).mean()


def _padded(sequences: Sequence[tuple[int, ...]], device: Any) -> tuple[Any, Any]:
    import torch

    length = max(map(len, sequences))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in sequences])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in sequences])
    return ids.to(device), mask.to(device)


def _synchronize() -> None:
    from ultraedit.lifelong.loop import synchronize

    synchronize()


if __name__ == "__main__":
    main()
