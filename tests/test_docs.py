"""What the pages say is true: their code runs, their links lead somewhere, nothing is missing."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
import textwrap
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest
import torch

import ultraedit as ue
from tests.editors import test_contract as contract
from tests.editors import test_registry as registry
from tests.editors.cases import CASES
from tests.tiny import ARCHITECTURES, tiny_model
from ultraedit.core.errors import ConfigError
from ultraedit.editors import EDITORS, EditorRow, make_editor
from ultraedit.evaluation.metrics import begins, exact_match, stops
from ultraedit.models import save

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CARD = ("Idea", "Needs", "Cost", "Parameters", "Differences from the released code", "Reference")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    fences = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", text, flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, name, code in fences if name == language]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Names that headings get, as on GitHub."""
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text("utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def tiny_folder(tmp_path):
    folder = tmp_path / "tiny"
    model = tiny_model("llama", layers=3)
    model.tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    save(model, folder)
    return folder


def edited_parameters(before: Path, after: Path) -> set[str]:
    old, new = (dict(ue.load(str(folder)).model.named_parameters()) for folder in (before, after))
    return {name for name, weight in old.items() if not torch.equal(weight, new[name])}


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_python_of_the_first_pages_edits_a_model_and_saves_it(
    page, tiny_folder, monkeypatch, capsys
):
    (code,) = blocks(read(page), "python")
    assert '"smollm2"' in code
    monkeypatch.chdir(tiny_folder.parent)
    exec(compile(code.replace('"smollm2"', repr(str(tiny_folder))), page, "exec"), {})
    assert capsys.readouterr().out
    (folder,) = re.findall(r'save\("(.+)"\)', code)
    changed = edited_parameters(tiny_folder, Path(folder))
    assert changed
    assert all("mlp.down_proj" in name for name in changed)


def test_the_example_runs_and_leaves_an_edited_model(tiny_folder, monkeypatch, capsys):
    out = tiny_folder.parent / "edited"
    monkeypatch.setattr(sys, "argv", ["edit_a_model.py", str(tiny_folder), str(out)])
    runpy.run_path(str(ROOT / "examples" / "edit_a_model.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "before:" in printed
    assert "agreement" in printed
    assert edited_parameters(tiny_folder, out)


@pytest.fixture
def descent(monkeypatch):
    """The editor of docs/add-an-editor.md, put where the page says it goes."""
    code, row, case = blocks(read("docs/add-an-editor.md"), "python")
    module = ModuleType("ultraedit.editors.descent")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "docs/add-an-editor.md", "exec"), module.__dict__)
    (entry,) = eval(row, {"EditorRow": EditorRow})
    assert entry.target == f"{module.__name__}:Descent"
    monkeypatch.setitem(EDITORS, entry.name, entry)
    for name, options in eval(f"{{{case}}}").items():
        monkeypatch.setitem(CASES, name, options)
    return entry.name


def test_the_editor_of_the_page_keeps_the_contract(descent, tmp_path):
    contract.test_every_registered_editor_has_a_row_here()
    for arch in ARCHITECTURES:
        contract.test_the_loss_on_the_edits_goes_down_on_every_architecture(descent, arch)
    contract.test_only_the_edited_modules_change(descent)
    contract.test_a_step_leaves_model_and_state_alone_and_revert_is_bit_exact(descent)
    contract.test_a_turn_without_edits_changes_nothing(descent)
    contract.test_a_run_resumed_from_disk_equals_an_unbroken_one(descent, tmp_path)
    registry.test_every_row_says_where_the_method_is_from(descent)


def test_the_editor_of_the_page_takes_its_option_as_text(descent):
    assert make_editor(descent, {"lr": "0.05"}).lr == 0.05
    with pytest.raises(ConfigError, match=r"lr must be a positive number, got 0\.0\."):
        make_editor(descent, {"lr": 0})


@pytest.mark.parametrize("name", sorted(EDITORS))
def test_every_editor_has_a_card_that_names_each_of_its_options(name):
    row = EDITORS[name]
    cards = re.split(r"^## ", without_code(read("docs/editors.md")), flags=re.MULTILINE)[1:]
    (card,) = (card for card in cards if card.splitlines()[0] == row.title)
    headings = re.findall(r"^### (.*)$", card, flags=re.MULTILINE)
    assert tuple(headings) == CARD
    table = re.findall(r"^\| `(\w+)` \|", card, flags=re.MULTILINE)
    assert table == [field.name for field in fields(row.load())]
    assert f"`{name}`" in card
    assert row.url in card


def test_the_table_of_differences_between_protocols_is_the_codes():
    from ultraedit.editors.ultraedit import PROTOCOLS

    rows = re.findall(
        r"^\| `(\w+)` \| `([\w-]+)` \| `([\w-]+)` \|", read("docs/method.md"), flags=re.MULTILINE
    )
    assert {name: paper for name, paper, _ in rows} == PROTOCOLS["paper"]
    assert {name: official for name, _, official in rows} == PROTOCOLS["official"]


def test_the_examples_of_an_exact_match_are_judged_as_the_glossary_says():
    answers = re.compile(r"^\| `(.*)` \| (yes|no) \| (yes|no) \| (yes|no) \|$", flags=re.MULTILINE)
    rows = answers.findall(read("docs/notation.md"))
    for judge, place in ((begins, 1), (exact_match, 2), (stops, 3)):
        assert {row[place] for row in rows} == {"yes", "no"}
        for row in rows:
            assert judge(row[0], ["Lyon"]) == (row[place] == "yes"), row


def test_every_path_in_the_map_of_the_code_exists():
    (tree,) = (b for b in blocks(read("docs/code-map.md"), "") if b.startswith("src/ultraedit/"))
    folder = ROOT
    for line in tree.splitlines():
        name = line.split()[0]
        path = folder / name if line.startswith(" ") else ROOT / name
        assert path.exists(), name
        if not line.startswith(" "):
            folder = path
    listed = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    for path in (ROOT / "src" / "ultraedit").iterdir():
        if path.name not in ("__pycache__", "__main__.py", "py.typed"):
            assert path.name in listed, f"{path.name} is missing in docs/code-map.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.real
@pytest.mark.slow
def test_the_readmes_python_prints_what_the_readme_says(smollm2, tmp_path, monkeypatch, capsys):
    (code,) = blocks(read("README.md"), "python")
    expected = read("README.md").partition(code)[2].split("```text\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == expected
    for fact in re.findall(r'ue\.Edit\("(.+)", "(.+)"\)', code):
        assert " ".join(fact) in expected


def test_the_readmes_table_of_results_is_that_of_its_record():
    page = read("README.md")
    record = json.loads(read("benchmarks/results/editors-zsre.json"))["rows"]
    rows = re.findall(r"^\| `([\w-]+)(?: --eta (\w+))?`[^|]*\|(.*)\|$", page, flags=re.MULTILINE)
    assert len(rows) >= 4
    for name, eta, cells in rows:
        row = record[f"{name} + {eta}" if eta else name]
        after, free = row["after"], row["after"]["generation"]
        chat = free.get("probes", {}).get("chat efficacy")
        shown = [
            f"{100 * free['efficacy']:.0f}",
            f"{100 * free['generalization']:.0f}",
            "" if chat is None else f"{100 * chat:.0f}",
            f"{100 * free['agreement']:.0f} / {100 * after['agreement']:.1f}",
            f"{after['perplexity']:.1f}",
            f"{100 * row['edit_seconds'] / row['edits']:.0f}",
        ]
        assert [cell.strip() for cell in cells.split("|")] == shown, name


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) <= 150


def sections_of_the_command_line() -> dict[str, str]:
    parts = re.split(r"^#+ (ultraedit.*)$", read("docs/cli.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands() -> list[str]:
    pages = [page for page in PAGES if page.name != "cli.md"]
    lines = [
        line
        for page in pages
        for block in blocks(page.read_text(encoding="utf-8"), "sh")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [line for line in lines if line.startswith("ultraedit ")]


def test_the_pages_show_commands():
    assert len(commands()) >= 5


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_pages_exists_with_its_options(line):
    words = shlex.split(line)
    sections = sections_of_the_command_line()
    command = max(
        (" ".join(words[:n]) for n in (2, 3) if " ".join(words[:n]) in sections),
        key=len,
        default="",
    )
    assert command, f"no such command: {line}"
    for word in words:
        if word.startswith("--"):
            assert f"- `{word}" in sections[command], f"{command} has no {word}"


def test_the_targets_of_the_contributing_page_are_those_of_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):.*##", read("Makefile"), flags=re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\bmake ([a-z-]+)", "\n".join(blocks(read(page), "sh"))):
            assert target in targets, f"{page}: make {target}"
