"""``train``: from options to a net, and from the net to a run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import FACTS, lines
from tests.tiny import tiny_model
from ultraedit.core.errors import DataError
from ultraedit.core.nets import read_net
from ultraedit.models import save
from ultraedit.runs import train as training

SMALL = ("--set", "rank=4", "--set", "blocks=1", "--edits-per-turn", 2, "--dtype", "float32")
SMALL += ("--validation", 4)


@pytest.fixture(autouse=True)
def many(folder):
    """Forty facts: twenty to be edited, twenty to learn from."""
    rows = [
        fact | {"prompt": f"{fact['prompt']} Number {n}.", "rephrases": [f"{n}: {fact['prompt']}"]}
        for n in range(8)
        for fact in FACTS
    ]
    Path("facts.jsonl").write_text(lines(rows))


@pytest.fixture
def train(cli, tiny):
    def run(*args, editor="malmen", out="a.net", **options):
        given = ["train", editor, "--model", tiny, "--data", "facts.jsonl", "--out", out, *SMALL]
        return cli(*given, *args, **options)

    return run


def test_a_net_is_trained_and_a_run_uses_it(train, cli, tiny):
    result = train("--check-every", 3, "--set", "meta-lr=1e-3")
    assert "8 turns, on rows 21 to 36 of facts.jsonl" in result.stdout
    assert "--net a.net" in result.stdout
    assert "Validation after 3 turns: loss" in result.stderr
    assert not Path("a.net.training").exists()
    about = read_net(Path("a.net")).about
    assert about["editor"] == "malmen"
    assert about["model"] == tiny
    assert about["training"]["validation_rows"] == 4
    assert [check["turns"] for check in about["training"]["checks"]] == [0, 3, 6, 8]
    # A random model need not learn anything that holds: the last net, whatever it is.
    train("--validation", 0, "--set", "meta-lr=1e-2", out="last.net")
    args = ["run", "--model", tiny, "--data", "facts.jsonl", "--editor", "malmen", "--limit", 4]
    args += ["--dtype", "float32", "--no-save-model"]
    quiet = cli(*args, "--net", "last.net", "--out", "trained")
    assert "without a trained net" not in quiet.stderr
    assert "malmen runs without a trained net" in cli(*args, "--out", "untrained").stderr
    options = [
        json.loads(Path(out, "config.json").read_text())["resolved"]["options"]["net"]
        for out in ("trained", "untrained")
    ]
    assert options == ["last.net", "untrained"]
    norms = [
        json.loads(Path(out, "records.jsonl").read_text().splitlines()[1])["norms"]
        for out in ("trained", "untrained")
    ]
    assert norms[0] != norms[1]
    assert "--net last.net" in Path("trained/report.md").read_text()


@pytest.mark.parametrize("editor", ["mend", "mend-original", "rledit", "stableedit"])
def test_every_editor_with_a_net_can_be_trained_and_used(train, cli, tiny, editor):
    small = [] if editor == "stableedit" else ["--set", "rank=4", "--set", "blocks=1"]
    args = ["--model", tiny, "--data", "facts.jsonl", "--dtype", "float32"]
    extra = ["--validation", 2, "--limit", 12, "--edits-per-turn", 2, *small]
    cli("train", editor, *args, "--out", "b.net", *extra)
    out = cli("run", "--editor", editor, *args, "--net", "b.net", "--limit", 4, "--json")
    assert json.loads(out.stdout)["after"]["efficacy"] is not None


def test_what_is_learned_depends_on_the_rows_and_on_nothing_else(train):
    # Without validation rows the last net counts, not the best, which may be the fresh one.
    train("--validation", 0)
    train("--validation", 0, out="b.net")
    train("--validation", 0, "--limit", 10, out="c.net")
    first, second, other = (read_net(Path(name)) for name in ("a.net", "b.net", "c.net"))
    assert Path("a.net").read_bytes() == Path("b.net").read_bytes()
    assert torch.equal(first.digest, second.digest)
    assert not torch.equal(first.digest, other.digest)


def test_a_training_that_is_killed_goes_on_to_the_same_net(train, tiny, monkeypatch):
    train("--epochs", 3)
    whole = Path("a.net").read_bytes()
    # Another process, so that it can be killed as hard as can be.
    code = (
        "import sys; from ultraedit.runs import train as training; training.KEEP_SECONDS = 0.0\n"
        "from ultraedit.editors.families import hypernetwork_training as _learner; import time\n"
        "learn = _learner.Learner.learn\n"
        "def slowly(*args):\n    time.sleep(0.3); return learn(*args)\n"
        "_learner.Learner.learn = slowly\n"
        "from ultraedit.cli.main import app; app(sys.argv[1:])"
    )
    args = ["train", "malmen", "--model", tiny, "--data", "facts.jsonl", "--out", "k.net"]
    args += [str(each) for each in SMALL] + ["--epochs", "3"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    unfinished = Path("k.net.training")
    deadline = time.monotonic() + 120
    while not unfinished.exists() or read_net(unfinished).about["turns"] < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("k.net").exists()
    monkeypatch.setattr(training, "KEEP_SECONDS", 0.0)
    result = json.loads(train("--epochs", 3, "--json", out="k.net").stdout)
    assert 3 <= result["resumed_at_turn"] < result["training"]["turns"]
    assert Path("k.net").read_bytes() == whole
    assert not unfinished.exists()


def test_an_unfinished_training_with_other_settings_is_not_gone_on_with(
    train, monkeypatch, tiny, refused
):
    monkeypatch.setattr(training, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(training.Net, "save", _only_the_unfinished(training.Net.save))
    train(code=130)
    args = ["train", "malmen", "--model", tiny, "--data", "facts.jsonl", "--out", "a.net", *SMALL]
    message = refused(*args, "--set", "meta-lr=1e-3")
    assert "a.net.training holds a training with options.meta_lr=1e-05, not 0.001" in message


def _only_the_unfinished(real):
    def save(net, path):
        if not path.name.endswith(".training"):
            raise KeyboardInterrupt
        real(net, path)

    return save


def test_rows_are_the_papers_unless_told_otherwise():
    from ultraedit.editors import make_editor
    from ultraedit.runs.config import make_config

    def rows(editor, **plan):
        limit = plan.pop("limit", None)
        config = make_config({"model": "m", "data": "facts.jsonl", "limit": limit})
        found = training.choose_rows(config, training.TrainingPlan(**plan), make_editor(editor, {}))
        return found.first, len(found.training), len(found.validation)

    assert rows("malmen", validation=4) == (21, 16, 4)  # half of the file is edited
    assert rows("malmen", edited=10, validation=0) == (11, 30, 0)
    assert rows("rledit", edited=10, validation=2) == (11, 8, 2)  # as many as are edited
    assert rows("malmen", edited=10, validation=2, limit=6) == (11, 4, 2)
    assert rows("rledit", edited=0, validation=0) == (1, 40, 0)


@pytest.mark.parametrize("rows", [10, 15, 20])
def test_no_more_rows_than_are_for_validation_leave_nothing_to_train_on(rows):
    from ultraedit.editors import make_editor
    from ultraedit.runs.config import make_config

    config = make_config({"model": "m", "data": "facts.jsonl", "limit": rows})
    plan, editor = training.TrainingPlan(edited=0, validation=20), make_editor("malmen", {})
    message = f"has {rows} rows behind the 0 that will be edited, of which 20 are for validation"
    with pytest.raises(DataError, match=message):
        training.choose_rows(config, plan, editor)


def test_validation_can_end_a_training_early_and_the_best_net_is_kept(train):
    # A step this large ruins the net: the first look is the best one.
    result = json.loads(
        train(
            *("--set", "meta-lr=0.5", "--epochs", 9, "--check-every", 1, "--patience", 3),
            "--json",
        ).stdout
    )
    told = result["training"]
    losses = [check["loss"] for check in told["checks"]]
    best = losses.index(min(losses))
    assert told["stopped_early"]
    assert len(losses) == best + 4
    assert told["turns"] == len(losses) - 1  # the first look is before the first turn


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--epochs", 0], "epochs must be at least 1, got 0"),
        (["--patience", 0], "patience must be at least 1, got 0"),
        (["--edited", 39], "none is left to train on"),
        (["--set", "rank=0"], "rank must be at least 1"),
    ],
)
def test_plans_that_cannot_be_are_refused(refused, tiny, args, message):
    given = ["train", "malmen", "--model", tiny, "--data", "facts.jsonl", "--out", "a.net"]
    assert message in refused(*given, *args)
    assert not Path("a.net").exists()


def test_an_editor_without_a_net_is_not_trained(refused, tiny):
    message = refused("train", "ultraedit", "--model", tiny, "--data", "facts.jsonl", "--out", "a")
    assert message.startswith("ultraedit needs no training. Those that are trained are mend,")


def test_nothing_is_overwritten(refused, tiny):
    Path("a.net").write_text("mine")
    given = ["train", "malmen", "--model", tiny, "--data", "facts.jsonl", "--out"]
    assert "a.net is already there" in refused(*given, "a.net")
    assert ". is already there" in refused(*given, ".")
    assert Path("a.net").read_text() == "mine"


def test_a_net_of_another_model_is_refused_before_the_model_is_asked(train, cli, tmp_path):
    train("--limit", 8)
    save(tiny_model("llama", seed=5), tmp_path / "other")
    run = ["run", "--data", "facts.jsonl", "--editor", "malmen", "--dtype", "float32"]
    stderr = cli(*run, "--net", "a.net", "--model", tmp_path / "other", code=2).stderr
    assert "a.net was trained for the model" in stderr
    assert "Asking" not in stderr


def test_a_net_of_something_else_is_refused_by_name(train, refused, tiny, tmp_path):
    train("--limit", 8)
    save(tiny_model("llama", seed=5), tmp_path / "other")
    run = ["run", "--data", "facts.jsonl", "--net", "a.net", "--dtype", "float32"]
    mine = [*run, "--model", tiny]
    message = refused(*run, "--model", tmp_path / "other", "--editor", "malmen")
    assert f"a.net was trained for the model {tiny}, whose weights are sha256:" in message
    message = refused(*mine, "--editor", "malmen", "--modules", "layers.0.mlp.up_proj")
    assert "a.net was trained for the modules model.layers." in message
    assert "the run edits model.layers.0.mlp.up_proj" in message
    message = refused(*mine, "--editor", "rledit")
    assert "a.net was trained for the editor malmen, not for rledit" in message
    message = refused(*mine, "--editor", "malmen", "--protocol", "official")
    assert "a.net was trained with variance=pooled, but the run has variance=released" in message
    assert "ultraedit has no option 'net'" in refused(*mine, "--editor", "ultraedit")
    Path("text.net").write_text("no net")
    message = refused(*run[:3], "--model", tiny, "--editor", "malmen", "--net", "text.net")
    assert "text.net cannot be read as a net" in message


def test_a_net_that_changes_under_a_run_is_noticed(train, tiny):
    from tests.editors.test_contract import EDITS
    from ultraedit.core.errors import ConfigError
    from ultraedit.core.types import Turn
    from ultraedit.editors import make_editor
    from ultraedit.host.host import ModelHost
    from ultraedit.models import load

    train("--validation", 0, "--limit", 8)
    host = ModelHost(load(tiny, dtype="float32"), read_net(Path("a.net")).about["modules"])
    state = make_editor("malmen", {"net": "a.net"}).init(host)
    Path("a.net").unlink()
    train("--validation", 0, "--limit", 10)
    with pytest.raises(ConfigError, match=r"began with another net than a\.net holds now"):
        make_editor("malmen", {"net": "a.net"}).step(host, Turn(1, tuple(EDITS[:2])), state)
