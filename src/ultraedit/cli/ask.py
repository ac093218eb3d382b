"""``ultraedit ask``: questions, a model's answers, and another model's beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress

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

    in_engine = check_engine(engine, dtype=dtype, device=device)
    machine = (dtype or "auto", device or "auto")
    names = [model] if beside is None else [model, beside]
    said = []
    with progress() as observer:
        for name in names:
            observer.stage(f"Asking {name}")
            if in_engine:
                said.append(_in_llama_cpp(name, questions, max_new_tokens, chat=chat))
            else:
                said.append(_in_transformers(name, questions, max_new_tokens, *machine, chat=chat))
    _show(questions, names, [each.answers for each in said], json=json)
    if said[0].has_template and not chat and not all(said[0].answers):
        _output.message(
            "An answer is empty: the model ended at once, as models made for chats often do where "
            "a question stands alone. Try --chat."
        )


class _Said(NamedTuple):
    """What a model says."""

    answers: list[str]
    has_template: bool
    """Whether it could have been asked in a chat template."""


def _show(
    questions: Sequence[str],
    names: Sequence[str],
    said: Sequence[Sequence[str]],
    *,
    json: bool,
) -> None:
    """Print the answers, by model and question: a row a model for one question, else one each."""
    by_question = list(zip(questions, zip(*said, strict=True), strict=True))
    if json:
        shown = [
            {
                "question": question,
                "answers": [
                    {"model": name, "answer": each}
                    for name, each in zip(names, answers, strict=True)
                ],
            }
            for question, answers in by_question
        ]
        _output.write_json(shown[0] if len(shown) == 1 else shown)
    elif len(names) == len(questions) == 1:
        _output.line(said[0][0])
    elif len(questions) == 1:
        rows = [
            (name, each or _output.NO_ANSWER) for name, (each,) in zip(names, said, strict=True)
        ]
        _output.table(["model", "answer"], rows)
    else:
        table = [
            (question, *(each or _output.NO_ANSWER for each in answers))
            for question, answers in by_question
        ]
        _output.table(["question", *(names if len(names) > 1 else ["answer"])], table)


def _in_transformers(
    name: str, questions: list[str], limit: int, dtype: str, device: str, *, chat: bool
) -> _Said:
    """One model at a time is in memory: two large ones may not fit side by side."""
    from ultraedit.evaluation.probes.contexts import chat_of
    from ultraedit.lifelong.session import ask as answer
    from ultraedit.models import load

    model = load(name, dtype=dtype, device=device)
    answers = answer(model, questions, chat=chat, max_new_tokens=limit)
    return _Said(answers, chat_of(model.tokenizer) is not None)


def _in_llama_cpp(name: str, questions: list[str], limit: int, *, chat: bool) -> _Said:
    from ultraedit.models.llama_cpp import LlamaCpp, gguf_path

    model = LlamaCpp(gguf_path(name))
    if chat:
        return _Said([model.chat(question, limit) for question in questions], has_template=True)
    answers = model.answer(questions, [limit] * len(questions))
    return _Said(list(answers), model.has_template)
