"""Every bad input: one sentence, exit code 2, no traceback, no half-written folder."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import FACTS, lines
from tests.tiny import tiny_model
from ultraedit.models import load, save

GOOD = lines(FACTS)


@pytest.fixture
def run(refused, tiny, folder):
    """Run with one thing wrong; give the sentence, once it is sure that nothing was written."""

    def attempt(**changes: object) -> str:
        options = {"model": tiny, "data": "facts.jsonl", "out": "runs/out"} | changes
        before = sorted(folder.rglob("*"))
        args = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        sentence = refused("run", *args)
        assert sorted(folder.rglob("*")) == before
        return sentence

    return attempt


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"prompt": "Where?", "target": "There"}\n{"prompt": "Where?"\n', "line 2"),
        (
            '{"prompt": "Where?", "target": "There"}\n{"prompt": "Where?"}\n',
            "line 2: target is missing",
        ),
        ('{"prompt": "Where?", "target": ""}\n', "line 1: target"),
        ('{"prompt": "Where?", "target": "There", "tagret": 1}\n', "tagret"),
        ("", "has no rows"),
        (b'{"prompt": "O\xf9?", "target": "There"}\n', "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(run, content, expected):
    Path("facts.jsonl").write_bytes(content.encode() if isinstance(content, str) else content)
    sentence = run()
    assert expected in sentence
    assert "facts.jsonl" in sentence


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data": "nowhere.jsonl"}, ["nowhere.jsonl"]),
        ({"data": "zrse:facts.jsonl"}, ["zrse", "zsre"]),
        ({"data": "facts.txt"}, ["FORMAT:PATH"]),
        ({"editor": "ultraedt"}, ["ultraedt", "ultraedit"]),
        ({"model": "smolm2"}, ["smolm2", "smollm2"]),
        ({"model": "./nowhere"}, ["./nowhere"]),
        ({"modules": "layers.[0].mlp.dwn_proj"}, ["dwn_proj", "mlp.down_proj"]),
        ({"modules": "layers.[7].mlp.down_proj"}, ["layers.[7]", "layers 0-1"]),
        ({"modules": "layers.[9-7].mlp.down_proj"}, ["9-7", "7-9"]),
        ({"modules": "layers.[0"}, ["brackets", "'layers.[0'"]),
        ({"modules": ","}, ["No edit modules", "such as"]),
        ({"preset": "gpt-j"}, ["gpt-j"]),
        ({"eta": "0"}, ["eta", "positive"]),
        ({"eta": "-1e-3"}, ["eta", "positive"]),
        ({"eta": "nan"}, ["eta", "positive"]),
        ({"eta": "large"}, ["eta must be a number or 'auto', got 'large'"]),
        ({"ridge": "0"}, ["ridge", "positive"]),
        ({"ridge": "inf"}, ["ridge", "positive"]),
        ({"ridge": "some"}, ["ridge must be a number, got 'some'"]),
        ({"protocol": "papr"}, ["protocol", "paper"]),
        ({"set": "varience=released"}, ["varience", "variance"]),
        ({"set": "variance=none"}, ["variance must be 'pooled', 'released' or 'sample'"]),
        ({"set": "variance"}, ["NAME=VALUE"]),
        ({"set": "micro_batch=ten"}, ["micro_batch must be a whole number, got 'ten'"]),
        ({"set": "micro_batch=0"}, ["micro_batch", "at least 1"]),
        ({"limit": "0"}, ["limit must be at least 1, got 0"]),
        ({"edits_per_turn": "0"}, ["edits-per-turn", "1"]),
        ({"turns": "-1"}, ["turns", "1"]),
        ({"free_answers": "-1"}, ["free-answers", "0"]),
        ({"dtype": "float12"}, ["float12", "float32"]),
        ({"device": "cuda:99"}, ["cuda:99"]),
        ({"config": "nowhere.toml"}, ["nowhere.toml"]),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_used_is_refused_with_what_to_give(run, changes, expected):
    sentence = run(**changes)
    assert all(word in sentence for word in expected), sentence


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("eta = \n", "not well-formed"),
        ("speed = 3\n", "'speed'"),
        ("options = 3\n", "options"),
        ("limit = 'many'\n", "limit"),
        (b"eta = '\xff'\n", "run.toml"),
    ],
)
def test_a_config_file_that_cannot_be_used_is_refused(run, content, expected):
    Path("run.toml").write_bytes(content.encode() if isinstance(content, str) else content)
    assert expected in run(config="run.toml")


def test_a_json_config_must_be_an_object(run):
    Path("run.json").write_text("[1]")
    assert "table" in run(config="run.json")


@pytest.mark.parametrize("missing", ["model", "data"])
def test_a_setting_that_nothing_gives_is_asked_for(refused, tiny, missing):
    args = {"model": tiny, "data": "facts.jsonl"}
    del args[missing]
    assert f"--{missing}" in refused("run", *(f"--{k}={v}" for k, v in args.items()))


def test_a_folder_that_holds_a_run_is_not_touched(cli, refused, tiny):
    cli("edit", "facts.jsonl", "--model", tiny, "--out", "out")
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    for more in ((), ("--dry-run",)):
        sentence = refused("run", "--model", tiny, "--data", "facts.jsonl", "--out", "out", *more)
        assert "already holds a run" in sentence
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_with_other_things_in_it_is_not_touched(run):
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("")
    assert "not empty" in run(out="mine")
    assert "is a file" in run(out="facts.jsonl")
    assert "facts.jsonl/out" in run(out="facts.jsonl/out")


LONG = "Vienna " * 400


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": LONG, "target": "There"},
        {"prompt": "Where?", "target": LONG},
        {"prompt": "Where?", "target": "There", "rephrases": [LONG]},
        {"prompt": "Where?", "target": "There", "locality": [{"prompt": LONG}]},
    ],
    ids=["prompt", "target", "rephrase", "question without answer"],
)
def test_what_is_longer_than_the_context_is_refused(run, row):
    Path("facts.jsonl").write_text(GOOD + lines([row]))
    sentence = run()
    assert "Vienna" in sentence or "Where?" in sentence
    assert "256" in sentence


@pytest.mark.parametrize("arch", ["gpt2", "llama"])
def test_a_question_longer_than_the_context_is_refused(refused, tmp_path, arch):
    save(tiny_model(arch), tmp_path / arch)
    assert "256" in refused("ask", tmp_path / arch, LONG)


def test_a_prompt_just_within_the_context_gets_an_answer(cli, tmp_path):
    model = tiny_model("gpt2")
    save(model, tmp_path / "gpt2")
    words = model.tokenizer.decode(model.tokenizer(LONG)["input_ids"][:250])
    assert len(model.tokenizer(words)["input_ids"]) == 250
    cli("ask", tmp_path / "gpt2", words)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["ask", "MODEL", " "], "empty"),
        (["ask", "MODEL", "O\udcf9?"], "UTF-8"),
        (["ask", "nowhere/model", "Where?"], "nowhere/model"),
        (["eval", "MODEL"], "--data"),
        (["eval", "MODEL", "--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["eval", "MODEL", "--data", "facts.jsonl", "--free-answers", "-1"], "--free-answers"),
        (["report", "."], "not a finished run"),
        (["report", "nowhere"], "nowhere"),
        (["editors", "show", "rome"], "rome"),
        (["models", "show", "smolm2"], "smollm2"),
        (["models", "check", "./nowhere"], "./nowhere"),
        (["data", "show", "zrse"], "zsre"),
        (["data", "check", "nowhere.jsonl"], "nowhere.jsonl"),
        (["data", "check", "facts.jsonl", "--limit", "0"], "limit"),
        (["data", "check", "facts.jsonl", "--model", "./nowhere"], "./nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_other_commands_refuse_in_the_same_way(refused, tiny, args, expected):
    assert expected in refused(*(tiny if arg == "MODEL" else arg for arg in args))


def started(*args: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "ultraedit", *(str(arg) for arg in args)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def with_files_up_to(size: int):
    """Let a process write no file longer than so many bytes, as a full disk would."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
def test_a_disk_that_fills_up_while_saving_leaves_the_records_whole(tiny):
    weights = (Path(tiny) / "model.safetensors").stat().st_size
    args = ("run", "--model", tiny, "--data", "facts.jsonl", "--out", "out", "--dtype", "float32")
    process = started(*args, preexec_fn=with_files_up_to(weights - 1))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 2, stderr
    assert stderr.splitlines()[-1].startswith("Error: Cannot write")
    assert "Traceback" not in stderr
    files = {path.name for path in Path("out").iterdir()}
    assert {"summary.json", "records.jsonl", "report.md"} <= files
    assert not [name for name in files if name.startswith((".model", "model"))]


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_start_leaves_no_folder(tiny):
    args = ("run", "--model", tiny, "--data", "facts.jsonl", "--out", "runs/out")
    process = started(*args, preexec_fn=with_files_up_to(10))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 2, stderr
    assert stderr.splitlines()[-1].startswith("Error: Cannot")
    assert "Traceback" not in stderr
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_disk_that_fills_up_on_the_way_is_one_sentence(tiny):
    args = ("run", "--model", tiny, "--data", "facts.jsonl", "--out", "out")
    process = started(*args, preexec_fn=with_files_up_to(100_000))
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 2, stderr
    assert stderr.splitlines()[-1].startswith("Error: Cannot")
    assert "Traceback" not in stderr
    assert {path.name for path in Path("out").glob(".*")} <= {".lock"}


def test_a_reader_that_goes_away_is_no_error():
    with started("data", "list", "--json") as process:
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.slow
def test_an_interruption_says_so_and_keeps_what_was_finished(tiny):
    Path("facts.jsonl").write_text(lines(FACTS * 400))
    args = ("run", "--model", tiny, "--data", "facts.jsonl", "--edits-per-turn", 1)
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = started(*args, "--out", "out", "--free-answers", 1)
    signal.signal(signal.SIGINT, ignored)  # a job in the background ignores it, and so would this
    deadline = time.monotonic() + 120
    while not Path("out/records.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-2:] == ["  ultraedit run --resume out", "Interrupted."]
    assert Path("out/config.json").is_file()


def test_an_interruption_before_the_first_record_leaves_no_folder(cli, tiny, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ultraedit.models.load", interrupt)
    result = cli("edit", "facts.jsonl", "--model", tiny, "--out", "runs/out", code=130)
    assert result.stderr.splitlines()[-1] == "Interrupted."
    assert not Path("runs").exists()


def test_what_is_not_expected_keeps_its_traceback(tiny):
    code = (
        "import sys, ultraedit.data, ultraedit.cli.main as m\n"
        "def broken(*a, **k): raise RuntimeError('a fault of the program')\n"
        "ultraedit.data.check = broken\n"
        "sys.argv = ['ultraedit', 'data', 'check', 'facts.jsonl']\n"
        "m.main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "a fault of the program" in result.stderr


def test_a_saved_model_survives_a_failed_second_save(tiny, tmp_path):
    """What was saved before stays whole: `save` is what every command saves with."""
    target = tmp_path / "model"
    save(load(tiny), target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    code = (
        "import resource, sys\n"
        "from ultraedit.models import load, save\n"
        "model = load(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "save(model, sys.argv[2])"
    )
    args = [sys.executable, "-c", code, tiny, str(target)]
    result = subprocess.run(args, capture_output=True, text=True, env=dict(os.environ))
    assert "StorageError" in result.stderr
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
