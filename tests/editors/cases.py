"""One row per editor: the options under which the contract suite runs it on tiny models."""

from __future__ import annotations

from typing import Any

FAST: dict[str, Any] = {"steps": 12, "lr": 1.0, "clamp": 10.0, "contexts": 1}
"""A short search with long steps, for the MEMIT family."""

CASES: dict[str, dict[str, Any]] = {
    "ultraedit": {"eta": "auto", "alpha": 2.0},
    "anchored": {"anchor_tokens": 2},
    "mend": {"alpha": 2.0},
    "mend-original": {"alpha": 2.0},
    "malmen": {"alpha": 2.0},
    "rledit": {"alpha": 2.0},
    "stableedit": {"eta": "auto", "alpha": 2.0},
    "simie": {"damping": 0.1, "base.eta": "auto", "base.alpha": 2.0},
    "memit": {"ridge": 0.1, **FAST},
    "alphaedit": {"ridge": 1e-4, "kept": 0.8, **FAST},
    "rect": {"keep": 0.9, "base.ridge": 0.1, **{f"base.{k}": v for k, v in FAST.items()}},
    "prune": {"base.ridge": 0.1, **{f"base.{k}": v for k, v in FAST.items()}},
    "ft-l": {"lr": 1e-2, "epochs": 3},
    "ft-m": {"lr": 1e-2, "epochs": 3},
    "ft-bf": {"lr": 2e-2, "epochs": 6, "batch_size": 4},
    "lora": {"lr": 1e-2, "epochs": 6, "rank": 4, "batch_size": 4},
    "wise": {
        "edit_lr": 6.0,
        "n_iter": 8,
        "mask_ratio": 0.6,
        "contexts": 1,
        "beta": 2.0,
        "alpha": 0.5,
        "gamma": 1.0,
    },
    "in-context": {},
}

LAYERS: dict[str, str] = dict.fromkeys(("memit", "alphaedit", "rect", "prune"), "0-1") | {
    "wise": "1"
}
"""Which of the three layers an editor changes, where not the upper two."""
