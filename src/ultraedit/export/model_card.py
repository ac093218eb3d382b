"""The model card of an export: a ``README.md`` as the Hugging Face Hub reads it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultraedit.core.symbols import visible
from ultraedit.evaluation import metrics
from ultraedit.export.peft_adapter import Compressed, size_bytes
from ultraedit.models import ALIASES
from ultraedit.models.delta import Delta
from ultraedit.report.command import reproduce_command
from ultraedit.report.formats import format_bytes, format_change, format_count, format_percent
from ultraedit.report.markdown import Markdown, code, escape, table
from ultraedit.report.scores import METRICS, scores_table


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where an exported change comes from, as far as a reader of its card wants to know."""

    delta: Delta

    settings: Mapping[str, Any]
    """The settings of the run, as ``config.json`` has them."""

    appended: Sequence[Mapping[str, Any]] = ()
    """Settings of the jobs that added more facts later."""

    taken_out: bool = False
    """Whether single edits were taken out again."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """The editor's options, defaults filled in."""

    scored: int = 0
    """Number of edits that the scores are of."""

    before: Mapping[str, Any] | None = None
    """Scores of the unedited model, as `types.Scores` has them; None where there are none."""

    after: Mapping[str, Any] | None = None
    """Scores of the edited model."""


def model_card(run: Provenance) -> str:
    """The card of a whole edited model."""
    use = _python("model = AutoModelForCausalLM.from_pretrained(FOLDER)")
    return _page(
        _header(run.delta.base, "transformers", []), *_introduction(run, "model"), use, *_body(run)
    )


def adapter_card(
    run: Provenance,
    modules: Mapping[str, Compressed],
    exact: Mapping[str, Any] | None = None,
    adapted: Mapping[str, Any] | None = None,
) -> str:
    """The card of a PEFT adapter.

    Args:
        run: Where it comes from.
        modules: Its modules.
        exact: Scores of the exactly edited model, as `types.Scores` has them.
        adapted: Scores of the base model with the adapter merged.
    """
    loading = _loading(run.delta)
    use = _python(loading, "model = PeftModel.from_pretrained(base, FOLDER)", peft=True)
    return _page(
        _header(run.delta.base, "peft", ["lora"]),
        *_introduction(run, "adapter"),
        use,
        *_adapter(modules, exact, adapted),
        *_body(run),
    )


def gguf_card(run: Provenance, file: str, tensors: Sequence[tuple[str, str, str, str]]) -> str:
    """The card of a GGUF file.

    Args:
        run: Where it comes from.
        file: Its name.
        tensors: Of each edited tensor its module, its name, and its type before and after.
    """
    rows = [[code(module), code(name), was, now] for module, name, was, now in tensors]
    return _page(
        _header(run.delta.base, "gguf", ["gguf"]),
        *_introduction(run, "model"),
        "It is for llama.cpp and what is built on it, such as Ollama and LM Studio:",
        f"```sh\nllama-cli -m {shlex.quote(file)}\n```",
        "## The file",
        "The GGUF file of the base model with these tensors replaced; all others keep their bytes.",
        table(["module", "tensor", "was", "is"], rows, "llll"),
        *_body(run),
    )


def delta_card(run: Provenance, file: str) -> str:
    """The card of a delta.

    Args:
        run: Where it comes from.
        file: Its name, also where it is written as several files and an index.
    """
    words = ["ultraedit", "apply", run.delta.base, file, "--out", "edited"]
    return _page(
        _header(run.delta.base, "ultraedit", ["delta"]),
        *_introduction(run, "delta"),
        "It is put on that very model, to the last bit, and no other takes it. In a folder with "
        "all of these files:",
        f"```sh\n{shlex.join(words)}\n```",
        *_body(run),
    )


def applied_card(base: str, deltas: Sequence[Delta], signs: Sequence[int]) -> str:
    """The card of a model to which deltas were applied."""
    rows = [
        [
            "added" if sign > 0 else "subtracted",
            code(Path(delta.source).name),
            f"{delta.edits:,}",
            escape(delta.editor),
            escape(delta.created),
        ]
        for delta, sign in zip(deltas, signs, strict=True)
    ]
    return _page(
        _header(base, "transformers", []),
        f"# {_plain(base)} with {format_count(len(deltas), 'change')} applied",
        f"This is {code(base)} in {deltas[0].dtype}, fingerprint {code(deltas[0].fingerprint)}, "
        f"with the following changes of its weights, put together by ultraedit "
        f"{deltas[0].version}. Nothing else differs from the base model.",
        table(["", "delta", "edits", "editor", "made"], rows, "llrll"),
        _python("model = AutoModelForCausalLM.from_pretrained(FOLDER)"),
        "## Limits",
        "- What the changes do together was not scored: `ultraedit eval` does that.\n" + _LIMITS,
    )


_LIMITS = """\
- The facts were not checked: the model now says what the file of facts said.
- Abilities that the questions of that file do not touch were not measured.
- Prompts were edited as they are, without a chat template.
- The license and the limits of the base model hold for this one too."""


def hub_id(name: str) -> str | None:
    """The id on the Hugging Face Hub that a model's name stands for, if it stands for one."""
    if name in ALIASES:
        return ALIASES[name].hub_id
    looks_so = re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None
    return name if looks_so and not Path(name).exists() else None


def _page(*sections: str) -> str:
    return visible("\n\n".join(sections)) + "\n"


def _header(base: str, library: str, tags: Sequence[str]) -> str:
    known = hub_id(base)
    lines = [
        "---",
        # A text in JSON is one in YAML too.
        *([f"base_model: {json.dumps(known)}"] if known else []),
        f"library_name: {library}",
        "pipeline_tag: text-generation",
        "tags:",
        *(f"- {tag}" for tag in ("model-editing", "knowledge-editing", "ultraedit", *tags)),
        "---",
    ]
    return "\n".join(lines)


def _introduction(run: Provenance, what: str) -> Iterator[str]:
    delta = run.delta
    edits = format_count(delta.edits, "edit")
    as_what = {"model": "", "adapter": ", as an adapter", "delta": ", as a delta"}[what]
    yield f"# {_plain(delta.base)} with {edits}{as_what}"
    subject = "This is" if what == "model" else f"This {what} gives"
    yield (
        f"{subject} {code(delta.base)} after {edits} in {format_count(delta.turns, 'turn')} by the "
        f"editor {code(delta.editor)} of ultraedit {escape(delta.version)}, "
        f"{escape(delta.created)}. The facts are written into the weights of "
        f"{format_count(len(delta.changes), 'linear layer')}; nothing else differs from the base "
        "model."
    )


def _body(run: Provenance) -> Iterator[str]:
    delta, settings = run.delta, run.settings
    yield "## What was edited"
    rows = [
        ["base model", code(delta.base)],
        ["its fingerprint", code(delta.fingerprint)],
        ["its precision", code(delta.dtype)],
        ["data", Markdown("<br>".join(code(job["data"]) for job in (settings, *run.appended)))],
        ["editor", code(delta.editor)],
        *([escape(name), code(str(value))] for name, value in run.options.items()),
        ["edits per turn", f"{settings['edits_per_turn']:,}"],
        ["modules", Markdown("<br>".join(map(code, delta.changes)))],
    ]
    yield table(["", ""], rows, "ll")
    if run.after is not None:
        yield "## Scores"
        yield _scores(run)
    yield "## How to reproduce"
    yield f"With ultraedit {escape(delta.version)}:"
    commands = [reproduce_command(settings, "again"), *map(_append_command, run.appended)]
    yield "```sh\n" + "\n".join(commands) + "\n```"
    if run.taken_out:
        yield "Then single edits were taken out, which `ultraedit history` of the run lists."
    yield "## Limits"
    yield _LIMITS


def _append_command(settings: Mapping[str, Any]) -> str:
    words = ["ultraedit", "edit", settings["data"], "--append", "again"]
    for name in ("edits_per_turn", "limit"):
        if settings.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", str(settings[name])]
    return shlex.join(words)


def _scores(run: Provenance) -> str:
    rows = [
        [
            escape(row.name),
            format_percent(row.forced_before),
            format_percent(row.forced_after),
            format_percent(row.generated_before),
            format_percent(row.generated_after),
        ]
        for row in scores_table({"before": run.before or {}, "after": run.after or {}})
        if row.forced or row.generated
    ]
    header = ["", "before", "after", "free before", "free after"]
    return (
        table(header, rows, "lrrrr")
        + f"\n\nOver {format_count(run.scored, 'edit')}. Teacher-forced token accuracy; free: "
        "exact match of greedy answers.\n\n"
        + "\n".join(f"- {metric.title}: {metric.meaning}" for metric in metrics.METRICS.values())
    )


def _adapter(
    modules: Mapping[str, Compressed],
    exact: Mapping[str, Any] | None,
    adapted: Mapping[str, Any] | None,
) -> Iterator[str]:
    yield "## The adapter"
    yield (
        "Of each module's change it holds the nearest one of a lower rank (truncated singular "
        f"value decomposition), {format_bytes(size_bytes(modules))} in all. Energy is the kept "
        "share of the squared Frobenius norm. Every alpha is its rank, so nothing is scaled."
    )
    rows = [
        [code(path), str(module.rank), str(module.exact_rank), f"{100 * module.energy:.2f}%"]
        for path, module in modules.items()
    ]
    yield table(["module", "rank", "exact rank", "energy kept"], rows, "lrrr")
    if exact is not None and adapted is not None:
        yield "What that costs, teacher-forced over the edits of the run:"
        yield table(
            ["", "exact", "adapter", "change"],
            [
                [
                    name,
                    format_percent(exact.get(name)),
                    format_percent(adapted.get(name)),
                    format_change(exact.get(name), adapted.get(name)),
                ]
                for name in METRICS
            ],
            "lrrr",
        )


def _python(*lines: str, peft: bool = False) -> str:
    body = "\n".join(lines)
    imports = ["from peft import PeftModel"] if peft else []
    for name, line in (
        ("AutoModelForCausalLM", "from transformers import AutoModelForCausalLM"),
        ("ue.", "import ultraedit as ue"),
    ):
        if name in body:
            imports.append(line)
    return "```python\n" + "\n".join([*imports, "", body]) + "\n```"


def _loading(delta: Delta) -> str:
    """A line of Python that loads the very base model, in its precision."""
    name = json.dumps(delta.base)
    if delta.base in ALIASES or delta.base.lower().endswith(".gguf"):
        return f'base = ue.load({name}, dtype="{delta.dtype}").model'
    return f'base = AutoModelForCausalLM.from_pretrained({name}, dtype="{delta.dtype}")'


def _plain(name: str) -> str:
    """A name without the folders before it."""
    return escape(Path(name).name or name)
