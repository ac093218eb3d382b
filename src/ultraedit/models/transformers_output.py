"""Keep transformers' own progress bars and warnings off the user's terminal while it works."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers inside the block, and restore its settings afterwards.

    What matters of its warnings, weights that are missing from a file, is checked by `reading`
    and raised as an error. Downloads keep their progress bars: those take minutes.
    """
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from transformers.utils import logging

    placing = getLogger("accelerate.big_modeling")  # says what a user of device_map asked for
    placing_level = placing.level
    verbosity = logging.get_verbosity()
    bars, download_bars = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    # The settings themselves warn where an environment variable overrides them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.set_verbosity_error()
        placing.setLevel("ERROR")
        logging.disable_progress_bar()
        if download_bars:
            enable_progress_bars()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            placing.setLevel(placing_level)
            if bars:
                logging.enable_progress_bar()
            if not download_bars:
                disable_progress_bars()
