"""A whole search: facts split, candidates tried, the best scored on rows that nobody tuned on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ultraedit import data, models
from ultraedit.core.errors import ConfigError, DataError
from ultraedit.core.settings import SettingsModel
from ultraedit.core.types import Edit, NullObserver, Observer
from ultraedit.models import choose_preset
from ultraedit.models.fingerprint import fingerprint
from ultraedit.tools.tune.files import TrialLog, write_preset
from ultraedit.tools.tune.outcome import TuneOutcome, best
from ultraedit.tools.tune.plot import write_plot
from ultraedit.tools.tune.search import LEAST_ROWS, Rungs, search
from ultraedit.tools.tune.space import Candidate, module_sets
from ultraedit.tools.tune.trials import Trial, TrialRunner, with_controls

if TYPE_CHECKING:
    from ultraedit.models import LanguageModel

_log = logging.getLogger("ultraedit")


class TuneConfig(SettingsModel):
    """What a search is about."""

    model: str
    data: str
    """``FORMAT:PATH``."""

    budget: Annotated[float, Field(gt=0)] | None = None
    """Minutes in all. None searches until the neighbors of the best are exhausted."""

    rows: int = Field(default=300, ge=LEAST_ROWS)
    """Rows to tune on."""

    held_out: int = Field(default=200, ge=LEAST_ROWS)
    """Rows for the final score."""

    limit: int | None = Field(default=None, ge=1)
    """Look at the first rows of the data alone."""

    edits_per_turn: int = Field(default=100, ge=1)
    modules: tuple[tuple[str, ...], ...] | None = None
    """Sets of modules to try. None tries windows of layers of the MLP."""

    dtype: str = "auto"
    device: str = "auto"
    seed: int = 0


def tune(config: TuneConfig, out: Path, observer: Observer | None = None) -> TuneOutcome:
    """Search, and leave a preset.

    Args:
        config: What to search.
        out: Where the preset goes. Beside it a plot, ``.png``, and the trials, ``.trials.jsonl``,
            from which the same search goes on where it was interrupted.
        observer: Receives progress updates.

    Returns:
        The best candidate and how it did. After Ctrl-C the best so far, without a final score.

    Raises:
        UltraEditError: If the model or the facts cannot be used, or the trials beside `out` are of
            another search.
        KeyboardInterrupt: After Ctrl-C, where no trial was finished.
    """
    begun = time.perf_counter()
    observer = observer or NullObserver()
    if out.suffix != ".toml":
        raise ConfigError(f"--out must end in .toml, so that --preset takes it, got {out}.")
    edits = data.read(config.data, limit=config.limit, seed=config.seed)
    tuning, held_out = split(edits, config.rows, config.held_out)
    observer.stage("Loading the model")
    model = models.load(config.model, dtype=config.dtype, device=config.device)
    about = _about(config, model, len(tuning), len(held_out))
    log = TrialLog(out.with_suffix(".trials.jsonl"), about)
    sets, start = _sets(config, model)
    bench = TrialRunner(
        model, with_controls(tuning, held_out), edits_per_turn=config.edits_per_turn
    )
    watch = _TrialObserver(observer, config.budget, begun)
    interrupted = False
    try:
        search(
            sets,
            lambda candidate, rows: watch.seen(log, bench.trial(candidate, rows)),
            Rungs.of(len(tuning)),
            deadline=None if config.budget is None else begun + 60 * config.budget,
            reserved=2 * len(held_out),
            trials=list(log.trials),
        )
    except KeyboardInterrupt:
        if not log.trials:
            raise
        interrupted = True
    finally:
        bench.close()
    if not log.trials:
        raise ConfigError(
            "Every candidate gave an update that is not finite. Give --dtype float32."
        )
    outcome = TuneOutcome(best(log.trials), tuple(log.trials), None, None, interrupted)
    if not interrupted:
        outcome = _scored(outcome, start, model, with_controls(held_out, tuning), config, watch)
    write_preset(out, outcome, about)
    write_plot(out.with_suffix(".png"), outcome)
    return outcome


def split(edits: Sequence[Edit], rows: int, held_out: int) -> tuple[list[Edit], list[Edit]]:
    """The last rows of the facts: some to tune on, and behind them some for the final score.

    They are the last, so that a run with ``--limit`` is on others. Where there are too few, both
    parts shrink in proportion. A prompt of the first part does not come back in the second.

    Raises:
        DataError: If there are too few rows to tell anything.
    """
    share = min(1.0, len(edits) / (rows + held_out))
    rows, held_out = int(rows * share), int(held_out * share)
    if min(rows, held_out) < LEAST_ROWS // 2:
        raise DataError(
            f"{len(edits)} rows are too few to tune on and to hold some out: give at least "
            f"{3 * LEAST_ROWS}."
        )
    tuning = list(edits[len(edits) - rows - held_out : len(edits) - held_out])
    known = {edit.prompt for edit in tuning}
    return tuning, [e for e in edits[len(edits) - held_out :] if e.prompt not in known]


def _about(config: TuneConfig, model: LanguageModel, rows: int, held_out: int) -> dict[str, Any]:
    """What trials are of: two searches with the same one can share them."""
    return {
        "model": config.model,
        "fingerprint": fingerprint(model.model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "data": config.data,
        "data_sha256": data.digest(data.parse_spec(config.data)),
        "limit": config.limit,
        "rows": rows,
        "held_out": held_out,
        "edits_per_turn": config.edits_per_turn,
        "seed": config.seed,
    }


def _sets(
    config: TuneConfig, model: LanguageModel
) -> tuple[list[tuple[str, ...]], tuple[str, ...] | None]:
    """Sets of modules to try, and the set that a run without tuning would edit."""
    try:
        start = choose_preset(model, data.parse_spec(config.data).format, None).modules
    except ConfigError:
        start = None
    if config.modules is not None:
        return list(config.modules), start
    first = [] if start is None else [start]
    return list(dict.fromkeys([*first, *module_sets(model.model)])), start


def _scored(
    searched: TuneOutcome,
    start: tuple[str, ...] | None,
    model: LanguageModel,
    held_out: list[Edit],
    config: TuneConfig,
    watch: _TrialObserver,
) -> TuneOutcome:
    """The final score, and what the model would have had without tuning."""
    bench = TrialRunner(model, held_out, edits_per_turn=config.edits_per_turn)
    scores: list[Trial] = []
    candidates = [searched.best.candidate] + ([] if start is None else [Candidate(start)])
    try:
        for candidate in candidates:
            scores.append(watch.passed(bench.trial(candidate, len(held_out))))
    except KeyboardInterrupt:
        return TuneOutcome(
            searched.best, searched.trials, scores[0] if scores else None, None, interrupted=True
        )
    finally:
        bench.close()
    return TuneOutcome(searched.best, searched.trials, scores[0], scores[1] if scores[1:] else None)


class _TrialObserver:
    """Tells an observer how much of the time is gone, and the log how each trial did."""

    def __init__(self, observer: Observer, budget: float | None, begun: float) -> None:
        self._observer = observer
        self._begun = begun
        self._shown = 0
        observer.stage("Trying candidates", None if budget is None else round(60 * budget))

    def seen(self, log: TrialLog, trial: Trial) -> Trial:
        """Note a trial of the search."""
        log.add(trial)
        candidate = trial.candidate
        _log.info(
            "Trial %d: %s, step %g, ridge %g, on %d rows: %.1f %%",
            len(log.trials),
            ", ".join(candidate.modules),
            candidate.step,
            candidate.ridge,
            trial.rows,
            100 * trial.score,
        )
        return self.passed(trial)

    def passed(self, trial: Trial) -> Trial:
        """Move the bar on to now."""
        seconds = int(time.perf_counter() - self._begun)
        self._observer.advance(seconds - self._shown)
        self._shown = seconds
        return trial
