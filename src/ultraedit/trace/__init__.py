"""What flows through a model: the signals of its edited layers, and what their inputs are like."""

from ultraedit.trace.gradients import weight_gradients
from ultraedit.trace.moments import MomentSums, add_moments
from ultraedit.trace.signals import batches, head_at, layer_signals, supervised_logits

__all__ = [
    "MomentSums",
    "add_moments",
    "batches",
    "head_at",
    "layer_signals",
    "supervised_logits",
    "weight_gradients",
]
