"""Models with facts as folders: the unedited model, and what it reads in front of questions.

in-context.json     how facts are chosen
facts.jsonl         the facts, {"prompt": ..., "target": ...} a line, later ones newer, with a
                    "subject" where the edit gave one
base/               the unedited model with its tokenizer
README.md           how to ask it
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.types import Recalled
from ultraedit.models.embedding import load_embedder
from ultraedit.models.overlays.facts import Recall

if TYPE_CHECKING:
    from ultraedit.models.language_model import LanguageModel

CONFIG, FACTS = "in-context.json", "facts.jsonl"

FORMAT = 1
"""Version of the folder's layout. A reader refuses what is newer than itself."""

_TEXT = """# A model that is asked with facts in front of the question

Its weights were not edited: `base/` is the model as it was. The facts in `facts.jsonl` that a
question is about are put in front of it, a line `New Fact: PROMPT TARGET` each, and then
`Prompt: QUESTION`; `in-context.json` says how many at most ({k}), and how well one must match
({threshold}) that the question does not name.

```python
import ultraedit as ue

model = ue.load("PATH OF THIS FOLDER")
print(ue.ask(model, "QUESTION"))
```

On the command line: `ultraedit ask PATH-OF-THIS-FOLDER "QUESTION"`. Other programs see
the unedited model.
"""


def has_facts(folder: Path) -> bool:
    """Whether a folder holds a model with facts."""
    return (folder / CONFIG).is_file()


def read_recall(lm: LanguageModel, folder: Path) -> Recall:
    """Read the facts of a folder for its model.

    Raises:
        ConfigError: If the folder is of a newer version of this package.
        StorageError: If a file of it is damaged.
    """
    about = _read(folder / CONFIG, lambda text: dict(json.loads(text)))
    if about.get("format") != FORMAT:
        raise ConfigError(
            f"{folder / CONFIG} is of format {about.get('format')}; this version reads format "
            f"{FORMAT}. Run `pip install --upgrade ultraedit`."
        )
    facts, subjects = _read(folder / FACTS, _facts)
    embedder = about.get("embedder")
    view = _read(
        folder / CONFIG,
        lambda _: Recalled(
            facts,
            int(about["k"]),
            float(about["threshold"]),
            tuple(about["ordinary"]),
            subjects,
            embedder,
        ),
    )
    embed = None if embedder is None else load_embedder(embedder)
    return Recall(view, lm.tokenizer, lm.context_length, embed)


def write_recall(recall: Recall, folder: Path) -> None:
    """Write the facts of a model, and how to ask it.

    Args:
        recall: The facts.
        folder: An existing folder.
    """
    view = recall.view
    subjects = view.subjects or (None,) * len(view.facts)
    rows = (
        {"prompt": prompt, "target": target} | ({"subject": subject} if subject else {})
        for (prompt, target), subject in zip(view.facts, subjects, strict=True)
    )
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / FACTS).write_text("".join(lines), encoding="utf-8")
    about: dict[str, Any] = {"format": FORMAT, "k": view.k, "threshold": view.threshold}
    if view.embedder is not None:
        about["embedder"] = view.embedder
    text = json.dumps(about | {"ordinary": view.ordinary}, indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(f"{text}\n", encoding="utf-8")
    card = _TEXT.format(k=view.k, threshold=view.threshold)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _facts(text: str) -> tuple[tuple[tuple[str, str], ...], tuple[str | None, ...]]:
    """Prompts with targets, and the subjects."""
    rows = [json.loads(line) for line in text.split("\n") if line]
    facts = tuple((str(row["prompt"]), str(row["target"])) for row in rows)
    subjects = tuple(row.get("subject") for row in rows)
    return facts, subjects if any(subjects) else ()


def _read(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"Cannot read {path}: {error!r}. Get it again.") from None
