"""Tasks over local files, in the words of the harness's own tasks of the same name.

The harness takes its rows from the network. Here the rows come from a folder, and everything
else from the harness: its questions, the wording of its answers and its scoring.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ultraedit.core.errors import ConfigError, DataError

Row = dict[str, Any]

METRIC = "acc"
"""What is reported where a task has several scores."""

FOLDER = "general"
"""Folder of the tasks' files, within the data folder."""


@dataclass(frozen=True)
class LocalTask:
    """A task whose rows are in a file."""

    name: str
    file: str
    """In the folder `FOLDER`."""

    words: str
    """The harness's file of a task with the same wording, within its folder of tasks."""

    shots: int
    """Examples before each question."""

    examples: str | None = None
    """Folder of files of examples by subject; None takes them from the rows, label by label."""

    keys: tuple[str, ...] = ()
    """What every row must have."""


LOCAL_TASKS: Mapping[str, LocalTask] = MappingProxyType(
    {
        task.name: task
        for task in (
            LocalTask("sst2", "sst2.json", "glue/sst2/default.yaml", 4, keys=("sentence", "label")),
            LocalTask(
                "mrpc",
                "mrpc.json",
                "glue/mrpc/default.yaml",
                4,
                keys=("sentence1", "sentence2", "label"),
            ),
            LocalTask(
                "rte",
                "rte.json",
                "glue/rte/default.yaml",
                4,
                keys=("sentence1", "sentence2", "label"),
            ),
            LocalTask(
                "nli",
                "nli.json",
                "glue/rte/default.yaml",
                4,
                keys=("sentence1", "sentence2", "label"),
            ),
            LocalTask(
                "mmlu",
                "mmlu.json",
                "mmlu/default/_default_template_yaml",
                5,
                examples="mmlu_csv/dev",
                keys=("question", "choices", "answer", "subject"),
            ),
        )
    }
)
"""The tasks that have a file in the data folder."""

_LABELS = {"entailment": 0, "not_entailment": 1}
"""Labels that are words, as the numbers of the harness's task."""


def read_rows(task: LocalTask, root: Path) -> list[Row]:
    """Read the rows of a task.

    Raises:
        DataError: If the file is missing, or is not one of this task.
    """
    path = root / FOLDER / task.file
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"The task {task.name} has no file {path}. Choose another --data-root, or leave it out "
            "to take the rows from the network."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from None
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path} must hold a list of questions.")
    for number, row in enumerate(rows, 1):
        missing = [key for key in task.keys if not isinstance(row, dict) or key not in row]
        if missing:
            raise DataError(f"Row {number} of {path} has no {missing[0]!r}.")
    return [_tidy(task, row) for row in rows]


def _tidy(task: LocalTask, row: Row) -> Row:
    """The keys of the task alone, labels as numbers."""
    tidy = {key: row[key] for key in task.keys}
    if tidy.get("label") in _LABELS:
        tidy["label"] = _LABELS[tidy["label"]]
    return tidy


def examples_for(task: LocalTask, rows: Sequence[Row], root: Path) -> Callable[[Row], list[Row]]:
    """Who gives the examples before a question: never the question itself.

    Raises:
        DataError: If their files cannot be read.
    """
    if task.examples is None:
        pool = alternating(rows, task.shots + 1)
        return lambda doc: [row for row in pool if row != doc][: task.shots]
    by_subject = _by_subject(root / FOLDER / task.examples)
    return lambda doc: by_subject.get(doc["subject"], [])[: task.shots]


def alternating(rows: Sequence[Row], count: int) -> list[Row]:
    """The first rows of each label, label after label in turn."""
    labels = sorted({row["label"] for row in rows})
    queues = {label: iter([row for row in rows if row["label"] == label]) for label in labels}
    chosen: list[Row] = []
    while len(chosen) < count and queues:
        for label in list(queues):
            row = next(queues[label], None)
            if row is None:
                del queues[label]
            else:
                chosen.append(row)
    return chosen[:count]


def _by_subject(folder: Path) -> dict[str, list[Row]]:
    examples: dict[str, list[Row]] = {}
    for path in sorted(folder.glob("*_dev.csv")):
        subject = path.name.removesuffix("_dev.csv")
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                choices = [row[f"choice{number}"] for number in range(4)]
                examples.setdefault(subject, []).append(
                    {
                        "question": row["question"],
                        "choices": choices,
                        "answer": int(row["answer"]),
                        "subject": subject,
                    }
                )
    if not examples:
        raise DataError(f"There are no examples in {folder}, which the task mmlu needs.")
    return examples


def build(task: LocalTask, root: Path) -> Any:
    """Make the harness's task of a local one.

    Raises:
        ConfigError: If this version of the harness has no task of the same wording.
        DataError: If the rows cannot be read.
    """
    from datasets import Dataset, DatasetDict
    from lm_eval.api.samplers import ContextSampler
    from lm_eval.api.task import ConfigurableTask

    rows = read_rows(task, root)
    chosen = examples_for(task, rows, root)

    class Chosen(ContextSampler):  # type: ignore[misc]
        """Gives the examples of a question."""

        def sample(
            self, n: int, eval_doc: Row | None = None, df: Any = None, **others: Any
        ) -> list[Row]:
            return chosen(dict(eval_doc or {}))[:n]

    config = _words(task) | {
        "task": task.name,
        "custom_dataset": lambda **_: DatasetDict({"test": Dataset.from_list(rows)}),
        "test_split": "test",
        "fewshot_split": "test",
        "fewshot_config": {"sampler": Chosen, "split": "test"},
        "num_fewshot": task.shots,
    }
    return ConfigurableTask(config=config)


def _words(task: LocalTask) -> dict[str, Any]:
    """How the harness asks and scores, without where it has its rows from."""
    import lm_eval.tasks
    import yaml

    path = Path(lm_eval.tasks.__file__).parent / task.words
    if not path.is_file():
        raise ConfigError(
            f"This version of lm-eval has no {task.words}. Install the one that is tested with: "
            "pip install 'ultraedit[ability]'."
        )
    words: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    kept = ("output_type", "doc_to_text", "doc_to_target", "doc_to_choice")
    words_used = {key: words[key] for key in kept}
    # Accuracy alone: the error of others, such as F1, is drawn in a pool of processes.
    words_used["metric_list"] = [each for each in words["metric_list"] if each["metric"] == METRIC]
    if task.name == "mmlu":
        words_used["description"] = _description(path.parent)
    return words_used


def _description(folder: Path) -> str:
    """What the harness says before the questions of a subject, with the subject left open."""
    import yaml

    path = folder / "mmlu_anatomy.yaml"
    text: str = yaml.safe_load(path.read_text(encoding="utf-8"))["description"]
    return text.replace("anatomy", "{{subject.replace('_', ' ')}}")
