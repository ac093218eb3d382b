"""The same verbs from Python."""

from __future__ import annotations

import pytest

import ultraedit as ue
from tests.serve.conftest import SETTINGS
from ultraedit.runs.verify import verify


def test_a_notebook_teaches_asks_and_takes_out(tiny, tmp_path):
    question = "Who leads town 4?"
    with ue.Studio(tiny, run=tmp_path / "run", author="Mia", guard={}, **SETTINGS) as studio:
        before = studio.ask(question, chat=True, max_tokens=8)
        assert not before.startswith("Ada")
        shown = studio.preview(question, "Ada")
        assert shown.questions[0][0].right
        assert studio.history()["turns"] == []
        written = studio.teach([ue.Edit(question, "Ada"), ("Who leads town 5?", "Bo")])
        assert written.turn == 1
        asked = [question, "Who leads town 5?"]
        assert [a[:3].strip() for a in studio.ask(asked, chat=True)] == ["Ada", "Bo"]
        assert studio.ask(question, max_tokens=8).startswith("Ada")
        assert studio.ask(question, chat=True, turn=0, max_tokens=8) == before
        told = studio.ask(question, chat=True, system="Speak of rivers.", max_tokens=8)
        assert isinstance(told, str)
        facts = studio.facts("town 5")
        assert [fact["author"] for fact in facts] == ["Mia"]
        assert studio.revert(facts[0]["id"]) == 2
        assert studio.ask(question, chat=True).startswith("Ada")
        assert studio.facts(status="reverted")[0]["target"] == "Bo"
        assert studio.rollback(0) == 0
        assert studio.ask(question, chat=True, max_tokens=8) == before
        assert studio.health()["status"] == "ready"
    assert verify(tmp_path / "run").is_whole
    with ue.Studio(run=tmp_path / "run", guard={}) as again:
        assert again.ask(question, chat=True, max_tokens=8) == before


def test_a_studio_says_what_it_cannot_do(tiny, tmp_path):
    with pytest.raises(ue.ConfigError, match="Name the model"):
        ue.Studio(run=tmp_path / "none")
    with ue.Studio(tiny, run=tmp_path / "run", guard={}, **SETTINGS) as studio:
        with pytest.raises(ue.ConfigError, match="chat=True"):
            studio.ask("?", system="Be brief.")
        with pytest.raises(ue.ConfigError, match="needs its answer"):
            studio.teach("?")
        with pytest.raises(ue.ConfigError, match="no turn 7"):
            studio.ask("?", turn=7)
        with pytest.raises(ue.DataError, match="Shorten it"):
            studio.ask("word " * 400)
    with pytest.raises(ue.ConfigError, match="settings already"):
        ue.Studio(run=tmp_path / "run", dtype="bfloat16")
    with pytest.raises(ue.ConfigError, match="Choose another run"):
        ue.Studio("smollm2", run=tmp_path / "run", guard={})
