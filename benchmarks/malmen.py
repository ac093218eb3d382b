"""Memory of MALMEN's training step for one module: ours beside autograd through a dense solve.

    python -m benchmarks.malmen

One random module of Llama-3-8B's size. Each form runs in a process of its own, whose peak
memory above what it held before is the measure. Both get the same keys, pseudo rows and gradient
at the change, the latter in its factors, as a batch of the judged prompts gives them; both return
the gradients at the pseudo rows, the step and the ridge. The dense form is what the released code
does: a d_in x d_in system, and the gradient at the change in full.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from benchmarks import machine

D_IN, D_OUT, ROWS, JUDGED = 14_336, 4_096, 340, 1_500
"""Llama-3-8B's `down_proj`; answer tokens of 100 edits; tokens of their judged prompts."""

LR, RIDGE = 1e-3, 1.0


def main() -> None:
    """Measure both forms and write ``results/malmen.json``."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    forms = {form: _in_its_own_process(form) for form in ("kernel", "dense")}
    ours, theirs = forms["kernel"], forms["dense"]
    result = {
        "d_in": D_IN,
        "d_out": D_OUT,
        "rows": ROWS,
        "judged_tokens": JUDGED,
        **forms,
        "times_leaner": theirs["peak_bytes"] / ours["peak_bytes"],
        "times_faster": theirs["seconds"] / ours["seconds"],
        # The derivative by the ridge is so small here that float32 has no digit of it in the
        # dense form; tests compare it in float64.
        "relative_difference": {
            name: abs(ours["sums"][name] - value) / abs(value)
            for name, value in theirs["sums"].items()
            if name != "log_ridge"
        },
    }
    print(machine.write("malmen.json", result).read_text())


def _in_its_own_process(form: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.malmen", form]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(form: str) -> dict[str, Any]:
    """Peak memory and time of one form, and sums of its gradients that tell them apart."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    # Keys of a real layer are far from white: a few directions hold most of their length.
    keys = draw(ROWS, D_IN) / 8 + draw(ROWS, 1) * draw(1, D_IN) / 4
    pseudo = draw(ROWS, D_IN + D_OUT)
    inputs, outputs = draw(JUDGED, D_IN) / 8, draw(JUDGED, D_OUT) / 100
    torch.linalg.cholesky(torch.eye(2))  # loads the library before the count begins
    machine.reset_peak()
    before, start = machine.peak_bytes(), time.perf_counter()
    step = _kernel if form == "kernel" else _dense
    at_pseudo, at_lr, at_log_ridge = step(keys, pseudo, inputs, outputs)
    seconds, peak = time.perf_counter() - start, machine.peak_bytes() - before
    sums = {
        "pseudo_keys": float(at_pseudo[:, :D_IN].double().norm()),
        "pseudo_grads": float(at_pseudo[:, D_IN:].double().norm()),
        "lr": float(at_lr),
        "log_ridge": float(at_log_ridge),
    }
    return {"peak_bytes": peak, "seconds": seconds, "sums": sums}


def _kernel(keys: Any, pseudo: Any, inputs: Any, outputs: Any) -> tuple[Any, Any, Any]:
    from ultraedit.editors.families.hypernetwork import Pulled
    from ultraedit.editors.malmen import MALMEN

    editor = MALMEN()
    editor.change("layer", keys, pseudo, RIDGE)
    pull = (editor.probe(keys, pseudo).left @ inputs.T) @ outputs
    gradients = editor.pull_back("layer", keys, pseudo, Pulled(pull), LR, RIDGE)
    return gradients.pseudo, gradients.lr, gradients.log_ridge


def _dense(keys: Any, pseudo: Any, inputs: Any, outputs: Any) -> tuple[Any, Any, Any]:
    import torch

    pseudo = pseudo.requires_grad_()
    lr, log_ridge = torch.tensor(LR).requires_grad_(), torch.tensor(RIDGE).log().requires_grad_()
    k, g = pseudo[:, :D_IN], pseudo[:, D_IN:]
    targets = -lr * (keys * k).sum(dim=1, keepdim=True) * g
    system = keys.T @ keys + log_ridge.exp() * torch.eye(D_IN)
    change = torch.linalg.solve(system, keys.T @ targets)
    change.backward(inputs.T @ outputs)
    return pseudo.grad, lr.grad, log_ridge.grad


if __name__ == "__main__":
    main()
