"""What flows through a model: what its edited layers see, and passes through a part of it."""

from ultraedit.host.trace.blocks import Blocks
from ultraedit.host.trace.gradients import weight_gradients
from ultraedit.host.trace.layer_cache import HeldRows, HeldTogether
from ultraedit.host.trace.moments import MomentSums, add_moments
from ultraedit.host.trace.offsets import Goal, search_offsets
from ultraedit.host.trace.patch_loss import loss_of_patch
from ultraedit.host.trace.post_norm import norm_behind, through_norm
from ultraedit.host.trace.prefix_cache import PrefixedRow, Upper
from ultraedit.host.trace.shared_prefix import SharedRow
from ultraedit.host.trace.signals import (
    batches,
    head_at,
    layer_signals,
    passes,
    rows_of,
    supervised_logits,
)
from ultraedit.host.trace.teacher_forcing import answer_logits, mean_loss, top_choices
from ultraedit.host.trace.token_rows import trace_rows
from ultraedit.host.trace.token_states import TokenPlace, values_at
from ultraedit.host.trace.trunk import BUDGET_BYTES, Trunk, trunk_of

__all__ = [
    "BUDGET_BYTES",
    "Blocks",
    "Goal",
    "HeldRows",
    "HeldTogether",
    "MomentSums",
    "PrefixedRow",
    "SharedRow",
    "TokenPlace",
    "Trunk",
    "Upper",
    "add_moments",
    "answer_logits",
    "batches",
    "head_at",
    "layer_signals",
    "loss_of_patch",
    "mean_loss",
    "norm_behind",
    "passes",
    "rows_of",
    "search_offsets",
    "supervised_logits",
    "through_norm",
    "top_choices",
    "trace_rows",
    "trunk_of",
    "values_at",
    "weight_gradients",
]
