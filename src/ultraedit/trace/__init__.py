"""What flows through a model: what its edited layers see, and passes through a part of it."""

from ultraedit.trace.asking import answer_logits, mean_loss, top_choices
from ultraedit.trace.blocks import Blocks
from ultraedit.trace.gradients import weight_gradients
from ultraedit.trace.held import HeldRows, HeldTogether
from ultraedit.trace.judging import judge
from ultraedit.trace.lookups import Place, values_at
from ultraedit.trace.moments import MomentSums, add_moments
from ultraedit.trace.norms import norm_behind, through_norm
from ultraedit.trace.offsets import Goal, search_offsets
from ultraedit.trace.resume import Row, Upper
from ultraedit.trace.rows import trace_rows
from ultraedit.trace.signals import batches, head_at, layer_signals, passes, supervised_logits
from ultraedit.trace.trunk import BUDGET_BYTES, Trunk, trunk_of

__all__ = [
    "BUDGET_BYTES",
    "Blocks",
    "Goal",
    "HeldRows",
    "HeldTogether",
    "MomentSums",
    "Place",
    "Row",
    "Trunk",
    "Upper",
    "add_moments",
    "answer_logits",
    "batches",
    "head_at",
    "judge",
    "layer_signals",
    "mean_loss",
    "norm_behind",
    "passes",
    "search_offsets",
    "supervised_logits",
    "through_norm",
    "top_choices",
    "trace_rows",
    "trunk_of",
    "values_at",
    "weight_gradients",
]
