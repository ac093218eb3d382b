"""One row per editor: the options under which the contract suite runs it on tiny models."""

from __future__ import annotations

from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "ultraedit": {"eta": "auto", "alpha": 2.0},
}
