"""Plans become runs: which ones, with what settings, and each of them once."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from ultraedit.core.errors import ConfigError, DataError
from ultraedit.data import find_root
from ultraedit.editors import EDITORS, make_editor, official_option
from ultraedit.runs.config import make_config
from ultraedit.tools.reproduce import (
    ARTIFACTS,
    SCALES,
    choose,
    choose_models,
    find_artifacts,
    find_scale,
    ordered,
)
from ultraedit.tools.reproduce.environment import Unavailable
from ultraedit.tools.reproduce.names import METHODS, Wanted
from ultraedit.tools.reproduce.steps import Run, Train

IDS = [f"table{n}" for n in range(1, 11)] + [f"figure{n}" for n in (1, 2, 4, 5, 6, 7, 8, 9)]


def steps_of(environment, *ids, only=()):
    plans = find_artifacts(ids)
    return list(
        ordered(step for each in plans for step in each.steps(environment, choose(each, only)))
    )


def runs_of(environment, *ids, only=()):
    return [step for step in steps_of(environment, *ids, only=only) if isinstance(step, Run)]


def test_the_tables_and_figures_of_the_paper_are_all_there():
    assert list(ARTIFACTS) == IDS


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("id", IDS)
def test_every_plan_resolves_to_runs_with_settings_that_can_be(environment, scale, id):
    made = environment(scale)
    runs = runs_of(made, id)
    assert bool(runs) == (id != "table6")
    for run in runs:
        config = make_config(run.located(made.out))
        if "net" not in run.made:
            make_editor(config.editor, config.options)
        assert config.limit is not None


def test_what_is_wanted_is_a_run_unless_its_editor_is_not_here(environment):
    made = environment("paper")
    for id in IDS:
        for wanted in ARTIFACTS[id].wanted():
            if METHODS[wanted.method].editor in EDITORS:
                made.run(wanted)
            else:
                with pytest.raises(Unavailable, match="no editor named"):
                    made.run(wanted)


def test_the_sizes_of_the_paper_are_the_papers(environment):
    made = environment("paper")
    sizes = {
        (w.method, w.dataset): made.run(w).settings["limit"]
        for w in ARTIFACTS["table2"].wanted()
        if w.method in ("ultraedit", "ultraedit*")
    }
    assert sizes == {
        ("ultraedit", "zsre"): 20_000,
        ("ultraedit", "fever"): 20_000,
        ("ultraedit", "wikibigedit"): 17_000,
        ("ultraedit*", "zsre"): 100_000,
        ("ultraedit*", "fever"): 100_000,
        ("ultraedit*", "wikibigedit"): 500_000,
    }
    run = made.run(Wanted("llama-3", "ultraedit*", "ultraeditbench"))
    assert (run.settings["limit"], run.settings["edits_per_turn"]) == (1_000_000, 100)
    assert run.settings["model"] == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert run.settings["evaluate_at"] == [500, 1_000, 2_500, 5_000, 7_500]


def test_equal_runs_of_several_tables_are_one(environment):
    made = environment("small")
    places = {
        id: {run.place for run in runs_of(made, id)} for id in ("table2", "table8", "figure7")
    }
    assert places["figure7"] <= places["table2"] | places["table8"]
    assert len(runs_of(made, "table2", "table8", "figure7")) == len(
        places["table2"] | places["table8"]
    )


def test_models_that_stand_for_two_of_the_papers_are_run_once(environment):
    small, paper = (runs_of(environment(scale), "table4") for scale in ("small", "paper"))
    assert (len(small), len(paper)) == (2 * 7, 3 * 7)


def test_a_run_is_the_same_wherever_its_files_lie(environment, root, tmp_path):
    elsewhere = tmp_path / "moved"
    shutil.copytree(root, elsewhere)
    here, there = environment("small"), environment("small", out=tmp_path / "other", root=elsewhere)
    for one, other in zip(steps_of(here, "all"), steps_of(there, "all"), strict=True):
        assert one.place == other.place


def test_another_setting_is_another_run(environment):
    made = environment("small")
    places = [
        made.run(Wanted("gpt-j", method, "zsre")).place for method in METHODS if method != "wise"
    ]
    assert len(set(places)) == len(places)


def test_nets_are_trained_on_rows_that_are_not_edited(environment):
    steps = steps_of(environment("small"), "table2", only=("malmen", "rledit", "zsre"))
    nets = [step for step in steps if isinstance(step, Train)]
    assert [net.settings["editor"] for net in nets] == ["rledit", "rledit"]
    assert all(net.edited == 60 and net.settings["limit"] == 160 for net in nets)
    (run,) = [s for s in steps if isinstance(s, Run) and s.settings["model"] == "smollm2"]
    assert run.settings["options"]["net"] == nets[0].place
    assert steps.index(nets[0]) < steps.index(run)


def test_at_the_papers_scale_nets_are_trained_on_as_many_rows_as_the_paper_says(environment):
    (net, _) = steps_of(environment("paper"), "table9", only=("malmen", "zsre"))
    assert isinstance(net, Train)
    assert (net.edited, net.settings["limit"]) == (None, None)


def test_only_takes_words_of_one_kind_as_alternatives():
    plan = ARTIFACTS["table2"]
    both = choose(plan, ("ultraedit", "ft", "zsre"))
    assert {w.method for w in both} == {"ultraedit", "ft"}
    assert {w.dataset for w in both} == {"zsre"}
    assert {w.model for w in both} == {"gpt-j", "mistral", "llama-3"}
    with pytest.raises(
        ConfigError, match=r"no model, method or data set 'memitt'\. Did you mean: memit"
    ):
        choose(plan, ("memitt",))


def test_models_are_given_for_all_or_for_one():
    assert set(choose_models(("m",)).values()) == {"m"}
    assert choose_models(("a", "llama-3=b"))["llama-3"] == "b"
    with pytest.raises(
        ConfigError, match=r"The paper has no model 'llama3'\. Did you mean: llama-3"
    ):
        choose_models(("llama3=b",))


def test_what_is_not_there_is_said(environment, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="Unknown scale 'tiny'"):
        find_scale("tiny")
    with pytest.raises(ConfigError, match="figure3 is the drawing"):
        find_artifacts(("figure3",))
    with pytest.raises(ConfigError, match="The paper has no 'table11' to run"):
        find_artifacts(("table11",))
    with pytest.raises(DataError, match="There is no data folder nowhere"):
        find_root(tmp_path.__class__("nowhere"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ULTRAEDIT_DATA", raising=False)
    assert find_root(None) is None
    with pytest.raises(Unavailable, match="in no data folder"):
        environment("small", root=None).run(Wanted("gpt-j", "ultraedit", "zsre"))


def test_a_data_set_that_is_not_there_has_a_stand_in_at_a_small_scale_only(environment, tmp_path):
    for name in ("hallueditbench/h.json", "triples/entityquestions_220k.tsv.gz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("[]")
    small, paper = environment("small", root=tmp_path), environment("paper", root=tmp_path)
    wiki = Wanted("gpt-j", "ultraedit", "wikibigedit")
    assert small.run(wiki).settings["data"] == f"hallueditbench:{tmp_path}/hallueditbench/h.json"
    built = small.run(wiki._replace(dataset="ultraeditbench"))
    (build,) = built.needs
    assert build.size == 300
    assert built.settings["data"] == f"ultraeditbench:{build.facts}"
    for dataset in ("wikibigedit", "ultraeditbench"):
        with pytest.raises(Unavailable, match="is missing"):
            paper.run(wiki._replace(dataset=dataset))


@pytest.mark.parametrize("scale", SCALES)
def test_a_plan_runs_every_editor_by_official_that_has_one(environment, scale):
    made = replace(environment(scale), protocol="official")
    plain = environment(scale)
    has = {"ft-l", "wise", "alphaedit", "memit", "rect", "prune", "mend", "malmen", "rledit"}
    needs_text = {"memit", "alphaedit", "rect", "prune"}
    for id in IDS:
        for wanted in ARTIFACTS[id].wanted():
            editor = METHODS[wanted.method].editor
            run, usual = made.run(wanted), plain.run(wanted)
            options = dict(run.settings["options"])
            option = "base.protocol" if editor in ("rect", "prune") else "protocol"
            if editor == "ultraedit":
                assert run.settings == usual.settings and options[option] == "official"
                continue
            assert editor in has
            if editor in needs_text and made.scale.corpus is None:
                assert run.settings == usual.settings
                continue
            assert options.pop(option) == "official"
            assert options.items() >= METHODS[wanted.method].options.items()
            assert run.place != usual.place
            config = make_config(run.located(made.out))
            if "net" not in run.made:
                editor_made = make_editor(config.editor, config.options)
                inner = getattr(editor_made, "inner", editor_made)
                assert inner.protocol == "official"


def test_which_editors_have_an_official_protocol():
    options = {name: official_option(name) for name in EDITORS}
    without = {"anchored", "ft-m", "ft-bf", "in-context", "lora"}
    assert {name for name, option in options.items() if option is None} == without
    assert {n for n, option in options.items() if option == "base.protocol"} == {
        "rect",
        "prune",
        "simie",
    }
