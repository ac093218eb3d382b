"""Draw a terminal with what the first tutorial prints: ``python docs/make_picture.py``.

The commands and their outputs are those of `docs/tutorials/company-facts.md`, which
`docs/make_outputs.py` keeps up to date by running them.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

DOCS = Path(__file__).parent
PAGE = DOCS / "tutorials" / "company-facts.md"
PICTURE = DOCS / "assets" / "terminal.svg"
WIDTH = 92

EDIT, ASK = "ultraedit edit ", "ultraedit ask company/model "


def shown() -> list[tuple[str, str]]:
    """The commands of the picture, and what they print.

    Raises:
        LookupError: If the page has no such command with its output.
    """
    text = PAGE.read_text(encoding="utf-8")
    pairs = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    chosen = []
    for start in (EDIT, ASK):
        command, output = next((pair for pair in pairs if pair[0].startswith(start)), ("", ""))
        if not output.strip():
            raise LookupError(f"{PAGE} has no output of {start!r}: run make tutorials.")
        chosen.append((command.strip(), output.rstrip()))
    return chosen


def draw(pairs: list[tuple[str, str]]) -> str:
    """The picture, without fonts from the network."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    for command, output in pairs:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        first, *_, last = output.split("\n\n") if command.startswith(EDIT) else (output, "")
        console.print(Text("\n\n...\n\n".join(filter(None, (first, last.strip()))) + "\n"))
    svg = console.export_svg(title="ultraedit", theme=MONOKAI)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    PICTURE.write_text(draw(shown()), encoding="utf-8")
