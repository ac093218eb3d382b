"""docs/extend.md does what it says: its recipes are carried out on a copy, and used there."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.conftest import FACTS, lines
from tests.tiny import tiny_model
from ultraedit.models import save

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
RECIPES = ("A metric", "An export format", "A run setting", "An editor", "A data format")
MOST = 20
"""Lines of code that a recipe has at most, its file and its row together."""

_DRIVER = """
import json, sys, traceback
from typer.testing import CliRunner
from ultraedit.cli.main import app
said = []
for args in json.load(sys.stdin):
    done = CliRunner().invoke(app, args)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        traceback.print_exception(done.exception)
    said.append([done.exit_code, done.stdout, done.stderr])
print(json.dumps(said))
"""


class Part(NamedTuple):
    """A block of code of the page, and where the page says it goes."""

    path: str
    where: str | None
    """``above`` or ``at the end of`` a name; None for a new file."""

    name: str | None
    code: str


FREE_ALONE = Part(
    "src/ultraedit/evaluation/metrics/registry.py",
    "at the end of",
    "METRICS",
    'Metric(name="words", question="efficacy", meaning="exact matches", free=exact),\n',
)
"""A metric that has a value in free generation alone."""


class Done(NamedTuple):
    """What a command of the extended copy came to."""

    code: int
    out: str
    err: str


def parts(recipe: str) -> list[Part]:
    """The blocks of a section of the page."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (text,) = (each for each in section if each.startswith(f"{recipe}\n"))
    found = re.findall(
        r"^(?:New file `([^`]+)`|In `([^`]+)`, (above|at the end of) `(\w+)`):\n\n"
        r"```python\n(.*?)^```$",
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    assert len(found) == text.count("```python")
    return [
        Part(new or path, where or None, name or None, code)
        for new, path, where, name, code in found
    ]


def put(part: Part, root: Path) -> None:
    """Do one step of a recipe."""
    path = root / part.path
    if part.where is None:
        assert not path.exists()
        path.write_text(part.code, encoding="utf-8")
        return
    source = path.read_text(encoding="utf-8")
    (node,) = (each for each in ast.parse(source).body if part.name in _names(each))
    rows = source.splitlines(keepends=True)
    if part.where == "above":
        rows.insert(node.lineno - 1, f"{part.code}\n\n")
    elif isinstance(node, ast.ClassDef):
        last = [each for each in node.body if isinstance(each, ast.AnnAssign)][-1]
        rows.insert(last.end_lineno, "".join(f"    {row}\n" for row in part.code.splitlines()))
    else:
        tables = (each for each in ast.walk(node) if isinstance(each, ast.Tuple))
        table = next(each for each in tables if isinstance(each.elts[0], ast.Call))
        line, column = table.end_lineno - 1, table.end_col_offset - 1
        rows[line] = rows[line][:column] + part.code + rows[line][column:]
    path.write_text("".join(rows), encoding="utf-8")


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [each.id for each in targets if isinstance(each, ast.Name)]


class Copy:
    """A copy of the package with all recipes done, and a folder to work in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / "work"
        for name in ("src", "tests"):
            shutil.copytree(
                ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "fixtures")
            )
        for recipe in RECIPES:
            for part in parts(recipe):
                put(part, root)
        put(FREE_ALONE, root)
        self.work.mkdir()
        save(tiny_model("llama"), self.work / "tiny")
        (self.work / "facts.jsonl").write_text(lines(FACTS))

    def python(self, *args: str, text: str = "", folder: Path | None = None) -> str:
        """Run Python on the copy."""
        env = {name: value for name, value in os.environ.items() if "ULTRAEDIT" not in name}
        env |= {"PYTHONPATH": str(self.root / "src"), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, *args],
            input=text,
            capture_output=True,
            text=True,
            cwd=folder or self.work,
            env=env,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commands(self, *commands: str) -> list[Done]:
        """Run commands of the copy, one after the other, in one process."""
        said = self.python("-c", _DRIVER, text=json.dumps([each.split() for each in commands]))
        return [Done(*each) for each in json.loads(said.splitlines()[-1])]

    def summary(self, run: str) -> dict[str, Any]:
        return json.loads((self.work / run / "summary.json").read_text())


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Copy:
    return Copy(tmp_path_factory.mktemp("extended"))


def test_every_recipe_is_at_most_twenty_lines_of_code():
    headings = re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    assert tuple(headings) == RECIPES
    for recipe in RECIPES:
        code = "".join(part.code for part in parts(recipe))
        assert 0 < sum(bool(line.strip()) for line in code.splitlines()) <= MOST, recipe


def test_every_recipe_touches_one_table_and_at_most_one_new_file():
    for recipe in RECIPES:
        steps = parts(recipe)
        assert len({part.path for part in steps if part.where is not None}) == 1, recipe
        assert sum(part.where is None for part in steps) <= 1, recipe


def test_the_metric_of_the_page_is_scored_shown_guarded_and_compared(extended):
    run = "run --model tiny --data facts.jsonl --edits-per-turn 2 --set eta=auto"
    one, two, guarded, side, help_page, alone, refused = extended.commands(
        f"{run} --out one --evaluate-every 1 --score-newest 2 --control-questions 3 --json",
        f"{run} --out two --free-answers 0 --control-questions 0 --limit 4",
        f"{run} --out guarded --evaluate-every 1 --control-questions 0 --guard whole=1.01",
        "compare one two --json",
        "run --help",
        "eval tiny --data facts.jsonl --free-answers 0 --json",
        f"{run} --out refused --control-questions 0 --guard words=0.1",
    )
    assert [each.code for each in (one, two, guarded, side, help_page, alone)] == [0] * 6
    summary = extended.summary("one")
    value = summary["after"]["whole"]
    assert 0 <= value <= 1
    assert json.loads(one.out)["after"]["whole"] == value
    assert "whole" not in summary["after"]["generation"]
    assert list(summary["after"])[:5] == [
        "efficacy",
        "generalization",
        "specificity",
        "agreement",
        "whole",
    ]
    assert summary["newest"]["scores"]["whole"] is not None
    assert 0 <= json.loads(alone.out)["scores"]["whole"] <= 1
    records = (extended.work / "one" / "records.jsonl").read_text().splitlines()
    checks = [row for row in map(json.loads, records) if row["kind"] == "checkpoint"]
    assert [row["scores"]["whole"] for row in checks][-1] == value
    assert len(checks[-1]["by_turn"]["whole"]) == 3
    for page in ("report.md", "report.html"):
        report = (extended.work / "one" / page).read_text()
        assert "whole: all tokens of the new answers are the model&#39;s top choices." in (
            report.replace("'", "&#39;").replace("&#x27;", "&#39;")
        )
        assert "newest whole" in report
    assert f"whole {100 * value:.1f}%" in summary["verdict"]["forced"]
    assert re.search(r"^\W*whole\W", two.out, flags=re.MULTILINE)
    assert "whole is " in extended.summary("guarded")["remarks"]["guard"]
    assert extended.summary("guarded")["turns"] == 1
    assert json.loads(side.out)["runs"][0]["forced"]["whole"] == value
    assert "whole" in help_page.out
    assert "words" not in re.search(r"--guard .*?repeated", help_page.out, re.DOTALL)[0]
    assert refused.code == 2
    assert "words has a value in free generation alone" in refused.err


def test_the_export_format_of_the_page_writes_and_reads_its_file(extended):
    (extended.work / "list.json").write_text("[]")
    (extended.work / "broken.json").write_text("{")
    (extended.work / "cut.json").write_text('{"ultraedit": "norms"')
    run, done, bare, seen, other, help_page, *foreign = extended.commands(
        "run --model tiny --data facts.jsonl --out exported --set eta=auto --free-answers 0 "
        "--control-questions 0",
        "export exported --as norms --out norms.json --json",
        "export exported --as norms --out out_norms",
        "inspect out_norms --run exported --json",
        "export exported --as norms --out other.json --rank 4",
        "export --help",
        *(f"inspect {each}.json" for each in ("exported/summary", "list", "broken", "cut")),
    )
    assert [run.code, done.code, bare.code, seen.code, help_page.code] == [0] * 5
    assert [each.code for each in (other, *foreign)] == [2] * 5
    assert all("Error: " in each.err and "Traceback" not in each.err for each in foreign)
    assert "The format norms cannot read cut.json: JSONDecodeError" in foreign[-1].err
    norms = json.loads((extended.work / "norms.json").read_text())["norms"]
    assert norms
    assert all(norm > 0 for norm in norms.values())
    assert json.loads(done.out)["norms"] == norms
    assert json.loads(seen.out)["kind"] == "norms"
    assert json.loads(seen.out)["holds"] == norms
    assert json.loads(seen.out)["about"]["editor"] == "ultraedit"
    assert json.loads(seen.out)["as_written"] is True
    assert "--rank is for --as lora; --as norms does not take it" in other.err
    assert "norms: the size of each change" in " ".join(help_page.out.replace("│", " ").split())


def test_the_setting_of_the_page_is_an_option_a_key_and_on_record(extended):
    run = "run --model tiny --data facts.jsonl --free-answers 0 --control-questions 0"
    (extended.work / "note.toml").write_text('note = "kept"\n')
    given, read, help_page = extended.commands(
        f"{run} --out given --note given", f"{run} --out read --config note.toml", "run --help"
    )
    assert [given.code, read.code, help_page.code] == [0, 0, 0]
    for folder, note in (("given", "given"), ("read", "kept")):
        config = json.loads((extended.work / folder / "config.json").read_text())
        assert config["settings"]["note"] == note
    assert "A remark that is kept with the run." in " ".join(help_page.out.split())


def test_the_editor_of_the_page_runs_is_reverted_exported_and_planned(extended):
    run = "run --model tiny --data facts.jsonl --editor fading --set lr=1 --edits-per-turn 2"
    rest = "--free-answers 0 --control-questions 0"
    made, back, again, export, diff, plan, listed = extended.commands(
        f"{run} {rest} --out faded",
        "revert faded --edit 5 --json",
        f"{run} {rest} --out shorter --limit 4",
        "export faded --as delta --out faded.safetensors",
        "diff faded.safetensors shorter --json",
        "plan tiny --editor fading --json",
        "editors show fading --json",
    )
    done = (made, back, again, export, diff, plan, listed)
    assert [each.code for each in done] == [0] * len(done), [each.err for each in done]
    scores = extended.summary("faded")
    assert scores["after"]["efficacy"] > 0.5 > scores["before"]["efficacy"]
    assert len(json.loads(back.out)["taken_out"]) == 1
    # Without the turn of the last fact, what lies beside the weights is that of the first four.
    modules = json.loads(diff.out)["modules"]
    assert modules
    assert all(each["relative"] < 1e-6 for each in modules), modules
    assert json.loads(plan.out)["kept_beyond"]["fading steps"] > 0
    assert [each["name"] for each in json.loads(listed.out)["options"]] == ["lr"]


def test_the_editor_of_the_page_keeps_the_contract_of_all_editors(extended):
    cases = extended.root / "tests" / "editors" / "cases.py"
    source = cases.read_text()
    (row,) = re.findall(r'`("fading": {.*},)`', PAGE)
    cases.write_text(
        source.replace('    "in-context": {},\n', f'    "in-context": {{}},\n    {row}\n')
    )
    said = extended.python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")),
        *(f"--rootdir={extended.root}", "tests/editors/test_contract.py"),
        *("tests/editors/test_registry.py", "-k", "fading or every_registered"),
        folder=extended.root,
    )
    assert re.search(r"\d+ passed|\[100%\]", said), said


def test_the_data_format_of_the_page_is_read(extended):
    rows = [{"q": "What is the native language of Ada?", "a": "Dutch"}, {"q": "Who?", "a": "Bob"}]
    (extended.work / "pairs.jsonl").write_text(lines(rows))
    check, listed, shown, run = extended.commands(
        "data check pairs:pairs.jsonl --json",
        "data list --json",
        "data show pairs --json",
        "run --model tiny --data pairs:pairs.jsonl --out paired --set eta=auto --free-answers 0 "
        "--control-questions 0",
    )
    assert [check.code, listed.code, shown.code, run.code] == [0, 0, 0, 0]
    assert json.loads(check.out)["rows"] == 2
    assert "pairs" in [row["name"] for row in json.loads(listed.out)]
    assert json.loads(shown.out)["keys"] == ["q", "a"]
    assert extended.summary("paired")["edits"] == 2
