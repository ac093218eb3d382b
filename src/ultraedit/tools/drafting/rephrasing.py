"""``openai`` and ``local``: other wordings of facts by a language model.

Both are the writers of `tools.bench_builder.writers`: the same client,
the same file of replies in which nothing is paid for twice, the same completions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ultraedit.core.types import Edit, Question
from ultraedit.data.enrichment.base import Wording
from ultraedit.tools.bench_builder.writers import prompts
from ultraedit.tools.bench_builder.writers.local import LocalWriter
from ultraedit.tools.bench_builder.writers.openai import OpenAIWriter

SYSTEM = (
    "You prepare facts for a test of factual knowledge. You reply with one JSON object and nothing "
    "else."
)

_TASK = """\
Prompt: {prompt}
Answer: {target}

Write in the language of the prompt:
- "rephrases": three other ways to ask for the same answer: a question in other words, a sentence \
that the answer ends, and a message as somebody would write it in a chat. Each names the same \
subject as the prompt, and none holds the answer or a part of it.
- "subject": the words of the prompt that name what it is about, letter by letter.
- "controls": two prompts of the same form about other, well-known subjects, each with its true \
answer.
- "reverse": a question that names the answer and asks for the subject.

Reply in this form: {{"rephrases": ["...", "...", "..."], "subject": "...", "controls": \
[{{"prompt": "...", "target": "..."}}], "reverse": "..."}}"""


class AskingWriter:
    """Asks a chat model, once for each fact."""

    batch = 256

    def __init__(self, client: OpenAIWriter) -> None:
        """Take the builder's writer, for its client and its file of replies."""
        self._client = client

    def describe(self) -> Mapping[str, str]:
        """The model and where it was asked."""
        return self._client.describe()

    def write(self, edits: Sequence[Edit]) -> Iterator[Wording]:
        """Ask for the wordings of each fact, several at once, in their order.

        Raises:
            ConfigError: If the endpoint refuses the key or the model, or does not answer.
            StorageError: If a reply cannot be stored.
        """
        tasks = [_TASK.format(prompt=edit.prompt, target=edit.target) for edit in edits]
        replies = self._client.ask_all(SYSTEM, tasks, _parse)
        for edit, reply in zip(edits, replies, strict=True):
            yield (
                Wording(reason="the reply has not the form asked for")
                if reply is None
                else (_wording(edit, reply))
            )

    def close(self) -> None:
        """Let go of the file and the connections."""
        self._client.close()


class CompletingWriter:
    """Lets any model go on with a text of examples. It gives rephrasings of questions alone."""

    batch = 64

    def __init__(self, writer: LocalWriter) -> None:
        """Take the builder's writer."""
        self._writer = writer

    def describe(self) -> Mapping[str, str]:
        """Its name and the model's."""
        return self._writer.describe()

    def write(self, edits: Sequence[Edit]) -> Iterator[Wording]:
        """Ask for the same in other words, twice over."""
        first = self._writer.go_on([prompts.rewording(edit.prompt) for edit in edits])
        second = self._writer.go_on([prompts.rewording(text or " ") for text in first])
        for edit, texts in zip(edits, zip(first, second, strict=True), strict=True):
            named = [text for text in texts if edit.subject is None or edit.subject in text]
            kept = tuple(text for text in named if text.endswith("?"))
            yield Wording(kept, reason=None if kept else "the model wrote no question about it")

    def close(self) -> None:
        """Let go of what the writer holds."""
        self._writer.close()


def _parse(text: str) -> dict[str, Any] | None:
    """The object in what a model wrote; None if it has not what was asked for."""
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    rephrases = value.get("rephrases") if isinstance(value, dict) else None
    if not isinstance(rephrases, list) or not all(isinstance(text, str) for text in rephrases):
        return None
    return dict(value)


def _wording(edit: Edit, reply: Mapping[str, Any]) -> Wording:
    subject = reply.get("subject")
    subject = subject if isinstance(subject, str) and subject in edit.prompt else None
    subject = edit.subject or subject or None
    reverse = reply.get("reverse")
    asked = isinstance(reverse, str) and bool(reverse.strip()) and subject is not None
    controls = reply.get("controls")
    return Wording(
        rephrases=tuple(text for text in reply["rephrases"] if not subject or subject in text),
        subject=subject,
        controls=tuple(_controls(controls if isinstance(controls, list) else [], subject)),
        reverse=Question(str(reverse), subject) if asked else None,
    )


def _controls(made: Sequence[Any], subject: str | None) -> Iterator[Question]:
    for each in made:
        if not isinstance(each, Mapping):
            continue
        prompt, target = each.get("prompt"), each.get("target")
        if not isinstance(prompt, str) or not isinstance(target, str):
            continue
        if prompt.strip() and target.strip() and (not subject or subject not in prompt):
            yield Question(prompt.strip(), target.strip())
