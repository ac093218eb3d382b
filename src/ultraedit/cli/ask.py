"""``ultraedit ask``: questions, a model's answers, and another model's beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError

Questions = Annotated[
    list[str],
    typer.Argument(
        metavar="QUESTION...", help="What to ask, each question in quotes.", show_default=False
    ),
]
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

Chat = Annotated[
    bool,
    typer.Option(
        "--chat",
        metavar="",
        help="Ask in the model's chat template, as a chat program does.",
        show_envvar=False,
    ),
]


def ask(
    model: o.ModelArgument,
    questions: Questions,
    beside: Beside = None,
    max_new_tokens: MaxNewTokens = 32,
    chat: Chat = False,
    engine: o.Engine = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    json: o.Json = False,
) -> None:
    r"""Ask a model questions and print what it answers.

    Examples:
      ultraedit ask demo-run/model "What is the capital of Velmora?"
      ultraedit ask run/model "Who wrote Emma?" "Who is Ada?" --beside smollm2
      ultraedit ask edited.gguf "Who wrote Moby-Dick?" --engine llama.cpp --chat
    """
    from ultraedit.models.llama_cpp import check_engine

    answer = _in_transformers
    if check_engine(engine, dtype=dtype, device=device):
        answer = _in_llama_cpp
    names = [model] if beside is None else [model, beside]
    said = []
    with progress() as observer:
        for name in names:
            observer.stage(f"Asking {name}")
            said.append(answer(name, questions, max_new_tokens, dtype, device, chat=chat))
    _show(questions, names, list(zip(*said, strict=True)), json=json)
    if not chat and not all(said[0]):
        _output.message(
            "An answer is empty: the model ended at once, as models made for chats often do where "
            "a question stands alone. Try --chat."
        )


def _show(
    questions: Sequence[str],
    names: Sequence[str],
    answers: Sequence[tuple[str, ...]],
    *,
    json: bool,
) -> None:
    """Print the answers: a line or a row a model for one question, else a row a question."""
    if json:
        shown = [
            {
                "question": question,
                "answers": [
                    {"model": name, "answer": each} for name, each in zip(names, row, strict=True)
                ],
            }
            for question, row in zip(questions, answers, strict=True)
        ]
        _output.write_json(shown[0] if len(shown) == 1 else shown)
    elif len(questions) > 1:
        rows = [
            (question, *(each or _output.NO_ANSWER for each in row))
            for question, row in zip(questions, answers, strict=True)
        ]
        _output.table(["question", *(names if len(names) > 1 else ["answer"])], rows)
    elif len(names) == 1:
        _output.line(answers[0][0])
    else:
        one = [
            (name, each or _output.NO_ANSWER) for name, each in zip(names, answers[0], strict=True)
        ]
        _output.table(["model", "answer"], one)


def _in_transformers(
    name: str,
    questions: Sequence[str],
    limit: int,
    dtype: str | None,
    device: str | None,
    *,
    chat: bool,
) -> list[str]:
    """One model at a time is in memory: two large ones may not fit side by side."""
    from ultraedit.lifelong.session import ask as answer
    from ultraedit.models import load

    model = load(name, dtype=dtype or "auto", device=device or "auto")
    if chat and not getattr(model.tokenizer, "chat_template", None):
        raise ConfigError(f"{name} has no chat template. Leave --chat out.")
    return answer(model, list(questions), chat=chat, max_new_tokens=limit)


def _in_llama_cpp(
    name: str,
    questions: Sequence[str],
    limit: int,
    dtype: str | None,
    device: str | None,
    *,
    chat: bool,
) -> list[str]:
    from ultraedit.models.llama_cpp import LlamaCpp, gguf_path

    model = LlamaCpp(gguf_path(name))
    if chat:
        return [model.chat(question, limit) for question in questions]
    return model.answer(questions, [limit] * len(questions))
