"""General ability: how a model does on tasks that no edit is about, by EleutherAI's harness."""

from ultraedit.evaluation.ability.harness import (
    Settings,
    TaskScore,
    as_plain,
    measure,
    of_model,
    require_harness,
)
from ultraedit.evaluation.ability.tasks import LOCAL_TASKS

__all__ = [
    "LOCAL_TASKS",
    "Settings",
    "TaskScore",
    "as_plain",
    "measure",
    "of_model",
    "require_harness",
]
