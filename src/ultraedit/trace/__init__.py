"""What flows through a model: the signals of its edited layers, batch after batch."""

from ultraedit.trace.gradients import weight_gradients
from ultraedit.trace.judging import judge
from ultraedit.trace.moments import MomentSums, add_moments
from ultraedit.trace.signals import batches, head_at, layer_signals, supervised_logits

__all__ = [
    "MomentSums",
    "add_moments",
    "batches",
    "head_at",
    "judge",
    "layer_signals",
    "supervised_logits",
    "weight_gradients",
]
