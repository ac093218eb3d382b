"""``ultraedit ask``: one question, one answer, and another model's beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress

Question = Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask, in quotes.")]
Beside = Annotated[
    str | None,
    typer.Option("--beside", metavar="MODEL", help="Ask this model too.", show_envvar=False),
]
MaxNewTokens = Annotated[
    int,
    typer.Option(
        "--max-new-tokens",
        metavar="N",
        min=1,
        help="Longest answer, in tokens; it ends with its line.",
        show_envvar=False,
    ),
]


def ask(
    model: o.ModelArgument,
    question: Question,
    beside: Beside = None,
    max_new_tokens: MaxNewTokens = 32,
    dtype: o.Dtype = None,
    device: o.Device = None,
    json: o.Json = False,
) -> None:
    r"""Ask a model a question and print what it answers.

    Examples:
      ultraedit ask demo-run/model "What is the capital of Velmora?"
      ultraedit ask demo-run/model "Who wrote Moby-Dick?" --beside smollm2
    """
    from ultraedit.models import load
    from ultraedit.session import ask as answer

    answers = []
    with progress() as observer:
        for name in [model] if beside is None else [model, beside]:
            observer.stage(f"Asking {name}")
            loaded = load(name, dtype=dtype or "auto", device=device or "auto")
            said = answer(loaded, question, max_new_tokens=max_new_tokens)
            answers.append({"model": name, "answer": said})
            del loaded  # Two large models may not fit side by side.
    if json:
        _output.write_json({"question": question, "answers": answers})
    elif beside is None:
        _output.line(answers[0]["answer"])
    else:
        rows = [(each["model"], each["answer"] or _output.NO_ANSWER) for each in answers]
        _output.table(["model", "answer"], rows)
