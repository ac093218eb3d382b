"""Send what a run wrote to the Hugging Face Hub, with its card."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.types import NullObserver, Observer
from ultraedit.export.registry import FORMATS, PUSHED, find


@dataclass(frozen=True)
class Pushed:
    """What was sent, or would be."""

    repository: str
    form: str
    files: Mapping[str, int]
    """Sizes in bytes, by name."""
    url: str | None
    """Address of the commit; None of what was only shown."""


def push(
    run: Path,
    repository: str,
    *,
    form: str = "model",
    private: bool = False,
    dry_run: bool = False,
    options: Mapping[str, Any] | None = None,
    observer: Observer | None = None,
) -> Pushed:
    """Export a run to a folder of its own and send that as one commit.

    Args:
        run: The run folder.
        repository: ``ORG/NAME`` on the hub. It is made if there is none.
        form: One of `registry.PUSHED`.
        private: Whether a repository that is made is seen by its owners alone.
        dry_run: Whether to export, and to send nothing.
        options: Further options of the format, as `registry.Exporter` takes them.
        observer: Receives progress updates.

    Raises:
        ConfigError: If the name or the form cannot be used, or the hub refuses.
        StorageError: If the hub cannot be reached.
    """
    observer = observer or NullObserver()
    if form not in PUSHED:
        raise ConfigError(f"--as must be one of {', '.join(PUSHED)}, got {form!r}.")
    _check_name(repository)
    with tempfile.TemporaryDirectory(prefix="ultraedit-push-") as place:
        folder = Path(place) / "files"
        name = repository.rpartition("/")[2]
        row = FORMATS[form]
        out = folder / f"{name}{row.suffix}" if row.suffix else folder
        exported = row.load()(run, out, dict(options or {}), observer)
        if row.card:
            find(row.card)(run, out, exported)
        files = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        url = None if dry_run else _send(folder, repository, run, observer, private=private)
    return Pushed(repository, form, files, url)


def _check_name(repository: str) -> None:
    """Check what the hub would refuse after the export.

    Raises:
        ConfigError: If it is no name.
    """
    if "/" not in repository:
        raise ConfigError(
            f"{repository!r} has no owner. Give ORG/NAME, where ORG may be your user name."
        )
    if re.fullmatch(r"[\w.-]{1,96}/\w[\w.-]{0,94}\w", repository) is None:
        raise ConfigError(
            f"{repository!r} is no name of a repository. Give ORG/NAME of letters, digits and -_. "
            "alone."
        )


def _send(folder: Path, repository: str, run: Path, observer: Observer, *, private: bool) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    with _explained(repository, api.endpoint):
        observer.stage(f"Sending to {api.endpoint}/{repository}")
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"Edits of {run.resolve().name}, by ultraedit",
        )
    return str(commit.commit_url)


@contextmanager
def _explained(repository: str, endpoint: str) -> Iterator[None]:
    """Turn what the hub and the network say into one sentence."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    login = "Run `hf auth login` with a token that may write there, or set HF_TOKEN."
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise ConfigError(f"The hub wants to know who you are. {login}") from error
    except OfflineModeIsEnabled as error:
        raise ConfigError("The hub is switched off by HF_HUB_OFFLINE. Unset it.") from error
    except HfHubHTTPError as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ConfigError(f"{endpoint} refuses {repository}: {said}. {login}") from error
    except Exception as error:
        # Which error says "no network" depends on the HTTP library beneath the hub's client.
        said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise StorageError(
            f"Nothing was sent to {repository}, since {endpoint} cannot be reached or does not "
            f"answer as a hub: {said}. Look at the network, and try again."
        ) from error
