"""One row per editor: the options under which the contract suite runs it on tiny models."""

from __future__ import annotations

from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "ultraedit": {"eta": "auto", "alpha": 2.0},
    "mend": {"alpha": 2.0},
    "mend-original": {"alpha": 2.0},
    "malmen": {"alpha": 2.0},
    "rledit": {"alpha": 2.0},
    "stableedit": {"eta": "auto", "alpha": 2.0},
    "ft-l": {"lr": 1e-2, "epochs": 3},
    "ft-m": {"lr": 1e-2, "epochs": 3},
    "ft-bf": {"lr": 2e-2, "epochs": 6, "batch_size": 4},
}
