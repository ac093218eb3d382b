"""What the unedited model says, kept while a job is at work: asking it anew takes long."""

from __future__ import annotations

import json

from ultraedit.core.types import ControlScores, Question, Scores, to_json
from ultraedit.evaluation.outcome import Evaluation, Reference


def before_to_json(before: Evaluation) -> str:
    """Write all of an evaluation that a later process needs."""
    reference = before.reference
    return json.dumps(
        {
            "scores": to_json(before.scores),
            "overruled": before.overruled,
            "tokens": [[*question, ids] for question, ids in reference.tokens.items()],
            "answers": reference.answers,
            "control_scores": None if before.controls is None else to_json(before.controls),
            "controls": reference.controls,
            "control_tokens": reference.control_tokens,
        },
        ensure_ascii=False,
    )


def before_from_json(text: str) -> Evaluation:
    """Read what `before_to_json` wrote.

    Raises:
        ValueError: If it is something else.
    """
    values = json.loads(text)
    controls = values.get("control_scores")  # Older programs asked none.
    reference = Reference(
        {Question(prompt, target): tuple(ids) for prompt, target, ids in values["tokens"]},
        values["answers"],
        values.get("controls", {}),
        {prompt: tuple(ids) for prompt, ids in values.get("control_tokens", {}).items()},
    )
    return Evaluation(
        Scores.from_json(values["scores"]),
        reference,
        (),
        values["overruled"],
        controls=None if controls is None else ControlScores(**controls),
    )
