"""``export --as gguf``: the base model's GGUF file with the edited tensors replaced.

Everything else keeps its bytes, so what the file does beside the edits is what its base did.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf import GGMLQuantizationType as Kind

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.files import refuse_existing, sha256, staged, write_text
from ultraedit.core.types import NullObserver, Observer, to_json
from ultraedit.export.change import about, base_of, delta_of, provenance_of
from ultraedit.export.gguf_rounding import distance, kept_share, within
from ultraedit.export.gguf_tensors import Place, Weight, find_places, run_weights
from ultraedit.export.model_card import gguf_card
from ultraedit.export.ollama import modelfile
from ultraedit.export.registry import Exported, Table
from ultraedit.models import ALIASES
from ultraedit.models.delta import Delta
from ultraedit.models.gguf_file import (
    GgufFile,
    Replacement,
    decoded,
    encoded,
    fits,
    same_bytes,
    write_like,
)
from ultraedit.models.llama_cpp import require_engine
from ultraedit.runs.store import JOURNAL, Journal

if TYPE_CHECKING:
    from ultraedit.core.types import Scores

TYPES = {"f16": Kind.F16, "q8_0": Kind.Q8_0, "bf16": Kind.BF16, "f32": Kind.F32}
"""Types that edited tensors can be stored in, by their names on the command line."""

SAME = "same"
"""The type that the base file has for each of them."""

DEFAULT = "f16"

_SAFE = {Kind.F16, Kind.BF16, Kind.F32, Kind.Q8_0}
"""Types in which the change of a run survives. In those of 4 and 5 bits, only 59 to 73 % of a
change of 5 % of the weight did (SmolLM2, 20 facts)."""

_WRITABLE = {*_SAFE, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1}
"""Types that the package gguf can write."""


@dataclass(frozen=True)
class Written:
    """An edited tensor as the file has it."""

    module: str
    tensor: str
    type_before: str
    type: str

    kept: float | None
    """Share of the change that survives the type: the projection of what the file changed on what
    the run changed. 1 is all of it; None where the run changed nothing."""

    error: float
    """``||stored - wanted|| / ||wanted||`` of the weight."""


@dataclass(frozen=True)
class GgufExport:
    """An exported GGUF file."""

    base: Path
    """The file that it is a copy of."""

    base_sha256: str
    bytes: int
    modelfile: Path
    tensors: tuple[Written, ...]

    sides: Mapping[str, Scores] | None = None
    """Scores of the run in transformers and of the file in llama.cpp, where they were asked for."""


def write_card(run: Path, out: Path, exported: Exported) -> None:
    """Write the card of a file beside it, as the hub shows it."""
    with closing(Journal.open(run / JOURNAL)) as journal:
        source = provenance_of(journal, about(journal, exported.delta.changes))
    rows = [
        (each["module"], each["tensor"], each["type_before"], each["type"])
        for each in exported.facts["tensors"]
    ]
    write_text(out.with_name("README.md"), gguf_card(source, out.name, rows))


def export(run: Path, out: Path, options: Mapping[str, Any], observer: Observer) -> Exported:
    """As the command line asks for it."""
    delta, done = export_gguf(
        run,
        out,
        kind=options.get("type") or DEFAULT,
        base=options.get("base"),
        lossy=bool(options.get("yes")),
        score=bool(options.get("score")),
        observer=observer,
    )
    from ultraedit.export.scores import as_table
    from ultraedit.report import format_bytes
    from ultraedit.report.formats import short_names

    names = short_names([each.module for each in done.tensors])
    rows = [
        (name, each.tensor, each.type_before, each.type, _percent(each.kept))
        for name, each in zip(names, done.tensors, strict=True)
    ]
    written = Table(["module", "tensor", "was", "is", "change kept"], rows, ["change kept"])
    scored = [] if done.sides is None else [as_table(done.sides)]
    name = _ollama_name(out)
    return Exported(
        delta,
        facts={
            "base_file": str(done.base),
            "base_sha256": done.base_sha256,
            "bytes": done.bytes,
            "modelfile": str(done.modelfile),
            "tensors": [asdict(each) for each in done.tensors],
            "scores": None
            if done.sides is None
            else {side: to_json(each) for side, each in done.sides.items()},
        },
        tables=[written, *scored],
        pairs={
            "copied from": done.base,
            "size": format_bytes(done.bytes),
            "checked": "read back: edited tensors within the rounding of their type, all others "
            "byte for byte",
            "modelfile": done.modelfile,
        },
        commands=[
            shlex.join(["llama-cli", "-m", str(out)]),
            shlex.join(["ollama", "create", name, "-f", str(done.modelfile)])
            + f" && ollama run {shlex.quote(name)}",
            shlex.join(["ultraedit", "ask", str(out), "Your question", "--engine", "llama.cpp"]),
        ],
    )


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.2f}%"


def _ollama_name(out: Path) -> str:
    """A name that Ollama takes."""
    return re.sub(r"[^a-z0-9._-]+", "-", out.stem.lower()).strip("-._") or "edited"


def export_gguf(
    path: Path,
    out: Path,
    *,
    kind: str = DEFAULT,
    base: Path | None = None,
    lossy: bool = False,
    score: bool = False,
    observer: Observer | None = None,
) -> tuple[Delta, GgufExport]:
    """Write a GGUF file of the edited model, and a Modelfile of Ollama beside it.

    The file is written beside its place, read back and compared, and only then put there.

    Args:
        path: The run folder.
        out: The new file.
        kind: How edited tensors are stored: one of `TYPES`, or ``same``.
        base: GGUF file of the base model. None takes the one that the run was made on.
        lossy: Whether ``same`` may be a type in which a part of the change is lost.
        score: Whether to score the run in transformers and the file in llama.cpp.
        observer: Receives progress updates.

    Raises:
        ConfigError: If there is no base file, it is not of the run's base model, or its type
            cannot be written.
        StorageError: If the file cannot be written, or does not read back as it should.
    """
    observer = observer or NullObserver()
    if kind not in (*TYPES, SAME):
        raise ConfigError(f"--type must be one of {', '.join((*TYPES, SAME))}, got {kind!r}.")
    beside = out.with_name(f"{out.stem}.Modelfile")
    for each in (out, beside):
        refuse_existing(each, empty_folder=False)
    if score:
        require_engine()
    with closing(Journal.open(path / JOURNAL)) as journal:
        delta = delta_of(journal, observer)
        template = GgufFile(find_base(delta.base, base, path))
        model = base_of(journal, observer)
        weights = run_weights(model, delta)
        observer.stage("Finding the edited tensors")
        places = find_places(template, weights, exact=base is None)
        if not score:
            del model
        chosen = {
            place.tensor: template.tensors[place.tensor].kind if kind == SAME else TYPES[kind]
            for place in places
        }
        _check_kinds(template, places, weights, chosen, lossy=lossy)
        digest = sha256(template.path)
        metadata = delta.about | {"base_sha256": digest}
        with staged(out) as stage:
            written = write_edited(template, stage, places, weights, chosen, metadata, observer)
        write_text(beside, modelfile(GgufFile(out), out.name))
        sides = None
        if score:
            from ultraedit.export.scores import both_sides

            sides = both_sides(journal, model, delta, template.path, out, observer)
    return delta, GgufExport(
        base=template.path,
        base_sha256=digest,
        bytes=out.stat().st_size,
        modelfile=beside,
        tensors=written,
        sides=sides,
    )


def write_edited(
    template: GgufFile,
    path: Path,
    places: tuple[Place, ...],
    weights: Mapping[str, Weight],
    chosen: Mapping[str, Kind],
    metadata: Mapping[str, str],
    observer: Observer,
) -> tuple[Written, ...]:
    """Write a copy of a file with the edited tensors replaced, and read it back.

    One edited tensor at a time is in memory, however many there are and however long the file is.

    Args:
        template: The GGUF file of the unedited model.
        path: A new file.
        places: Where the edited modules stand in it.
        weights: Their weights, as `run_weights` gives them.
        chosen: How each tensor of `places` is stored.
        metadata: Texts to add, by their names without ``ultraedit.``.
        observer: Receives progress updates.

    Raises:
        StorageError: If it cannot be written, or does not read back as it should.
    """
    observer.stage("Writing the file")
    write_like(
        template,
        path,
        {
            place.tensor: Replacement(
                chosen[place.tensor],
                lambda place=place: encoded(  # type: ignore[misc]
                    place.stored(weights[place.module].after), chosen[place.tensor]
                ),
            )
            for place in places
        },
        metadata,
    )
    observer.stage("Reading it back")
    return check_written(template, GgufFile(path), places, weights, chosen)


def check_target(out: Path, model: str) -> None:
    """Check, before a model is edited, that it can be given back as a GGUF file.

    Raises:
        ConfigError: If there is something at `out` or at its Modelfile, or the model is no GGUF
            file.
    """
    for each in (out, out.with_name(f"{out.stem}.Modelfile")):
        refuse_existing(each, empty_folder=False)
    try:
        find_base(model, None, Path("the run"))
    except ConfigError as error:
        raise ConfigError(
            f"{model} is no GGUF file, so it cannot be given back as {out}. Give a folder as "
            "--out, or a .gguf file as --model."
        ) from error


def find_base(model: str, given: Path | None, run: Path) -> Path:
    """The GGUF file of a run's base model.

    Args:
        model: The base model, as the run has it.
        given: What the user says it is; None to take the model itself, where it is such a file.
        run: The run folder, for the message.

    Raises:
        ConfigError: If the model is no GGUF file and none is given.
    """
    if given is not None:
        return given.expanduser()
    if model in ALIASES and not Path(model).is_dir():
        path = ALIASES[model].gguf()
        if path is not None:
            return path
    path = Path(model).expanduser()
    if path.suffix.lower() == ".gguf":
        return path
    raise ConfigError(
        f"{run} edited {model}, which is no GGUF file, so there is none to copy. Make one with "
        f"llama.cpp: `python convert_hf_to_gguf.py {model} --outtype f16 --outfile base.gguf`, "
        "and, for a smaller one, `llama-quantize base.gguf base-q4.gguf Q4_K_M`; then give "
        "--base base.gguf."
    )


def _check_kinds(
    template: GgufFile,
    places: tuple[Place, ...],
    weights: Mapping[str, Weight],
    chosen: Mapping[str, Kind],
    *,
    lossy: bool,
) -> None:
    """Refuse a type that cannot be written, or in which a part of the change is lost unasked.

    Raises:
        ConfigError: If there is one.
    """
    lost = {}
    for place in places:
        kind, shape = chosen[place.tensor], template.tensors[place.tensor].shape
        if kind not in _WRITABLE:
            raise ConfigError(
                f"{template.path} stores {place.tensor} as {kind.name}, which the package gguf "
                f"cannot write. Give --type {' or '.join(TYPES)}."
            )
        if not fits(shape, kind):
            raise ConfigError(
                f"The rows of {place.tensor} have {shape[1]} numbers, and "
                f"{kind.name} takes them in blocks of 32. Give --type f16."
            )
        if kind not in _SAFE and not lossy:
            weight = weights[place.module]
            stored = decoded(encoded(weight.after, kind), kind, shape)
            lost[place.tensor] = (kind, kept_share(stored, weight.before, weight.after))
    if lost:
        said = "; ".join(f"{_percent(kept)} in {name}" for name, (_, kept) in lost.items())
        kind = next(iter(lost.values()))[0]
        raise ConfigError(
            f"Stored as {kind.name}, as the base file has it, of the change survives {said}. Give "
            "--type f16 or q8_0, which keep it, or add --yes to write the file all the same."
        )


def check_written(
    template: GgufFile,
    written: GgufFile,
    places: tuple[Place, ...],
    weights: Mapping[str, Weight],
    chosen: Mapping[str, Kind],
) -> tuple[Written, ...]:
    """Compare a file with what it should be.

    Raises:
        StorageError: If a tensor is missing or differs, or a metadata entry does.
    """
    edited = {place.tensor for place in places}
    same = list(template.tensors) == list(written.tensors) and all(
        same_bytes(template, written, name) for name in template.tensors if name not in edited
    )
    kept = list(template.entries("ultraedit."))
    if not same or list(written.entries("ultraedit.")) != kept:
        raise StorageError(
            f"What was written of {template.path} does not read back as it was. The disk or the "
            "memory may be at fault: try again."
        )
    return tuple(
        _check_tensor(template, written, place, weights[place.module], chosen[place.tensor])
        for place in places
    )


def _check_tensor(
    template: GgufFile, written: GgufFile, place: Place, weight: Weight, kind: Kind
) -> Written:
    """Compare an edited tensor with the run's weight."""
    wanted = Weight(*(place.stored(each) for each in weight))
    stored = written.weight(place.tensor)
    if not within(stored, wanted.after, kind):
        raise StorageError(
            f"{place.tensor} read back is not its weight rounded to {kind.name}. A weight beyond "
            "65504 needs --type bf16 or f32; otherwise the disk or the memory may be at fault: try "
            "again."
        )
    return Written(
        module=place.module,
        tensor=place.tensor,
        type_before=template.tensors[place.tensor].kind.name,
        type=kind.name,
        kept=kept_share(stored, wanted.before, wanted.after),
        error=distance(stored, wanted.after),
    )
