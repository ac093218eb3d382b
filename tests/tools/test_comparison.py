"""Runs side by side: what is the same is compared, what is not is left out and said."""

from __future__ import annotations

import json

import pytest

from tests.report.runs import write_run
from ultraedit.core.errors import ConfigError
from ultraedit.report.comparison_page import comparison_page
from ultraedit.report.plots import draw_overlay
from ultraedit.tools.comparison import compare_runs, write_comparison


@pytest.fixture
def make(tmp_path):
    return lambda name, **changes: write_run(tmp_path / name, **changes)


def text(comparison):
    return comparison_page(comparison, "c").markdown


def test_the_figures_of_every_run_stand_side_by_side(make):
    folders = [
        make("one"),
        make("two", gain=0.2, edit_seconds=40.0, peak_memory_bytes=2**31, turns=4),
    ]
    comparison = compare_runs(folders)
    page = text(comparison)
    assert "|  | one | two |" in page
    assert "| free efficacy | 50.0% | 50.0% |" in page
    assert "| forced efficacy | 50.0% | 90.0% |" in page
    assert "| forced agreement | 90.0% | 80.0% |" in page
    assert "| time of 100 edits | 50.0 s | 1 min 40 s |" in page
    assert "| peak memory | 1 GiB | 2 GiB |" in page
    assert "| perplexity | 24 (before 20) | 24 (before 20) |" in page
    assert "| sst2 | 72.0% | 72.0% |" in page
    assert comparison.warnings == []
    assert "Warning" not in page


def test_the_agreement_on_control_questions_stands_beside_the_scores(make):
    asked = {"questions": 100, "agreement": 0.875, "generation": 0.75, "worst": None}
    page = text(compare_runs([make("one", controls={"after": asked}), make("two")]))
    assert "| free agreement on 100 control questions | 75.0% | n/a |" in page
    assert "| forced agreement on 100 control questions | 87.5% | n/a |" in page


def test_only_the_scores_that_are_there_are_explained(make):
    page = text(compare_runs([make("one"), make("two")]))
    assert "Under `free`, exact match" in page
    assert "`stops`" not in page


def test_only_settings_that_differ_are_listed(make):
    folders = [
        make("one", settings={"editor": "ultraedit"}),
        make(
            "two", settings={"editor": "memit"}, resolved={"options": {"ridge": 1.0, "k": [1, 2]}}
        ),
    ]
    comparison = compare_runs(folders)
    assert comparison.settings() == {
        "editor": ["ultraedit", "memit"],
        "eta": [0.001, None],
        "k": [None, [1, 2]],
    }
    assert "| k | n/a | 1, 2 |" in text(comparison)
    assert "None: the runs were made with the same settings." in text(
        compare_runs([folders[0], make("three", settings={"editor": "ultraedit"})])
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data": "zsre:others.json"}, "its facts are not those of one"),
        ({"model": "gemma3-270m"}, "its unedited model, gemma3-270m, is not that of one, smollm2"),
    ],
)
def test_a_run_of_other_facts_or_of_another_model_is_left_out_and_it_is_said(make, changes, why):
    comparison = compare_runs([make("one"), make("other", **changes), make("two")])
    assert [each.name for each in comparison.runs] == ["one", "two"]
    (left_out,) = comparison.left_out
    assert left_out.name == "other"
    assert why in left_out.why
    page = text(comparison)
    assert f"**Warning:** other is left out: {why}" in page
    assert "| other |" not in page


def test_runs_that_differ_in_more_than_settings_are_remarked_on(make):
    folders = [
        make("one"),
        make("two", turns=2, settings={"free_answers": 5}, machine={"system": "Darwin"}),
    ]
    said = " ".join(compare_runs(folders).warnings)
    assert "two made 20 edits and one 40: their scores are of different edits." in said
    assert "two has free_answers 5 and one not set" in said
    assert "two ran on Darwin, cpu and one on Linux, x86_64, cpu" in said


def test_runs_of_the_same_folder_name_are_told_apart(make):
    comparison = compare_runs([make("a/run"), make("b/run")])
    assert [each.name for each in comparison.runs] == ["a/run", "b/run"]


def test_curves_lie_over_each_other_with_a_line_for_each_run(make):
    one, two = make("one"), make("two", gain=0.2)
    apart, over = (
        draw_overlay(compare_runs(folders).runs) for folders in ([one, make("same")], [one, two])
    )
    assert apart.png != over.png
    for name in ("one", "two", "Efficacy, teacher-forced, %", "Perplexity on the text"):
        assert f">{name}</text>" in over.svg


def test_a_run_without_scores_on_the_way_has_a_line_to_its_end(make):
    folder = make("old")
    path = folder / "records.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [row for row in rows if row["kind"] == "turn"]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in kept))
    page = text(compare_runs([folder, make("new")]))
    assert "scored at its end alone" in page
    assert draw_overlay(compare_runs([folder, make("newer")]).runs).svg.count(">old</text>") == 1


def test_a_page_of_markdown_has_its_plots_beside_it(make, tmp_path):
    comparison = compare_runs([make("one"), make("two")])
    written = write_comparison(comparison, tmp_path / "c.md")
    assert [path.name for path in written] == ["c-scores.png", "c-costs.png", "c.md"]
    page = (tmp_path / "c.md").read_text()
    assert "](c-scores.png)" in page
    assert write_comparison(comparison, tmp_path / "c.html") == [tmp_path / "c.html"]


def test_what_cannot_be_compared_at_all_is_an_error(make, tmp_path):
    one = make("one")
    with pytest.raises(ConfigError, match="needs two runs or more"):
        compare_runs([one])
    with pytest.raises(ConfigError, match="named twice"):
        compare_runs([one, one])
    with pytest.raises(ConfigError, match="is not a finished run"):
        compare_runs([one, tmp_path])
    comparison = compare_runs([one, make("two")])
    with pytest.raises(ConfigError, match=r"must end with \.html or \.md, got .*c\.pdf"):
        write_comparison(comparison, tmp_path / "c.pdf")
    (tmp_path / "c.html").write_text("mine")
    with pytest.raises(ConfigError, match="already there"):
        write_comparison(comparison, tmp_path / "c.html")
    assert (tmp_path / "c.html").read_text() == "mine"
