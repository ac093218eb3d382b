"""``ultraedit serve``: a model that is taught while it answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultraedit.cli import _options as o
from ultraedit.cli import _output
from ultraedit.cli._progress import progress
from ultraedit.core.errors import ConfigError

if TYPE_CHECKING:
    from ultraedit.core.types import Edit
    from ultraedit.serve.engine import Engine

ACCESS = "Who may ask"

RunOrModel = Annotated[
    str,
    typer.Argument(
        metavar="RUN_OR_MODEL",
        help="The folder of a run, or a model to begin a run with.",
        show_default=False,
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="DIR",
        help="Folder of the run where a model is given: it is begun there, or gone on with. "
        "\\[default: runs/served-MODEL]",
        show_envvar=False,
        show_default=False,
    ),
]
Facts = Annotated[
    str | None,
    typer.Option(
        "--facts",
        metavar="FILE",
        help="Facts that a new run is taught first, or demo for those of `ultraedit demo`.",
        show_envvar=False,
    ),
]
Editor = Annotated[
    str | None,
    typer.Option(
        "--editor",
        metavar="NAME",
        help="Editor of a new run, one of `ultraedit editors list`. \\[default: anchored]",
        show_envvar=False,
        show_default=False,
    ),
]
Host = Annotated[
    str,
    typer.Option("--host", metavar="ADDRESS", help="Where to listen.", rich_help_panel=ACCESS),
]
Port = Annotated[
    int,
    typer.Option(
        "--port",
        metavar="N",
        min=0,
        max=65535,
        help="Port to listen at; 0 takes a free one.",
        rich_help_panel=ACCESS,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File with a token on each line, or NAME:TOKEN with the name of its author. A token "
        "can be given in the variable ULTRAEDIT_TOKEN too. Needed where other machines can ask.",
        rich_help_panel=ACCESS,
        show_envvar=False,
    ),
]
Cors = Annotated[
    list[str] | None,
    typer.Option(
        "--cors",
        metavar="ORIGIN",
        help="A site whose pages may ask, such as https://chat.example. May be repeated.",
        rich_help_panel=ACCESS,
        show_envvar=False,
    ),
]
ServerName = Annotated[
    list[str] | None,
    typer.Option(
        "--server-name",
        metavar="NAME",
        help="A further name under which the server may be asked for without a token. May be "
        "repeated.",
        rich_help_panel=ACCESS,
        show_envvar=False,
    ),
]
ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="Edit nothing.", rich_help_panel=ACCESS)
]
GuardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--guard",
        metavar="NAME=VALUE",
        help="Take a turn back that passes a threshold: norm, agreement, kl or perplexity. May be "
        "repeated; none watches nothing. \\[default: norm=1, agreement=0.5, perplexity=1.5]",
        show_envvar=False,
        show_default=False,
    ),
]
Perplexity = Annotated[
    str | None,
    typer.Option(
        "--perplexity",
        metavar="FILE",
        help="Text whose perplexity is watched. \\[default: the package's control questions]",
        show_envvar=False,
        show_default=False,
    ),
]
MaxBytes = Annotated[
    int,
    typer.Option(
        "--max-bytes", metavar="N", min=1024, help="Bytes of a request.", rich_help_panel=ACCESS
    ),
]
QueuedRequests = Annotated[
    int,
    typer.Option(
        "--queued-requests",
        metavar="N",
        min=1,
        help="Answers that may wait.",
        rich_help_panel=ACCESS,
    ),
]
QueuedFacts = Annotated[
    int,
    typer.Option(
        "--queued-facts", metavar="N", min=1, help="Facts that may wait.", rich_help_panel=ACCESS
    ),
]


def serve(
    run_or_model: RunOrModel,
    run: Run = None,
    facts: Facts = None,
    editor: Editor = None,
    modules: o.Modules = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    edits_per_turn: o.EditsPerTurn = None,
    guard: GuardOption = None,
    perplexity: Perplexity = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    cors: Cors = None,
    server_name: ServerName = None,
    read_only: ReadOnly = False,
    max_bytes: MaxBytes = 4 << 20,
    queued_requests: QueuedRequests = 256,
    queued_facts: QueuedFacts = 2000,
) -> None:
    r"""Serve a model that is taught while it answers, with a page and an OpenAI-compatible API.

    Examples:
      ultraedit serve smollm2
      ultraedit serve edited --port 9000
      ultraedit serve edited --host 0.0.0.0 --token-file tokens.txt --read-only

    Open the address that is printed in a browser, or point any OpenAI client at it with /v1
    behind. Facts are written through the run's journal: what was answered with a turn is on the
    disk. While it is served the run can be read with `ultraedit history` and `find`; afterwards
    everything else works on it too.
    """
    try:
        from ultraedit.serve.app import make_server
        from ultraedit.serve.engine import Engine, Limits
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"serve needs {error.name}, which is not installed. Run "
            "`pip install 'ultraedit[serve]'`."
        ) from None
    from ultraedit.core.files import is_run
    from ultraedit.serve.security import check_address, read_tokens

    policy = check_address(host, read_tokens(token_file), server_name or ())
    policy = _with(policy, origins=tuple(cors or ()), most_bytes=max_bytes)
    given = {"editor": editor, "modules": modules, "dtype": dtype, "device": device}
    path, is_new = _folder(run_or_model, run)
    first = _read_facts(facts) if facts is not None and is_new else []
    limits = Limits(
        queued_requests=queued_requests,
        queued_facts=max(queued_facts, len(first)),
        edits_per_turn=edits_per_turn or Limits.edits_per_turn,
    )
    engine = Engine(
        path, guard=_thresholds(guard), text=perplexity, limits=limits, read_only=read_only
    )
    with progress() as observer:
        observer.stage("Loading the model")
        if is_new:
            from ultraedit.serve.opening import make_run

            make_run(run_or_model, path, given)
        elif any(given.values()):
            names = ", ".join(f"--{name}" for name, value in given.items() if value)
            raise ConfigError(f"The run in {path} has its settings already: leave out {names}.")
        assert is_run(path)
        engine.start()
    server = make_server(engine, policy, host, port)
    for part in _parts(first, limits.edits_per_turn):
        engine.teach(part, "--facts").add_done_callback(_say_failure)
    _run(server, engine, host, port)


def _with(policy: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(policy, **changes)


def _folder(run_or_model: str, run: Path | None) -> tuple[Path, bool]:
    """The folder of the run, and whether it is to be made."""
    from ultraedit.core.files import is_run

    if is_run(Path(run_or_model)):
        if run is not None:
            raise ConfigError(f"{run_or_model} is a run already: leave out --run.")
        return Path(run_or_model), False
    name = Path(run_or_model).name.removesuffix(".gguf") or "model"
    path = run or Path("runs", f"served-{name}")
    return path, not is_run(path)


def _read_facts(spec: str) -> list[Edit]:
    from importlib.resources import as_file, files

    from ultraedit import data

    if spec != "demo":
        return list(data.read(spec))
    with as_file(files("ultraedit") / "data" / "demo_facts.jsonl") as path:
        return list(data.read(f"jsonl:{path}"))


def _parts(edits: list[Edit], size: int) -> list[list[Edit]]:
    return [edits[at : at + size] for at in range(0, len(edits), size)]


def _thresholds(given: list[str] | None) -> dict[str, float] | None:
    """Thresholds of the guard; None for the usual ones.

    Raises:
        ConfigError: If one is not NAME=VALUE.
    """
    if not given:
        return None
    if given == ["none"]:
        return {}
    thresholds = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            thresholds[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"--guard takes NAME=VALUE, such as norm=0.5, got {text!r}.")
    if "control" in thresholds:
        raise ConfigError("A server has no control set: guard norm, agreement, kl or perplexity.")
    return thresholds


def _say_failure(future: Any) -> None:
    if not future.cancelled() and future.exception() is not None:
        _output.message(f"Facts were not written: {future.exception()}")


def _run(server: Any, engine: Engine, host: str, port: int) -> None:
    """Serve until a signal, then say what was not begun."""
    import asyncio

    async def work() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.05)
        if server.started:
            bound = port or server.servers[0].sockets[0].getsockname()[1]
            shown = f"[{host}]" if ":" in host else host
            _output.message(
                f"{engine.model} answers at http://{shown}:{bound}/ and its run is {engine.path}. "
                "Press Ctrl-C to end."
            )
        await serving

    try:
        asyncio.run(work())
    except SystemExit as error:
        raise ConfigError(f"Cannot listen at {host}:{port}. Choose another --port.") from error
    except KeyboardInterrupt:
        pass
    finally:
        engine.close()
    for what in engine.not_begun:
        _output.message(f"Not begun: {what}.")
    if not engine.not_begun:
        _output.message("Everything that was asked for is done.")
