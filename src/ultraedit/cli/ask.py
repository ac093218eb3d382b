"""``ultraedit ask``: one question, one answer, and another model's beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError

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
    question: Question,
    beside: Beside = None,
    max_new_tokens: MaxNewTokens = 32,
    chat: Chat = False,
    engine: o.Engine = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    json: o.Json = False,
) -> None:
    r"""Ask a model a question and print what it answers.

    Examples:
      ultraedit ask demo-run/model "What is the capital of Velmora?"
      ultraedit ask demo-run/model "Who wrote Moby-Dick?" --beside smollm2
      ultraedit ask edited.gguf "Who wrote Moby-Dick?" --engine llama.cpp --chat
    """
    from ultraedit.models.llama_cpp import check_engine

    answer = _in_transformers
    if check_engine(engine, dtype=dtype, device=device):
        answer = _in_llama_cpp
    answers = []
    with progress() as observer:
        for name in [model] if beside is None else [model, beside]:
            observer.stage(f"Asking {name}")
            said = answer(name, question, max_new_tokens, dtype, device, chat=chat)
            answers.append({"model": name, "answer": said})
    if json:
        _output.write_json({"question": question, "answers": answers})
    elif beside is None:
        _output.line(answers[0]["answer"])
    else:
        rows = [(each["model"], each["answer"] or _output.NO_ANSWER) for each in answers]
        _output.table(["model", "answer"], rows)


def _in_transformers(
    name: str, question: str, limit: int, dtype: str | None, device: str | None, *, chat: bool
) -> str:
    """One model at a time is in memory: two large ones may not fit side by side."""
    from ultraedit.evaluation.probes.contexts import Chat as Template
    from ultraedit.lifelong.session import ask as answer
    from ultraedit.models import load

    model = load(name, dtype=dtype or "auto", device=device or "auto")
    if chat:
        if not getattr(model.tokenizer, "chat_template", None):
            raise ConfigError(f"{name} has no chat template. Leave --chat out.")
        question = Template(model.tokenizer).rendered(question)
    return answer(model, question, max_new_tokens=limit)


def _in_llama_cpp(
    name: str, question: str, limit: int, dtype: str | None, device: str | None, *, chat: bool
) -> str:
    from ultraedit.models.llama_cpp import LlamaCpp, gguf_path

    model = LlamaCpp(gguf_path(name))
    return model.chat(question, limit) if chat else model.answer([question], [limit])[0]
