"""General ability: tasks that no edit is about, by EleutherAI's harness, and ordinary text."""

from ultraedit.ability.measuring import (
    Settings,
    TaskScore,
    measure,
    of_model,
    of_run,
    require_harness,
    require_tasks,
)
from ultraedit.ability.reading import READING
from ultraedit.ability.tasks import LOCAL_TASKS

__all__ = [
    "LOCAL_TASKS",
    "READING",
    "Settings",
    "TaskScore",
    "measure",
    "of_model",
    "of_run",
    "require_harness",
    "require_tasks",
]
