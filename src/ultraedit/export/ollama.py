"""A Modelfile for Ollama, with the chat template of a GGUF file put in Ollama's own language.

A GGUF file holds its chat template in Jinja, and Ollama renders templates of Go. The template is
rendered for a few conversations and taken apart at the messages; where that does not explain a
longer conversation letter for letter, no template is written, and Ollama recognizes the usual ones
by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ultraedit.models.gguf_file import GgufFile

_MARKS = {role: f"<<<{role} {n}>>>" for n, role in enumerate(("system", "user", "assistant"))}
"""Contents of messages that occur in no template."""


class ChatPieces(NamedTuple):
    """What stands around the messages of a conversation."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]

    reply: str
    """What the model's reply is written after."""

    default: str | None
    """The system message where the user gives none."""


def modelfile(file: GgufFile, name: str) -> str:
    """The text of a Modelfile.

    Args:
        file: The model.
        name: Name of the file, in the folder of the Modelfile.
    """
    lines = [f"FROM ./{name}"]
    template = file.value("tokenizer.chat_template")
    if template is None:
        return "\n".join([*lines, "# The file has no chat template: ask it as it is.", _PLAIN, ""])
    tokens = _tokens(file)
    pieces = chat_pieces(str(template), tokens)
    if pieces is None:
        said = "# Its chat template is not one that can be put in Go here; Ollama knows the usual."
        return "\n".join([*lines, said, ""])
    lines.append(f'TEMPLATE """{_go(pieces)}"""')
    if pieces.default:
        lines.append(f'SYSTEM """{pieces.default}"""')
    ends = {pieces.assistant[1].strip(), tokens["eos_token"]} - {""}
    lines += [f'PARAMETER stop "{end}"' for end in sorted(ends) if '"' not in end]
    return "\n".join([*lines, ""])


_PLAIN = 'TEMPLATE """{{ .Prompt }}"""'


def _tokens(file: GgufFile) -> dict[str, str]:
    """The marks that templates write, by the names that they have in Jinja."""
    tokens = file.value("tokenizer.ggml.tokens") or []
    named = {}
    for name in ("bos", "eos"):
        index = file.value(f"tokenizer.ggml.{name}_token_id")
        known = index is not None and index < len(tokens)
        named[f"{name}_token"] = tokens[index] if known else ""
    # SmolLM2 begins every message with its mark of the beginning, which nobody adds.
    adds = file.value("tokenizer.ggml.add_bos_token")
    return named | {"added": named["bos_token"] if adds else ""}


def chat_pieces(template: str, tokens: dict[str, str]) -> ChatPieces | None:
    """Take a chat template apart; None where its messages are more than pieces in a row.

    Args:
        template: In Jinja, as transformers renders it.
        tokens: Values of ``bos_token`` and ``eos_token``, and as ``added`` the text that the engine
            puts in front of every prompt.
    """
    try:
        return _pieces(template, tokens)
    except Exception:  # A template is a program, and may raise anything.
        return None


def _pieces(template: str, tokens: dict[str, str]) -> ChatPieces | None:
    def render(*roles: str, reply: bool = False) -> str:
        messages = [{"role": role, "content": _MARKS[role]} for role in roles]
        return _render(template, messages, reply, tokens)

    user_alone = render("user")
    asked = render("system", "user")
    system, rest = _split(asked, "system")
    before_user = _split(render("user", "user"), "user")[1]
    # Behind a user's message comes what ends it, and then what begins the next one.
    end_of_user = _split(user_alone, "user")[1]
    begin_user = _split(before_user, "user")[0].removeprefix(end_of_user)
    end_of_system = rest.split(_MARKS["user"])[0].removesuffix(begin_user)
    replied = render("user", "assistant").removeprefix(user_alone)
    assistant = _split(replied, "assistant")
    reply = render("user", reply=True).removeprefix(user_alone)
    first = _split(user_alone, "user")[0].removesuffix(begin_user)
    default = None
    if first:
        if not (first.startswith(system) and first.endswith(end_of_system)):
            return None
        default = first[len(system) : len(first) - len(end_of_system)]
    pieces = ChatPieces(
        (system, end_of_system), (begin_user, end_of_user), assistant, reply, default
    )
    roles = ("system", "user", "assistant", "user")
    around = dict(zip(_MARKS, pieces[:3], strict=True))
    whole = "".join(f"{around[role][0]}{_MARKS[role]}{around[role][1]}" for role in roles)
    # Neither language has a way to write these inside a text.
    if any(mark in text for mark in ('"""', "{{") for text in (whole, reply, default or "")):
        return None
    return pieces if render(*roles, reply=True) == whole + reply else None


def _split(text: str, role: str) -> tuple[str, str]:
    before, mark, after = text.partition(_MARKS[role])
    if not mark:
        raise ValueError(f"the template changes the message of the {role}")
    return before, after


def _render(
    template: str, messages: list[dict[str, str]], reply: bool, tokens: dict[str, str]
) -> str:
    """Render as transformers does, without a mark of the beginning that the engine adds."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(said: str) -> Any:
        raise ValueError(said)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    text = environment.from_string(template).render(
        messages=messages, add_generation_prompt=reply, **tokens
    )
    return text.removeprefix(tokens["added"])


def _go(pieces: ChatPieces) -> str:
    """The same template in Go, over all messages of a conversation."""
    branches = []
    for role, (before, after) in zip(_MARKS, pieces[:3], strict=True):
        word = "if" if role == "system" else "else if"
        branches.append(f'{{{{ {word} eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}')
    middle = "".join(branches)
    return f"{{{{ range .Messages }}}}{middle}{{{{ end }}}}{{{{ end }}}}{pieces.reply}"
