"""The paper's tables and figures, run again: plans, their runs, and what is made of them."""

from ultraedit.tools.reproduce.artifact import Artifact
from ultraedit.tools.reproduce.catalog import ARTIFACTS, LONG, choose, find_artifacts
from ultraedit.tools.reproduce.environment import Environment, choose_models
from ultraedit.tools.reproduce.records import RunRecords
from ultraedit.tools.reproduce.scales import SCALES, Scale, find_scale
from ultraedit.tools.reproduce.steps import Step
from ultraedit.tools.reproduce.working import Outcome, carry_out, given_up, ordered

__all__ = [
    "ARTIFACTS",
    "LONG",
    "SCALES",
    "Artifact",
    "Environment",
    "Outcome",
    "RunRecords",
    "Scale",
    "Step",
    "carry_out",
    "choose",
    "choose_models",
    "find_artifacts",
    "find_scale",
    "given_up",
    "ordered",
]
