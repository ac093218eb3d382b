"""What a benchmark must say about where it ran, and how it measures memory."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def describe() -> dict[str, Any]:
    """Machine, versions, commit and time of a measurement."""
    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    changed = subprocess.run(
        ["git", "status", "--porcelain", "src", "benchmarks/*.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "system": platform.system(),
        "versions": {name: version(name) for name in ("ultraedit", "torch", "transformers")}
        | {"python": platform.python_version()},
        "commit": commit.stdout.strip() + ("+changes" if changed.stdout.strip() else ""),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def write(name: str, result: dict[str, Any]) -> Path:
    """Write a result under ``benchmarks/results`` with the machine it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    text = json.dumps({"machine": describe(), **result}, indent=2) + "\n"
    path.write_text(text, encoding="utf-8")
    return path


def reset_peak() -> None:
    """Forget the peak memory so far, so that loading the model is not counted."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # Not Linux, or not allowed: the peak then includes loading, for everyone alike.


def peak_bytes() -> int:
    """Peak memory since `reset_peak`: of the GPU where there is one, else resident."""
    import torch

    from ultraedit.lifelong.loop import peak_memory

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return peak_memory()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
