"""Conversations as rows: one question and one answer out of a list of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultraedit.data._rows import Fault, described

KEYS = ("messages", "conversations", "conversation")
"""What published sets call the list of messages."""

_ASKS = ("user", "human", "prompter", "question")
_ANSWERS = ("assistant", "gpt", "model", "bot", "chatgpt", "answer")
_INSTRUCTS = ("system", "developer")


def from_messages(row: Mapping[str, Any]) -> dict[str, Any] | Fault:
    """Replace the messages of a row by the prompt and the target that they are.

    Both layouts are read: ``role`` and ``content`` as of chat APIs, ``from`` and ``value`` as of
    ShareGPT. A system message is no part of a fact and is left out.

    Args:
        row: The keys and values of a row.

    Returns:
        The row with ``prompt`` and ``target``; as it is if it holds no messages; a fault if these
        are more than one question and its answer, since a later question leans on those before.
    """
    key = next((key for key in KEYS if isinstance(row.get(key), list)), None)
    if key is None:
        return dict(row)
    rest = {name: value for name, value in row.items() if name != key}
    turns = []
    for at, message in enumerate(row[key]):
        said = _said(message)
        if isinstance(said, Fault):
            return said._replace(text=f"{key}[{at}]{said.text}", field=key)
        if said[0] not in _INSTRUCTS:
            turns.append(said)
    roles = [role for role, _ in turns]
    if len(turns) != 2 or roles[0] not in _ASKS or roles[1] not in _ANSWERS:
        listed = ", ".join(roles) or "nobody"
        return Fault(
            "type",
            f"{key} holds messages of {listed}, expected one of a user and the answer to it",
            key,
        )
    return rest | {"prompt": turns[0][1], "target": turns[1][1]}


def _said(message: Any) -> tuple[str, str] | Fault:
    """Who says what."""
    if not isinstance(message, Mapping):
        return Fault("type", f" must be a message, got {described(message)}")
    role, text = message.get("role", message.get("from")), message.get("content")
    if text is None:
        text = message.get("value")
    if isinstance(text, list):  # parts, of which some may be images
        kinds = {part.get("type") for part in text if isinstance(part, Mapping)}
        if kinds - {"text"}:
            return Fault("type", " holds something else than text")
        text = "".join(str(part.get("text", "")) for part in text if isinstance(part, Mapping))
    if not isinstance(role, str) or not isinstance(text, str):
        return Fault("type", f" must have a role and a text, got {described(message)}")
    return role.casefold(), text
