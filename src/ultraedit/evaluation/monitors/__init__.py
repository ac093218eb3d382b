"""What is watched of a model while it is edited, beside the scores of the edits, and a guard."""

from ultraedit.evaluation.monitors.control import Control, control_edits
from ultraedit.evaluation.monitors.guard import LIMITS, Guard, Halted
from ultraedit.evaluation.monitors.locality import Locality
from ultraedit.evaluation.monitors.watch import Ability, Monitor, Spectra, Watch

__all__ = [
    "LIMITS",
    "Ability",
    "Control",
    "Guard",
    "Halted",
    "Locality",
    "Monitor",
    "Spectra",
    "Watch",
    "control_edits",
]
