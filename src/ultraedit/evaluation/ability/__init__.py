"""General ability: tasks that no edit is about, by EleutherAI's harness, and ordinary text."""

from ultraedit.evaluation.ability.harness import (
    Settings,
    TaskScore,
    as_plain,
    measure,
    of_model,
    require_harness,
    require_tasks,
)
from ultraedit.evaluation.ability.reading import READING
from ultraedit.evaluation.ability.tasks import LOCAL_TASKS

__all__ = [
    "LOCAL_TASKS",
    "READING",
    "Settings",
    "TaskScore",
    "as_plain",
    "measure",
    "of_model",
    "require_harness",
    "require_tasks",
]
