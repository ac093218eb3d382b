"""The files and the shapes that the benchmarks of scale and of GPUs are run on."""

from __future__ import annotations

import gzip
import json
from argparse import Namespace
from collections import Counter

import pytest
from benchmarks import gpu, scale, stream_facts

from ultraedit import data, report
from ultraedit.core.encoding import encode, locate
from ultraedit.core.types import Lookup


def test_synthetic_facts_are_new_but_for_a_few_and_the_same_every_time(tmp_path):
    for name in ("a", "b"):
        stream_facts.write_synthetic(tmp_path / f"{name}.jsonl", 5_000)
    edits = data.read(str(tmp_path / "a.jsonl"))
    assert edits == data.read(str(tmp_path / "b.jsonl"))
    again = 5_000 - len({edit.prompt for edit in edits})
    assert 0.01 * 5_000 < again < 0.03 * 5_000


def test_real_facts_come_in_a_drawn_order_with_a_question_that_is_never_edited(tmp_path):
    rows = [
        f'train\tP{n // 20}\tAda {n}\tWho is Ada {n}?\t"[""Bo {n}"", ""B. {n}""]"'
        for n in range(60)
    ]
    table = tmp_path / "table.tsv.gz"
    with gzip.open(table, "wt", encoding="utf-8") as file:
        file.write("\n".join(["split\tpid\tsubject\tquestion\tanswers_json", *rows]) + "\n")
    assert stream_facts.write_real(table, tmp_path / "facts.jsonl", 25) == 25
    edits = data.read(str(tmp_path / "facts.jsonl"))
    prompts = {edit.prompt for edit in edits}
    assert len(prompts) == 25
    relation = {row.split("\t")[3]: row.split("\t")[1] for row in rows}
    assert set(Counter(relation[edit.prompt] for edit in edits[:12])) == {"P0", "P1", "P2"}
    for edit in edits:
        number = edit.subject.split()[1]
        assert (edit.target, edit.aliases) == (f"Bo {number}", (f"B. {number}",))
        ((question, answer),) = edit.locality
        assert question not in prompts
        assert relation[question] != relation[edit.prompt]
        assert answer == f"Bo {question.split()[-1][:-1]}"


def test_the_synthetic_part_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write", lambda _: None)
    monkeypatch.setattr(scale, "MARKS", (200, 400))
    monkeypatch.setattr(scale, "HIDDEN", 32)

    class Stopped(scale._Watch):
        def advance(self, steps=1):
            super().advance(steps)
            if self._stage == "Editing" and self._made == 300:
                raise KeyboardInterrupt

    usual = scale._Watch
    monkeypatch.setattr(scale, "_Watch", Stopped)
    with pytest.raises(KeyboardInterrupt):
        scale.synthetic(tmp_path, 600, Namespace())
    monkeypatch.setattr(scale, "_Watch", usual)
    result, image = scale.synthetic(tmp_path, 600, Namespace())
    assert image.startswith(b"\x89PNG")
    assert [mark["edits"] for mark in result["marks"]] == [200, 400, 600]
    assert all(mark["turn_seconds"] > 0 for mark in result["marks"])
    assert [point["edits"] for point in result["curve"]] == [0, 100, 200, 400, 500, 600]
    assert result["curve"][-1]["overruled"] > 0


def test_the_tokenizer_of_the_shapes_is_whole_and_knows_where_its_tokens_are():
    tokenizer = gpu.HashTokenizer(512)
    (item,) = encode(tokenizer, [("Who designed the bridge?", "Ines Okafor")])
    assert len(item.prompt_ids) == 1 + 7
    assert max(item.prompt_ids + item.answer_ids) < 512
    assert tokenizer("bridge")["input_ids"] == tokenizer(["bridge"])["input_ids"][0]
    ((ids, at),) = locate(tokenizer, [Lookup("Who designed the bridge?", 4, 12)])
    assert ids == item.prompt_ids
    assert at == 3


def test_the_shapes_are_measured_on_a_tiny_one(tmp_path):
    zsre = tmp_path / "zsre.json"
    rows = [
        {"src": f"Who leads {n}?", "ans": "Ada", "rephrase": f"{n} is led by?", "loc": "Who"}
        for n in range(150)
    ]
    zsre.write_text(json.dumps([row | {"loc_ans": "Bo"} for row in rows]))
    ours = gpu.run_ours("tiny", str(zsre), 400)
    naive = gpu.run_naive("tiny", str(zsre), 200)
    assert (ours["edits"], naive["edits"]) == (400, 200)
    assert ours["modules"]
    assert min(ours["seconds_per_turn"], naive["seconds_per_turn"]) > 0
    assert ours["weights_bytes"] > 0


def test_every_shape_has_a_preset_and_the_size_in_its_name():
    from transformers import AutoConfig

    from ultraedit.models import empty_model, find_preset

    sizes = {"mistral-7b": 7.25e9, "llama-3-8b": 8.03e9, "qwen2.5-7b": 7.62e9}
    for shape, size in sizes.items():
        values = {k: v for k, v in gpu.SHAPES[shape].items() if k != "aim_seconds"}
        config = AutoConfig.for_model(**values)
        found = sum(weight.numel() for weight in empty_model(config).parameters())
        assert found == pytest.approx(size, rel=0.005)
        assert shape.split("-")[0].split("2")[0] in find_preset(config, "zsre").name
