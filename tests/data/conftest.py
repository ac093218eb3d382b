"""Small files in every layout, and the real ones where they are present."""

import gzip
import json
import os
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path: text and bytes as they are, rows as a JSON array."""

    def _write(name, content, *, packed=False):
        if isinstance(content, (list, dict)):
            content = json.dumps(content, ensure_ascii=False)
        data = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if packed else data)
        return path

    return _write


@pytest.fixture
def real():
    """Find a real data file, or skip."""
    folder = Path(os.environ.get("ULTRAEDIT_DATA", Path(__file__).parents[3] / "shared" / "data"))

    def _real(name):
        if not (folder / name).exists():
            pytest.skip(f"real data file {name} is not at ../shared/data or $ULTRAEDIT_DATA")
        return folder / name

    return _real
