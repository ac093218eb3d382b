"""What flows through a model: signals and inputs of its edited layers, and offsets added to them."""

from ultraedit.trace.lookups import Place, values_at
from ultraedit.trace.gradients import weight_gradients
from ultraedit.trace.moments import MomentSums, add_moments
from ultraedit.trace.offsets import Goal, search_offsets
from ultraedit.trace.resume import Row, Upper
from ultraedit.trace.signals import batches, head_at, layer_signals, supervised_logits

__all__ = [
    "Goal",
    "MomentSums",
    "Place",
    "Row",
    "Upper",
    "add_moments",
    "batches",
    "head_at",
    "layer_signals",
    "search_offsets",
    "supervised_logits",
    "values_at",
    "weight_gradients",
]
