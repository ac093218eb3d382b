"""Ask the Hugging Face Hub for a model, with an answer in seconds also without a network."""

from __future__ import annotations

import logging
from pathlib import Path

from ultraedit.core.errors import ConfigError
from ultraedit.models.checkpoint import CONFIG, OTHER_WEIGHTS

_log = logging.getLogger("ultraedit")

_TIMEOUT_SECONDS = 10


def check_hub(hub_id: str) -> bool:
    """Look for a model on the hub, else in the local cache of earlier downloads.

    transformers itself tries a missing network again and again, for half a minute per file.

    Args:
        hub_id: A name such as ``org/model``.

    Returns:
        Whether the hub answered. If not, the model is in the local cache.

    Raises:
        ConfigError: If the model is in neither place, saying why.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        HfApi().model_info(hub_id, timeout=_TIMEOUT_SECONDS)
        return True
    except HFValidationError as error:
        raise ConfigError(f"{hub_id!r} cannot be the name of a model on the hub") from error
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"the Hugging Face Hub has no {hub_id!r}, or it is private and needs `hf auth login`"
        ) from error
    except Exception as error:
        # Which error says "no network" depends on the HTTP library beneath the hub's client.
        if isinstance(try_to_load_from_cache(hub_id, "config.json"), str):
            return False
        raise ConfigError(
            f"the Hugging Face Hub cannot be reached, and {hub_id!r} was not downloaded before"
        ) from error


def fetch_other_files(hub_id: str) -> None:
    """Download what a model has beside its weights, such as its license and its image processor.

    transformers downloads only what it reads, and a saved model keeps all that its source has.
    """
    from huggingface_hub import snapshot_download

    weights = [f"*{ending}" for ending in OTHER_WEIGHTS]
    try:
        snapshot_download(hub_id, ignore_patterns=weights)
    except Exception as error:
        # As in `check_hub`; what the model itself needs is asked for again, and missed there.
        _log.warning("Not all small files of %s could be downloaded: %s", hub_id, error)


def snapshot(hub_id: str) -> Path | None:
    """The folder of the local cache with a model that was downloaded; None if there is none."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub_id, CONFIG)
    return Path(config).parent if isinstance(config, str) else None
