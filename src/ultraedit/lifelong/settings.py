"""The settings of a job that are the same with and without a folder: turns and evaluation."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from ultraedit.core.settings import (
    EVALUATION,
    FACTS,
    MACHINE,
    MONITORS,
    SPLIT,
    SettingsModel,
    shown,
)

CORPUS_HELP = (
    "A .jsonl or .jsonl.gz file with a field text, a text file with a passage per line such as "
    "WikiText, or ORG/NAME:FILE of a data set on the hub."
)

CONTROL_QUESTIONS = 100
"""Default number of the package's 200 control questions."""


class JobSettings(SettingsModel):
    """How the edits of a job are cut into turns, when they are scored, and on what."""

    separator: ClassVar[str] = "_"  # From Python it is made by `edit`, whose arguments these are.

    edits_per_turn: int = Field(
        default=100,
        ge=1,
        description="Edits applied together in one turn.",
        json_schema_extra=shown(FACTS, in_edit=True, in_append=True),
    )
    free_answers: int | None = Field(
        default=None,
        ge=0,
        description="Number of edits that are also scored by free generation (greedy decoding), "
        "which takes most of the evaluation time; 0 for none.",
        json_schema_extra=shown(EVALUATION, default="all", in_edit=True, in_append=True),
    )
    chat_answers: bool = Field(
        default=False,
        description="Also generate the answers to these edits and to their rephrases inside the "
        "model's chat template, where it has one.",
        json_schema_extra=shown(EVALUATION),
    )
    free_always: bool = Field(
        default=False,
        description="Score by free generation at every checkpoint on the way too, not only before "
        "and after the edits.",
        json_schema_extra=shown(EVALUATION),
    )
    control_questions: int = Field(
        default=CONTROL_QUESTIONS,
        ge=0,
        le=200,
        description="Number of the package's 200 unrelated questions that are asked before and "
        "after the edits; 0 for none.",
        json_schema_extra=shown(EVALUATION, in_edit=True, in_append=True),
    )
    evaluate_every: int | None = Field(
        default=None,
        ge=1,
        description="Also score all edits so far after every N turns.",
        json_schema_extra=shown(EVALUATION, default="only after the last turn"),
    )
    evaluate_at: Annotated[tuple[Annotated[int, Field(ge=1)], ...], SPLIT] = Field(
        default=(),
        description="Also score all edits so far after these turns, such as 1,10,100.",
        json_schema_extra=shown(EVALUATION, "TURNS", default="only after the last turn"),
    )
    score_newest: int | None = Field(
        default=None,
        ge=1,
        description="Also score the N newest edits.",
        json_schema_extra=shown(MONITORS, default="none"),
    )
    perplexity: str | None = Field(
        default=None,
        description="Also measure the perplexity of 100 passages of a text. " + CORPUS_HELP,
        json_schema_extra=shown(MONITORS, "CORPUS", default="none"),
    )
    probe: tuple[str, ...] = Field(
        default=(),
        description="Also ask the edits as users do: chat, inside the model's chat template; "
        "few-shot, after examples; reverse, for the subject; negation, negated; or all. May be "
        "repeated.",
        json_schema_extra=shown(MONITORS, "NAME", default="none", multiple=True),
    )
    seed: int = Field(
        default=0, description="Seed of every random choice.", json_schema_extra=shown(MACHINE)
    )

    @field_validator("probe", mode="before")
    @classmethod
    def _choose_probes(cls, value: Any) -> Any:
        from ultraedit.evaluation.probes import chosen

        names = [value] if isinstance(value, str) else value
        is_list = isinstance(names, list | tuple) and all(isinstance(n, str) for n in names)
        return chosen(names) if is_list else value

    def is_due(self, turn: int) -> bool:
        """Whether the model is scored after a turn that is not the last."""
        every = self.evaluate_every is not None and turn % self.evaluate_every == 0
        return every or turn in self.evaluate_at
