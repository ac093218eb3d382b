"""What the package is on machines and Pythons other than this one."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_nothing_imports_resource_where_there_is_none_as_on_windows():
    code = (
        "import sys; sys.modules['resource'] = None\n"
        "import ultraedit.cli.main\n"
        "from ultraedit.lifelong.loop import peak_memory\n"
        "from ultraedit.tools.plan.estimate import runtime_bytes\n"
        "print(peak_memory(), runtime_bytes() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 True\n"


def test_the_version_is_the_same_wherever_it_is_written():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (version,) = re.findall(r'^version = "([\d.]+)"$', project, flags=re.MULTILINE)
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_the_package_says_that_it_is_typed():
    assert (files("ultraedit") / "py.typed").is_file()


def test_the_constraints_have_one_version_of_a_package_for_each_python():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = [line.partition("#")[0].strip() for line in lines if line and line[0] != "#"]
    transformers = [line for line in pinned if line.startswith("transformers==")]
    assert all("python_version" in line for line in transformers)
    assert len(transformers) == 2


def test_the_page_that_tells_how_to_install_has_every_extra():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    names = set(re.findall(r"^(\w+) = \[", extras, flags=re.MULTILINE)) - {"dev"}
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/index.md").read_text("utf-8"), re.MULTILINE)
    assert names == set(told)
