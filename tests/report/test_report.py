"""The report says what the four files of a run say, and nothing breaks its page or its plots."""

import inspect
import json
import math
import re
import shlex
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.types import (
    Answer,
    CheckpointRecord,
    GenerationScores,
    Scores,
    TurnRecord,
    to_json,
)
from ultraedit.report import (
    ScoreRow,
    examples,
    format_bytes,
    format_change,
    format_count,
    format_number,
    format_percent,
    format_seconds,
    scores_table,
    write,
)
from ultraedit.report.command import reproduce_command
from ultraedit.report.examples import sample
from ultraedit.report.formats import short_names
from ultraedit.report.markdown import code, escape
from ultraedit.report.plots import WIDEST, draw_metrics
from ultraedit.report.reading import read_run
from ultraedit.report.run_page import PLOTS

MODULES = tuple(f"model.layers.{layer}.mlp.down_proj" for layer in (25, 26))

BEFORE = Scores(
    efficacy=0.163,
    generalization=0.158,
    specificity=0.24,
    agreement=1.0,
    probes={"personas": 0.1},
    generation=GenerationScores(efficacy=0.01, generalization=0.02, specificity=0.1, agreement=1.0),
)
AFTER = Scores(
    efficacy=0.689,
    generalization=0.566,
    specificity=0.19,
    agreement=0.555,
    probes={"personas": 0.35},
    generation=GenerationScores(efficacy=0.5, generalization=0.4, specificity=0.09, agreement=0.25),
)

SETTINGS = {
    "model": "smollm2",
    "data": "zsre:some facts/zsre.json",
    "editor": "ultraedit",
    "options": {"eta": 1e-3, "variance": "released"},
    "modules": ["layers.[25-26].mlp.down_proj", "lm_head"],
    "preset": None,
    "edits_per_turn": 100,
    "turns": None,
    "limit": 300,
    "free_answers": None,
    "chat_answers": False,
    "free_always": False,
    "control_questions": 100,
    "use_rephrases": 0,
    "evaluate_every": None,
    "evaluate_at": [],
    "score_sample": None,
    "score_newest": None,
    "perplexity": "some text.txt",
    "probe": ["few-shot", "reverse"],
    "corpus": None,
    "corpus_samples": 1000,
    "device_map": None,
    "trunk": False,
    "monitor": ["spectrum", "locality"],
    "control": 9,
    "ability": ["sst2", "mmlu"],
    "ability_limit": 50,
    "ability_data": "/data",
    "guard": {"norm": 0.5, "kl": 2.0},
    "guard_action": "back",
    "snapshot_every": 100,
    "dtype": "auto",
    "device": "auto",
    "seed": 7,
    "save_model": False,
}


def answer(kind, number, *, before="old", after="new", correct=True, **more):
    values = {"prompt": f"{kind} question {number}", "target": "new"} | more
    return Answer(kind, f"e{number}", before=before, after=after, correct=correct, **values)


ANSWERS = [
    answer(kind, number, correct=number % 3 == 0)
    for number in range(30)
    for kind in ("efficacy", "generalization", "specificity")
]


@pytest.fixture
def make_run(tmp_path):
    """Write the four files of a run, with whatever should differ from an ordinary one."""

    def make(
        turn_sizes=(100, 100, 100),
        *,
        modules=MODULES,
        before=BEFORE,
        after=AFTER,
        answers=ANSWERS,
        settings=None,
        resolved=None,
        **summary,
    ):
        folder = tmp_path / "run 1"
        folder.mkdir(exist_ok=True)
        total = sum(turn_sizes)
        rows = [_checkpoint(0, total, before)]
        for turn, edits in enumerate(turn_sizes, start=1):
            norms = {path: 0.01 * turn * (1 + i) for i, path in enumerate(modules)}
            record = TurnRecord(
                turn=turn,
                edits=edits,
                total_edits=sum(turn_sizes[:turn]),
                seconds=edits / (8 + turn),
                memory_bytes=2**30 + turn * 2**26,
                norms=norms,
            )
            rows.append({"kind": "turn"} | to_json(record))
        rows.append(_checkpoint(len(turn_sizes), total, after))
        values = {
            "model": "smollm2",
            "data": "zsre:some facts/zsre.json",
            "editor": "ultraedit",
            "edits": total,
            "scored": total,
            "turns": len(turn_sizes),
            "overruled": 0,
            "edit_seconds": 24.0,
            "edits_per_second": 12.5,
            "peak_memory_bytes": 3 * 2**29,
            "before": to_json(before),
            "after": to_json(after),
            "resolved": {
                "options": {"eta": 0.001, "ridge": 1.0, "protocol": "paper", "master": None},
                "modules": list(modules),
                "preset": "smollm2/zsre",
                "preset_source": "measured | here",
                "dtype": "float32",
                "device": "cpu",
            }
            | (resolved or {}),
        } | summary
        config = {
            "settings": SETTINGS | (settings or {}),
            "versions": {"ultraedit": "0.1.0", "torch": "2.13.0"},
            "machine": {"system": "Linux", "processor": "x86_64"},
            "started": "2026-01-02T03:04:05+00:00",
        }
        _write_lines(folder / "records.jsonl", rows)
        _write_lines(folder / "answers.jsonl", [each._asdict() for each in answers])
        (folder / "summary.json").write_text(json.dumps(values), encoding="utf-8")
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return folder

    return make


def _checkpoint(turn, edits, scores):
    record = CheckpointRecord(turn=turn, edits=edits, overruled=0, seconds=30.0, scores=scores)
    return {"kind": "checkpoint"} | to_json(record)


def _write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _page(folder):
    write(folder)
    return (folder / "report.md").read_text(encoding="utf-8")


def _pixels(path):
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


# The page


def test_the_headline_says_what_was_done_and_how_it_went(make_run):
    page = _page(make_run())
    assert page.startswith("# ultraedit: 300 edits of smollm2\n")
    assert (
        "**ultraedit made 300 edits in 3 turns to `smollm2` with the facts of "
        "`zsre:some facts/zsre.json`, in float32 on cpu.**"
    ) in page
    assert "efficacy 16.3% to 68.9%, generalization 15.8% to 56.6%" in page
    assert "12.5 edits per second, peak memory 1.5 GiB." in page


def test_the_scores_stand_before_and_after_forced_and_free(make_run):
    page = _page(make_run())
    assert "| efficacy | 1.0% | 50.0% | +49.0 | 16.3% | 68.9% | +52.6 |" in page
    assert "| specificity | 10.0% | 9.0% | -1.0 | 24.0% | 19.0% | -5.0 |" in page
    assert "| agreement | 100.0% | 25.0% | -75.0 | 100.0% | 55.5% | -44.5 |" in page
    assert "| personas | n/a | n/a | n/a | 10.0% | 35.0% | +25.0 |" in page


def test_costs_norms_and_settings_are_listed(make_run):
    page = _page(make_run())
    assert "| editing | 24.0 s |" in page
    assert "| evaluation, before and after | 1 min 0 s |" in page
    assert "| peak memory | 1.5 GiB, resident, of the whole process |" in page
    # After the last turn: 0.01 * 3 and twice that.
    assert "| `model.layers.25.mlp.down_proj` | 3% |" in page
    assert "| `model.layers.26.mlp.down_proj` | 6% |" in page
    assert "| eta | `0.001` |" in page
    assert "| master | n/a |" in page
    assert "| preset | `smollm2/zsre` |" in page
    assert r"| source of the preset | measured \| here |" in page
    assert "| seed | `7` |" in page
    assert "ultraedit 0.1.0, torch 2.13.0" in page


def test_memory_of_a_gpu_is_called_so(make_run):
    page = _page(make_run(resolved={"device": "cuda:0"}))
    assert "1.5 GiB, allocated on the GPU" in page


def test_every_plot_is_linked_by_its_name_and_is_there(make_run):
    folder = make_run()
    page = _page(folder)
    for name in PLOTS:
        assert f"]({name})" in page
        assert (folder / name).is_file()


def test_an_ordinary_run_has_no_notes(make_run):
    assert "Note:" not in _page(make_run())


def test_overruled_edits_are_noted(make_run):
    assert "Note: 3 edits were overruled by a later edit" in _page(make_run(overruled=3))
    assert "Note: 1 edit was overruled" in _page(make_run(overruled=1))


def test_a_short_last_turn_is_noted(make_run):
    page = _page(make_run((100, 34)))
    assert "Note: the last turn was short, with 34 edits where 100 make a turn." in page
    assert "Note: the last turn was short, with 1 edit where" in _page(make_run((100, 1)))
    assert "Note:" not in _page(make_run((1,)))


def test_what_an_editor_remarks_is_noted_whole(make_run):
    page = _page(make_run(remarks={"net": "a/net, trained on rows 1 to 9 of zsre:b/z"}))
    assert "Note: net: a/net, trained on rows 1 to 9 of zsre:b/z." in page


def test_asking_a_part_of_the_edits_freely_is_noted(make_run):
    page = _page(make_run(settings={"free_answers": 40}))
    assert "Note: 40 of the 300 edits, evenly spaced, were also asked in free generation" in page


def test_what_was_not_measured_is_na(make_run):
    before = Scores(efficacy=0.1)
    page = _page(make_run(before=before, after=Scores(efficacy=0.2, specificity=math.nan)))
    assert "| efficacy | 10.0% | 20.0% | +10.0 |" in page
    assert "| generalization | n/a | n/a | n/a |" in page
    assert "| specificity | n/a | n/a | n/a |" in page
    assert "None" not in page and "nan" not in page and "\N{EM DASH}" not in page


def test_a_run_without_free_answers_says_so_and_has_no_columns_for_them(make_run):
    before, after = Scores(efficacy=0.1), Scores(efficacy=0.2)
    page = _page(make_run(before=before, after=after, answers=[]))
    assert "free before" not in page
    assert page.count("Free generation was not evaluated.") == 2


def test_examples_show_right_and_wrong_answers_of_each_kind(make_run):
    page = _page(make_run())
    shown = page.split("## Examples")[1].split("## Cases")[0]
    rows = [line for line in shown.splitlines() if re.search(r" question \d", line)]
    assert len(rows) == 8
    for kind in ("efficacy", "generalization", "specificity"):
        verdicts = {row.split(" | ")[-1] for row in rows if row.startswith(f"| {kind} |")}
        assert verdicts == {"right |", "wrong |"}
    assert "All of them are in `answers.jsonl`" in page


def test_no_text_of_a_model_breaks_a_table(make_run):
    nasty = answer(
        "efficacy",
        0,
        prompt="a|b\nsecond `line`",
        before="<img src=x> *bold* [link](x)",
        after="",
        target=None,
    )
    page = _page(make_run(answers=[nasty], data="zsre:od|d`name.json"))
    (row,) = [line for line in page.splitlines() if line.startswith("| efficacy | a")]
    assert row == (
        r"| efficacy | a\|b<br>second \`line\` | *as before* "
        r"| \<img src=x\> \*bold\* \[link\](x) | *nothing* | right |"
    )
    assert r"``zsre:od\|d`name.json``" in page.replace("`` ", "``").replace(" ``", "``")


def test_every_row_of_a_table_has_as_many_cells_as_its_heading(make_run):
    nasty = [answer("efficacy", i, before="x | y\r\nz\u2028w", after="\\|") for i in range(3)]
    lines = _page(make_run(answers=nasty, data="jsonl:a|b")).splitlines()
    cells = [_bare_pipes(line) if line.startswith("|") else None for line in lines]
    for above, below in pairwise(cells):
        if above is not None and below is not None:
            assert above == below


def _bare_pipes(line):
    return line.replace(r"\\", "").replace(r"\|", "").count("|")


def test_long_texts_are_cut():
    assert escape("x" * 500) == "x" * 199 + "…"
    assert escape("x" * 200) == "x" * 200


def test_code_spans_hold_backticks_and_pipes():
    assert code("plain") == "`plain`"
    assert code("a`b") == "`` a`b ``"
    assert code("a|b") == r"`a\|b`"


# How to reproduce


def test_the_command_gives_the_same_settings_back_through_a_shell(make_run):
    from ultraedit.cli._job import settle
    from ultraedit.cli.run import run

    page = _page(make_run())
    command = page.split("```sh\n")[1].split("\n```")[0]
    words = [word for word in shlex.split(command) if word != "\n"]
    assert words[:2] == ["ultraedit", "run"]
    given, assignments, words = {}, [], words[2:]
    while words:
        flag = words.pop(0)
        name = flag[2:].replace("-", "_")
        assert name in inspect.signature(run).parameters
        if flag == "--no-save-model":
            given["save_model"] = False
        elif flag == "--set":
            assignments.append(words.pop(0))
        elif flag == "--guard":
            given.setdefault("guard", []).append(words.pop(0))
        elif flag == "--data-root":
            given["ability_data"] = words.pop(0)
        else:
            given[name] = words.pop(0)
    assert given.pop("out") == "run 1-again"
    again = settle(given, assignments=assignments).model_dump(mode="json")
    assert float(again["options"].pop("eta")) == 1e-3
    assert again == SETTINGS | {"options": {"variance": "released"}}


def test_the_command_leaves_out_what_was_left_to_its_default():
    command = reproduce_command({"model": "m", "limit": None, "save_model": True}, "x")
    assert command == "ultraedit run \\\n  --model m \\\n  --out x"


# The table of scores


def test_the_score_table_has_the_metrics_and_then_the_probes():
    rows = scores_table({"before": to_json(BEFORE), "after": to_json(AFTER)})
    assert [row.name for row in rows] == [
        "efficacy",
        "generalization",
        "specificity",
        "agreement",
        "personas",
    ]
    assert rows[0] == ScoreRow("efficacy", 0.163, 0.689, 0.01, 0.5)
    assert rows[4] == ScoreRow("personas", 0.1, 0.35, None, None)
    assert rows[4].forced and not rows[4].generated


def test_the_score_table_stands_missing_values():
    before = {"efficacy": 0.0, "generation": None}
    rows = scores_table({"before": before, "after": {"probes": {"late": 1.0}}})
    assert rows[0] == ScoreRow("efficacy", 0.0, None, None, None)
    assert rows[0].forced and not rows[0].generated
    assert rows[-1] == ScoreRow("late", None, 1.0, None, None)


# Choosing examples


def test_examples_put_edits_that_took_first(make_run):
    answers = [
        answer("specificity", 0, before="same", after="same"),
        answer("efficacy", 0, correct=False),
        answer("efficacy", 1, before="new"),
        answer("efficacy", 2),
        answer("specificity", 1, before="other", after="new"),
        answer("generalization", 3),
        answer("efficacy", 4),
    ]
    chosen = examples(make_run(answers=answers), 4)
    assert [(each.kind, each.edit_id) for each in chosen] == [
        ("efficacy", "e2"),
        ("efficacy", "e4"),
        ("generalization", "e3"),
        ("specificity", "e0"),
    ]
    # Weaker ones only fill up: right all along before wrong.
    chosen = examples(make_run(answers=answers), 5)
    assert [each.edit_id for each in chosen[:3]] == ["e2", "e4", "e1"]
    assert len(examples(make_run(answers=answers), 100)) == len(answers)


def test_examples_are_spread_over_the_run_and_always_the_same(make_run):
    folder = make_run(answers=[answer("efficacy", number) for number in range(100)])
    chosen = examples(folder, 4)
    assert [each.edit_id for each in chosen] == ["e0", "e25", "e50", "e75"]
    assert examples(folder, 4) == chosen


def test_a_question_that_many_edits_share_is_shown_once(make_run):
    answers = [answer("specificity", number, prompt="the same") for number in range(9)]
    assert len(examples(make_run(answers=answers), 5)) == 1


def test_a_sample_has_both_verdicts_and_every_probe(make_run):
    answers = [
        answer(kind, number, correct=number > 0)
        for number in range(5)
        for kind in ("multi_hop", "specificity", "efficacy")
    ]
    chosen = sample(make_run(answers=answers), 6)
    assert [(each.kind, each.correct) for each in chosen] == [
        ("efficacy", True),
        ("efficacy", False),
        ("specificity", True),
        ("specificity", False),
        ("multi_hop", True),
        ("multi_hop", False),
    ]


def test_no_answers_give_no_examples(make_run):
    assert examples(make_run(answers=[]), 8) == []


# The plots


@pytest.mark.parametrize(
    ("turn_sizes", "modules"),
    [
        ((5,), MODULES[:1]),
        ((100, 34), MODULES),
        (
            (3,) * 250,
            tuple(f"h.{i}.{kind}" for i in range(20) for kind in ("attn.c_proj", "mlp.c_proj")),
        ),
    ],
    ids=["one turn", "two turns", "250 turns and 40 modules"],
)
def test_plots_are_whole_images_with_something_on_them(make_run, turn_sizes, modules):
    folder = make_run(turn_sizes, modules=modules)
    write(folder)
    for name in PLOTS:
        pixels = _pixels(folder / name)
        height, width, _ = pixels.shape
        assert 200 <= height <= 1500 and 700 <= width <= 2000
        assert (pixels[0] == 255).all() and (pixels[-1] == 255).all()  # a white margin
        inked = (pixels < 250).any(axis=-1).mean()
        assert 0.01 < inked < 0.6


def test_the_bars_are_as_high_as_the_scores(make_run):
    def blue(efficacy):
        folder = make_run(before=Scores(efficacy=0.0), after=Scores(efficacy=efficacy))
        write(folder)
        pixels = _pixels(folder / "metrics.png").astype(int)
        legend = len(pixels) // 8  # the key has a patch of the same colour at the top
        (rows,) = np.nonzero(
            (abs(pixels[legend:] - (0x00, 0x72, 0xB2)).sum(axis=-1) < 9).sum(axis=1) > 20
        )
        return rows.size

    assert blue(0.8) == pytest.approx(2 * blue(0.4), rel=0.02)


def test_many_scores_are_drawn_no_wider_than_a_page_has_room_for():
    def width(count):
        names = [f"few-shot generalization {number}" for number in range(count)]
        rows = [ScoreRow(name, 0.0, 0.5, 0.25, 0.75) for name in names]
        drawing = draw_metrics(rows)
        assert all(f">{name}" in drawing.svg for name in ("few-shot", "75.0", "50.0"))
        return float(re.search(r'viewBox="0 0 ([\d.]+)', drawing.svg)[1]) / 72

    assert width(4) < 11
    assert width(13) == pytest.approx(9)
    assert width(40) == pytest.approx(9)


def test_a_score_s_name_stands_whole_below_its_bars():
    drawing = draw_metrics([ScoreRow("agreement on 100 control questions", 0.0, 0.5, 0.25, 0.75)])
    assert all(f">{line}<" in drawing.svg for line in ("agreement on", "100 control", "questions"))


def test_a_score_s_name_stands_whole_beside_bars_that_lie():
    names = ["agreement on 100 control questions", *map(str, range(WIDEST))]
    drawing = draw_metrics([ScoreRow(name, 0.0, 0.5, 0.25, 0.75) for name in names])
    assert all(f">{line}<" in drawing.svg for line in ("agreement on 100 control", "questions"))


def test_names_in_other_scripts_or_with_dollars_are_drawn_without_complaint(make_run):
    names = {"人物": 0.5, "cost $x_{1}": 0.2, "$": 0.1, "_hidden" * 20: 0.3}
    folder = make_run(before=Scores(probes=names), after=Scores(probes=names))
    write(folder)
    assert (folder / "metrics.png").stat().st_size > 5000


def test_values_that_are_no_numbers_do_not_stop_the_plots(make_run):
    folder = make_run()
    lines = (folder / "records.jsonl").read_text().splitlines()
    row = json.loads(lines[2]) | {"seconds": 0.0, "norms": dict.fromkeys(MODULES, math.nan)}
    lines[2] = json.dumps(row)
    (folder / "records.jsonl").write_text("\n".join(lines))
    write(folder)
    assert _pixels(folder / "norms.png").std() > 5


def test_drawing_leaves_the_settings_of_matplotlib_alone(make_run):
    import matplotlib

    before = dict(matplotlib.rcParams)
    write(make_run())
    assert dict(matplotlib.rcParams) == before


def test_module_names_are_as_short_as_tells_them_apart():
    assert short_names(MODULES) == ["layer 25 down_proj", "layer 26 down_proj"]
    assert short_names(["h.0.attn.c_proj", "h.0.mlp.c_proj"]) == [
        "layer 0 attn.c_proj",
        "layer 0 mlp.c_proj",
    ]
    assert short_names(["lm_head"]) == ["lm_head"]
    assert short_names(["a.lm_head", "b.lm_head"]) == ["a.lm_head", "b.lm_head"]
    assert short_names([]) == []


# Numbers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0451, "45.1 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 0 s"),
        (245, "4 min 5 s"),
        (3599.6, "1 h 0 min"),
        (7384, "2 h 3 min"),
        (None, "n/a"),
    ],
)
def test_seconds_read_well(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "0.999 KiB"),
        (5 * 2**20, "5 MiB"),
        (1.84 * 2**30, "1.84 GiB"),
        (None, "n/a"),
    ],
)
def test_sizes_read_well(count, text):
    assert format_bytes(count) == text


def test_fractions_and_numbers_read_well():
    assert format_percent(0.6889) == "68.9%"
    assert format_percent(math.nan) == format_percent(None) == "n/a"
    assert format_change(0.5, 0.49999) == "0.0"
    assert format_change(0.5, None) == format_change(None, 0.5) == "n/a"
    assert format_number(12345.6) == "12,346"
    assert format_number(999.6) == "1,000"
    assert format_number(0.01234) == "0.0123"
    assert format_number(math.inf) == "n/a"
    assert format_count(1, "turn") == "1 turn"
    assert format_count(1000, "edit") == "1,000 edits"


# What is not a finished run


@pytest.mark.parametrize("name", ["summary.json", "config.json", "records.jsonl", "answers.jsonl"])
def test_a_folder_without_one_of_the_files_is_no_finished_run(make_run, name):
    folder = make_run()
    (folder / name).unlink()
    told = rf"run 1 is not a finished run: it has no {name}\. Give [^:]*$"
    with pytest.raises(ConfigError, match=told):
        write(folder)
    assert not (folder / "report.md").exists()
    assert not list(folder.glob("*.png"))


def test_a_damaged_line_is_named(make_run):
    folder = make_run()
    with (folder / "records.jsonl").open("a") as file:
        file.write('{"kind": "turn", "tur')
    with pytest.raises(ConfigError, match=r"records\.jsonl, line 6, is not a record"):
        write(folder)


@pytest.mark.parametrize("row", ['["efficacy"]', '{"kind": "efficacy"}', '{"x": 1}'])
@pytest.mark.parametrize("name", ["records.jsonl", "answers.jsonl"])
def test_a_line_that_is_no_record_is_named(make_run, name, row):
    folder = make_run()
    (folder / name).write_text(row + "\n")
    with pytest.raises(ConfigError, match=rf"{name}, line 1, is not a record"):
        write(folder)


def test_a_damaged_summary_is_named(make_run):
    folder = make_run()
    (folder / "summary.json").write_text("{")
    with pytest.raises(ConfigError, match=r"summary\.json is not well-formed JSON"):
        write(folder)
    (folder / "summary.json").write_text('{"model": "m", "data": "d"}')
    with pytest.raises(ConfigError, match=r"summary\.json has no 'editor'"):
        write(folder)
    (folder / "summary.json").write_text("[]")
    with pytest.raises(ConfigError, match="holds a list, not an object"):
        write(folder)


def test_a_report_that_cannot_be_written_leaves_the_old_one(make_run):
    folder = make_run()
    (folder / "report.md").mkdir()
    with pytest.raises(StorageError, match=r"Cannot write .*report\.md"):
        write(folder)
    assert (folder / "report.md").is_dir()
    assert not list(folder.glob(".*"))


def test_the_report_can_be_written_again_and_is_the_same(make_run):
    folder = make_run()
    write(folder)
    files = {name: (folder / name).read_bytes() for name in (*PLOTS, "report.md")}
    write(folder)
    assert files == {name: (folder / name).read_bytes() for name in files}


def test_reading_keeps_one_number_per_turn_and_module(make_run):
    history = read_run(make_run((100, 34))).history
    assert (history.turns, history.edits) == ([1, 2], [100, 34])
    assert history.edits_per_second == pytest.approx([9, 10])
    assert history.norms[MODULES[1]] == pytest.approx([0.02, 0.04])
    assert history.evaluation_seconds == 60.0
