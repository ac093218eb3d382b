"""What an error proposes in place of a name that is not known."""

from __future__ import annotations

import pytest

from ultraedit.core.errors import did_you_mean

KNOWN = ("smollm2", "gemma3-270m", "mend", "ft")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("smolllm", "Did you mean: smollm2?"),
        ("SMOLLM", "Did you mean: smollm2?"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "Did you mean: smollm2?"),
        ("softmax", "Known: ft, gemma3-270m, mend, smollm2."),  # "ft" tells nothing
    ],
)
def test_a_name_that_is_near_or_within_what_was_typed_is_proposed(typed, said):
    assert did_you_mean(typed, KNOWN) == said
