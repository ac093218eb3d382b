"""Search for the modules, the step and the ridge that suit a model and its facts.

`space` says what is tried, `trials` scores one candidate on cached states of the layers below,
`search` decides by successive halving what is tried next within the time there is, `outcome` picks
the best, and `files` writes the preset and remembers finished trials.
"""

from ultraedit.tools.tune.outcome import TuneOutcome, front
from ultraedit.tools.tune.search import Rungs, search
from ultraedit.tools.tune.space import Candidate, module_sets
from ultraedit.tools.tune.trials import Trial, TrialRunner
from ultraedit.tools.tune.tuning import TuneConfig, tune

__all__ = [
    "Candidate",
    "Rungs",
    "Trial",
    "TrialRunner",
    "TuneConfig",
    "TuneOutcome",
    "front",
    "module_sets",
    "search",
    "tune",
]
