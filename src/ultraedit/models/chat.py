"""Chat templates: a question as a chat has it, and models that think before they answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError

from ultraedit.core.encoding import added_tokens

OFF: Mapping[str, Any] = {"enable_thinking": False, "thinking": False, "thinking_budget": 0}
"""Variables by which templates let a caller turn thinking off, with the value that does so."""

_MARKER = "Lyon"
"""A reply whose end is looked for."""

_OPENED = re.compile(r"<(think(?:ing)?)>\s*$")
"""A reply that the template has begun with a thought, where it has no variable to leave it out."""


def render_question(
    tokenizer: Any, question: str, *, system: str | None = None, thinking: bool = False
) -> str:
    """A question in the model's chat template, up to where the reply begins.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        question: What the user says.
        system: What the system says first. None leaves that to the template.
        thinking: Whether the reply begins with thoughts where the template has it so. If not, they
            are turned off, or closed at once: an answer would stand in the midst of them.
    """
    switches = {} if thinking else {name: OFF[name] for name in thinking_switches(tokenizer)}
    text = str(_rendered(tokenizer, question, switches, system))
    opened = None if thinking else _OPENED.search(text)
    return text if opened is None else f"{text.rstrip()}\n\n</{opened[1]}>\n\n"


def begins_twice(tokenizer: Any) -> str:
    """The token of the beginning, where both a template and the tokenizer write it; else empty.

    A rendered question is tokenized like any other text, so one of the two has to go.
    """
    begin = tokenizer.bos_token
    marked = added_tokens(tokenizer).front[:1] == (tokenizer.bos_token_id,)
    return str(begin) if marked and begin else ""


def reply_end(tokenizer: Any) -> int | None:
    """The token by which a reply ends in a chat template; None where it ends without one.

    It need not be the end-of-text token: Gemma's replies end with ``<end_of_turn>``.
    """
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARKER}]
    try:
        text = str(tokenizer.apply_chat_template(said, tokenize=False))
    except TemplateError:  # A template may refuse what it is given, such as an assistant's turn.
        return None
    ids = tokenizer(text.rpartition(_MARKER)[2], add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_ids)
    return next((int(token) for token in ids if token in special), None)


def thinking_switches(tokenizer: Any) -> tuple[str, ...]:
    """Names of the variables by which a chat template lets thinking be turned off."""
    text = _template(tokenizer)
    # As a variable: not as an attribute, and not inside quotes.
    return tuple(
        name for name in OFF if re.search(rf"(?<![\w.'\"]){name}(?![\w'\"])", text) is not None
    )


def always_thinks(tokenizer: Any) -> bool:
    """Whether a chat template begins each reply with a thought and has no variable against it."""
    if thinking_switches(tokenizer) or not _template(tokenizer):
        return False
    return _OPENED.search(_rendered(tokenizer, "?", {})) is not None


def _rendered(
    tokenizer: Any, question: str, variables: Mapping[str, Any], system: str | None = None
) -> str:
    first = [] if system is None else [{"role": "system", "content": system}]
    return str(
        tokenizer.apply_chat_template(
            [*first, {"role": "user", "content": question}],
            tokenize=False,
            add_generation_prompt=True,
            **variables,
        )
    )


def _template(tokenizer: Any) -> str:
    """Text of a chat template, of the default one where there are several; empty for none."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), "")
    return str(template or "")
