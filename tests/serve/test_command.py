"""What `ultraedit serve` says before it serves."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from ultraedit.cli.main import app
from ultraedit.cli.serve import _folder, _read_facts, _thresholds
from ultraedit.core.errors import ConfigError

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--guard", "norm"), "--guard takes NAME=VALUE"),
        (("--guard", "norms=1"), "A guard knows no 'norms'"),
        (("--guard", "control=0.5"), "A server has no control set"),
        (("--dtype", "float32"), "settings already: leave out --dtype"),
        (("--run", "elsewhere"), "is a run already: leave out --run"),
        (("--token-file", "/nowhere/tokens"), "Cannot read the token file"),
        (("--host", "192.168.1.2"), "could edit the model"),
    ],
)
def test_what_cannot_be_served_is_said_before_a_model_is_loaded(run, arguments, said):
    refused = runner.invoke(app, ["serve", str(run), *arguments])
    assert refused.exit_code == 2
    assert said in " ".join(refused.output.split())


def test_a_port_that_is_taken_is_said(live, tiny, tmp_path):
    from tests.serve.conftest import SETTINGS
    from ultraedit.serve.opening import make_run

    make_run(str(tiny), tmp_path / "other", SETTINGS)
    port = live.url.rpartition(":")[2]
    refused = runner.invoke(app, ["serve", str(tmp_path / "other"), "--port", port])
    assert refused.exit_code == 2
    assert "Choose another --port" in refused.output


def test_a_run_that_is_served_is_served_once(live):
    refused = runner.invoke(app, ["serve", str(live.engine.path), "--port", "0"])
    assert refused.exit_code == 2
    assert "is in use by process" in " ".join(refused.output.split())


def test_a_model_has_a_folder_of_its_own_that_is_gone_on_with(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    path, is_new = _folder("models/some.gguf", None)
    assert (path.as_posix(), is_new) == ("runs/served-some", True)
    assert _folder("smollm2", run) == (run, False)
    assert _folder(str(run), None) == (run, False)


def test_thresholds_are_numbers_by_name():
    assert _thresholds(None) is None
    assert _thresholds(["none"]) == {}
    assert _thresholds(["norm=0.5", "kl=2"]) == {"norm": 0.5, "kl": 2.0}
    with pytest.raises(ConfigError, match="norm=x"):
        _thresholds(["norm=x"])


def test_the_demos_facts_are_there_to_begin_with():
    assert len(_read_facts("demo")) > 200


def test_what_is_not_installed_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in [each for each in sys.modules if each.startswith("ultraedit.serve.app")]:
        monkeypatch.delitem(sys.modules, name)
    refused = runner.invoke(app, ["serve", str(run)])
    assert refused.exit_code == 2
    assert "ultraedit[serve]" in refused.output
