"""One file of a data set on the Hugging Face Hub, as a corpus.

The hub's own client, which transformers brings along, is enough for this; the package `datasets`
is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ultraedit.core.errors import ConfigError

_ID = re.compile(r"[\w.-]+/[\w.-]+(:.+)?")


def is_hub_id(spec: str) -> bool:
    """Tell whether a text could be ``ORG/NAME`` or ``ORG/NAME:FILE``, and is no path."""
    folder = spec.partition("/")[0]
    return _ID.fullmatch(spec) is not None and folder not in (".", "..") and not Path(spec).exists()


def download(spec: str, kinds: Sequence[str]) -> Path:
    """Download a file of a data set, unless it was downloaded before.

    Args:
        spec: ``ORG/NAME:FILE``; without ``:FILE`` the first file by name of a kind that can be
            read, those with ``train`` in their name before others.
        kinds: Endings of the files that can be read.

    Raises:
        ConfigError: If there is no such data set or file, or no network.
    """
    from huggingface_hub import HfApi, hf_hub_download

    name, _, file = spec.partition(":")
    try:
        if not file:
            listed = HfApi().list_repo_files(name, repo_type="dataset")
            usable = [each for each in listed if each.endswith(tuple(kinds))]
            file = min(usable, key=lambda each: ("train" not in each, each), default="")
        if file:
            return Path(hf_hub_download(name, file, repo_type="dataset"))
    except Exception as error:
        # Which error says "no network" depends on the HTTP library beneath the hub's client.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"There is no file {spec!r}, and it cannot be had from the Hugging Face Hub: {reason}"
        ) from error
    raise ConfigError(f"The data set {name} has no file of the kinds {', '.join(kinds)}.")
