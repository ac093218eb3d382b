"""The editors, as a table. A new editor is one file and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ultraedit.core.errors import ConfigError, did_you_mean, expected_value

if TYPE_CHECKING:  # The table is read without torch.
    from ultraedit.core.types import Editor


@dataclass(frozen=True, kw_only=True)
class EditorRow:
    """What is known of an editor without importing it."""

    name: str
    title: str
    summary: str
    family: str
    paper: str
    year: int
    url: str
    target: str
    """Where its class is, as ``module:Class``."""
    needs_training: bool = False
    needs_subject: bool = False
    needs_statistics: bool = False
    """Whether it asks the host for second moments of its layers' inputs."""
    beside: Literal["memories", "facts", "changes", None] = None
    """Where its edits are, if the weights say nothing of them by themselves: in ``memories`` that a
    router chooses from, in ``facts`` that are read, or in ``changes`` that its `view` lays over the
    weights. None where weights are all there is."""
    wraps: bool = False
    """Whether it works on another editor's changes, its option ``base``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What this row sets otherwise than its class, which other rows share."""

    @property
    def has_overlay(self) -> bool:
        """Whether its edited model is no model of plain weights."""
        return self.beside in ("memories", "facts")

    def load(self) -> type[Editor]:
        """Import the editor's class."""
        module, _, name = self.target.partition(":")
        editor: type[Editor] = getattr(import_module(module), name)
        return editor


UNTRAINED = "untrained"
"""Value of an editor's option ``net`` without a net."""

DEFAULT_EDITOR = "anchored"
"""Name of the editor of `ultraedit edit`, the demo and `ultraedit.edit`. `ultraedit run`, which
compares editors, begins with the paper's."""

_ROWS = (
    EditorRow(
        name="ultraedit",
        title="UltraEdit",
        summary="Closed-form ridge update from lifelong-normalized keys and gradients",
        family="closed form",
        paper="UltraEdit: Training-, Subject-, and Memory-Free Lifelong Editing in LLMs",
        year=2025,
        url="https://arxiv.org/abs/2505.14679",
        target="ultraedit.editors.ultraedit:UltraEdit",
    ),
    EditorRow(
        name="anchored",
        title="Anchored",
        summary="Natural-gradient passes in plain and chat form, held by general questions",
        family="closed form",
        paper="Made here; its metric is that of Optimizing Neural Networks with Kronecker-factored "
        "Approximate Curvature (2015)",
        year=2026,
        url="https://arxiv.org/abs/1503.05671",
        target="ultraedit.editors.anchored:Anchored",
    ),
    EditorRow(
        name="mend",
        title="MEND",
        summary="Sum of outer products of keys and gradients that a net has transformed",
        family="hypernetwork",
        paper="Fast Model Editing at Scale",
        year=2022,
        url="https://arxiv.org/abs/2110.11309",
        target="ultraedit.editors.mend:MEND",
        needs_training=True,
    ),
    EditorRow(
        name="mend-original",
        title="MEND, original",
        summary="MEND with the net, the training and the statistics of its first publication",
        family="hypernetwork",
        paper="Fast Model Editing at Scale",
        year=2022,
        url="https://arxiv.org/abs/2110.11309",
        target="ultraedit.editors.mend_original:MENDOriginal",
        needs_training=True,
    ),
    EditorRow(
        name="malmen",
        title="MALMEN",
        summary="Ridge regression on targets that a trained net proposes",
        family="hypernetwork",
        paper="Massive Editing for Large Language Models via Meta Learning",
        year=2024,
        url="https://arxiv.org/abs/2311.04661",
        target="ultraedit.editors.malmen:MALMEN",
        needs_training=True,
    ),
    EditorRow(
        name="rledit",
        title="RLEdit",
        summary="MALMEN with a net trained along a trajectory of turns",
        family="hypernetwork",
        paper="Reinforced Lifelong Editing for Language Models",
        year=2025,
        url="https://arxiv.org/abs/2502.05759",
        target="ultraedit.editors.rledit:RLEdit",
        needs_training=True,
    ),
    EditorRow(
        name="stableedit",
        title="StableEdit",
        summary="UltraEdit with warmed-up statistics, whitened gradients and ridge 10",
        family="closed form",
        paper="More Edits, More Stable: Understanding the Lifelong Normalization in Sequential "
        "Model Editing",
        year=2026,
        url="https://arxiv.org/abs/2605.11836",
        target="ultraedit.editors.stableedit:StableEdit",
    ),
    EditorRow(
        name="ft-l",
        title="FT-L",
        summary="Fine-tuning with all answer tokens wanted at the end of the prompt",
        family="fine-tuning",
        paper="Modifying Memories in Transformer Models",
        year=2020,
        url="https://arxiv.org/abs/2012.00363",
        target="ultraedit.editors.ft:FT",
        options={"objective": "last-prompt"},
    ),
    EditorRow(
        name="ft-m",
        title="FT-M",
        summary="Fine-tuning with teacher forcing, one edit after the other",
        family="fine-tuning",
        paper="EasyEdit: An Easy-to-use Knowledge Editing Framework for LLMs",
        year=2023,
        url="https://arxiv.org/abs/2308.07269",
        target="ultraedit.editors.ft:FT",
    ),
    EditorRow(
        name="ft-bf",
        title="FT-BF",
        summary="Fine-tuning in mini-batches over the whole turn, with an end token",
        family="fine-tuning",
        paper="Fine-tuning Done Right in Model Editing",
        year=2025,
        url="https://arxiv.org/abs/2509.22072",
        target="ultraedit.editors.ft:FT",
        options={"batch_size": 10, "shuffle": True, "end_token": True},
    ),
    EditorRow(
        name="lora",
        title="LoRA",
        summary="Low-rank adapter trained on the facts, turn after turn or on all facts so far",
        family="fine-tuning",
        paper="LoRA: Low-Rank Adaptation of Large Language Models",
        year=2021,
        url="https://arxiv.org/abs/2106.09685",
        target="ultraedit.editors.lora:LoRA",
    ),
    EditorRow(
        name="memit",
        title="MEMIT",
        summary="Optimized hidden states at the subject, written into several MLP layers",
        family="locate then edit",
        paper="Mass-Editing Memory in a Transformer",
        year=2022,
        url="https://arxiv.org/abs/2210.07229",
        target="ultraedit.editors.memit:MEMIT",
        needs_subject=True,
        needs_statistics=True,
    ),
    EditorRow(
        name="alphaedit",
        title="AlphaEdit",
        summary="MEMIT in the null space of preserved knowledge, remembering earlier keys",
        family="locate then edit",
        paper="AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models",
        year=2024,
        url="https://arxiv.org/abs/2410.02355",
        target="ultraedit.editors.alphaedit:AlphaEdit",
        needs_subject=True,
        needs_statistics=True,
    ),
    EditorRow(
        name="rect",
        title="RECT",
        summary="Keeps the relatively largest part of another editor's changes (MEMIT's)",
        family="wrapper",
        paper="Model Editing Harms General Abilities of Large Language Models: "
        "Regularization to the Rescue",
        year=2024,
        url="https://arxiv.org/abs/2401.04700",
        target="ultraedit.editors.rect:RECT",
        needs_subject=True,
        needs_statistics=True,
        wraps=True,
    ),
    EditorRow(
        name="prune",
        title="PRUNE",
        summary="Tames the large singular values of another editor's total change (MEMIT's)",
        family="wrapper",
        paper="Perturbation-Restrained Sequential Model Editing",
        year=2024,
        url="https://arxiv.org/abs/2405.16821",
        target="ultraedit.editors.prune:PRUNE",
        needs_subject=True,
        needs_statistics=True,
        wraps=True,
    ),
    EditorRow(
        name="simie",
        title="SimIE",
        summary="Keeps what is this turn's own of another editor's changes (UltraEdit's)",
        family="wrapper",
        paper="Towards Lifelong Model Editing via Simulating Ideal Editor",
        year=2025,
        url="https://openreview.net/forum?id=VdEG08ZJCH",
        target="ultraedit.editors.simie:SimIE",
        wraps=True,
    ),
    EditorRow(
        name="wise",
        title="WISE",
        summary="A side memory of one layer per shard of edits, chosen by a router per question",
        family="memory",
        paper="WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large "
        "Language Models",
        year=2024,
        url="https://arxiv.org/abs/2405.14768",
        target="ultraedit.editors.wise:WISE",
        beside="memories",
    ),
    EditorRow(
        name="in-context",
        title="In-context",
        summary="No edit of the weights: the best-matching facts are put in front of each question",
        family="retrieval",
        paper="Can We Edit Factual Knowledge by In-Context Learning?",
        year=2023,
        url="https://arxiv.org/abs/2305.12740",
        target="ultraedit.editors.in_context:InContext",
        beside="facts",
    ),
)

EDITORS: dict[str, EditorRow] = {row.name: row for row in _ROWS}


def find_editor(name: str) -> EditorRow:
    """Look an editor up by name.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in EDITORS:
        raise ConfigError(
            f"Unknown editor {name!r}. {did_you_mean(name, EDITORS)} Run `ultraedit editors list`."
        )
    return EDITORS[name]


def base_of(name: str, options: Mapping[str, Any]) -> str | None:
    """The editor that an editor wraps under these options; None if it wraps none.

    Raises:
        ConfigError: If there is no editor of that name.
    """
    row = find_editor(name)
    if not row.wraps:
        return None
    (default,) = (field.default for field in fields(row.load()) if field.name == "base")  # type: ignore[arg-type]
    return find_editor(str(options.get("base", default))).name


@cache
def official_option(name: str) -> str | None:
    """The option by which an editor, or the one that it wraps, follows its released code.

    Args:
        name: Name of its row.

    Returns:
        ``protocol`` or ``base.protocol``, which then takes ``official``; None where it has none.
    """
    base = base_of(name, {})
    try:
        make_editor(base or name, {"protocol": "official"})
    except ConfigError:
        return None
    return "base.protocol" if base else "protocol"


def name_of(editor: Editor | None) -> str | None:
    """Name of an editor's row, the most particular one that it fits; None if it is in no row."""
    if editor is None:
        return None
    cls = type(editor)
    rows = [
        row
        for row in EDITORS.values()
        if row.target == f"{cls.__module__}:{cls.__qualname__}"
        and all(getattr(editor, key) == value for key, value in row.options.items())
    ]
    return max(rows, key=lambda row: len(row.options)).name if rows else None


def make_editor(name: str, options: Mapping[str, Any]) -> Editor:
    """Build an editor from options as a user gives them, text or numbers.

    Args:
        name: Name of its row.
        options: Values by field name; text is converted to the field's type. For a wrapper
            ``base.NAME`` is option NAME of the editor that it wraps.

    Raises:
        ConfigError: If the editor, an option or a value is not known.
    """
    from pydantic import TypeAdapter, ValidationError  # A quarter of the start of `--help`.

    row = find_editor(name)
    cls: Any = row.load()
    known = [field.name for field in fields(cls)]
    if row.wraps:
        inner = {k.removeprefix("base."): v for k, v in options.items() if k.startswith("base.")}
        options = {k: v for k, v in options.items() if not k.startswith("base.")}
        if inner:
            options["base_options"] = {**options.get("base_options", {}), **inner}
    for key in options:
        if key not in known:
            raise ConfigError(
                f"{name} has no option {key!r}. {did_you_mean(key, known)} "
                f"Run `ultraedit editors show {name}`."
            )
    try:
        editor: Editor = TypeAdapter(cls).validate_python({**row.options, **options})
    except ValidationError as error:
        first = error.errors()[0]
        raised = first.get("ctx", {}).get("error")
        if isinstance(raised, ConfigError):
            raise raised from None
        option = first["loc"][0]
        expected = " or ".join(expected_value(e) for e in error.errors() if e["loc"][0] == option)
        raise ConfigError(f"{option} must be {expected}, got {first['input']!r}.") from None
    return opened(editor)


def opened(editor: Editor) -> Editor:
    """An editor with the net that its option ``net`` names; any other as it is.

    Raises:
        ConfigError: If there is no such file, or it is another editor's net.
    """
    held: Any = editor
    if not hasattr(held, "with_net") or held.net == UNTRAINED or held.learned.net is not None:
        return editor
    from ultraedit.core.nets import NetFile  # torch, which help pages do without

    made: Editor = held.with_net(NetFile(held.net), held.net)
    return made
