"""``ultraedit run``: one editor, one model, one file of facts, every setting at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultraedit.cli import _monitor_options as m
from ultraedit.cli import _options as o
from ultraedit.cli._facts import with_columns
from ultraedit.cli._job import go_on, refuse_beside, settle, start

Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="DIR",
        help="Go on with the run in this folder after its last whole turn. No other setting is "
        "needed, or taken.",
        rich_help_panel=o.WHAT,
        show_envvar=False,
    ),
]


def run(
    model: o.Model = None,
    data: o.Data = None,
    columns: o.Columns = None,
    limit: o.Limit = None,
    turns: o.Turns = None,
    edits_per_turn: o.EditsPerTurn = None,
    editor: o.Editor = None,
    modules: o.Modules = None,
    eta: o.Eta = None,
    ridge: o.Ridge = None,
    protocol: o.Protocol = None,
    net: o.Net = None,
    form: o.Form = None,
    anchors: o.Anchors = None,
    use_rephrases: o.UseRephrases = None,
    set: o.Assignments = None,
    preset: o.Preset = None,
    corpus: o.Corpus = None,
    corpus_samples: o.CorpusSamples = None,
    config: o.Config = None,
    dtype: o.Dtype = None,
    device: o.Device = None,
    device_map: o.DeviceMap = None,
    seed: o.Seed = None,
    free_answers: o.FreeAnswers = None,
    chat_answers: o.ChatAnswers = False,
    free_always: o.FreeAlways = False,
    control_questions: o.ControlQuestions = None,
    evaluate_every: o.EvaluateEvery = None,
    evaluate_at: o.EvaluateAt = None,
    score_sample: o.ScoreSample = None,
    score_newest: o.ScoreNewest = None,
    perplexity: o.Perplexity = None,
    trunk: o.Trunk = False,
    monitor: m.Monitors = None,
    control: m.Control = None,
    ability: m.Ability = None,
    ability_limit: m.AbilityLimit = None,
    data_root: m.DataRoot = None,
    probe: m.Probes = None,
    guard: m.Thresholds = None,
    guard_action: m.Action = None,
    snapshot_every: o.SnapshotEvery = None,
    out: o.Out = None,
    no_save_model: o.NoSaveModel = False,
    resume: Resume = None,
    yes: o.Yes = False,
    strict: o.Strict = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    r"""Edit a model with a file of facts and score it before and after.

    Examples:
      ultraedit run --model smollm2 --data zsre:zsre_10k.json --limit 300
      ultraedit run --model ./my-model --data facts.jsonl --eta auto --dry-run
      ultraedit run --resume runs/ultraedit-smollm2-zsre-1

    The folder of the results gets journal.sqlite, which `ultraedit history` shows, summary.json,
    records.jsonl, answers.jsonl, report.md with its plots, report.html, which is the same page in
    one file, config.json, which repeats the run with --config, and the edited model in model/.
    Ctrl-C ends a run after the turn at work.

    torchrun --nproc-per-node N -m ultraedit run ... divides the work among N processes.
    """
    given = {
        "model": model,
        "data": with_columns(data, columns),
        "limit": limit,
        "turns": turns,
        "edits_per_turn": edits_per_turn,
        "editor": editor,
        "modules": modules,
        "eta": eta,
        "ridge": ridge,
        "protocol": protocol,
        "net": net,
        "form": form,
        "anchors": anchors,
        "use_rephrases": use_rephrases,
        "preset": preset,
        "corpus": corpus,
        "corpus_samples": corpus_samples,
        "dtype": dtype,
        "device": device,
        "device_map": device_map,
        "seed": seed,
        "free_answers": free_answers,
        "chat_answers": chat_answers or None,
        "free_always": free_always or None,
        "control_questions": control_questions,
        "evaluate_every": evaluate_every,
        "evaluate_at": evaluate_at,
        "score_sample": score_sample,
        "score_newest": score_newest,
        "trunk": trunk or None,
        "monitor": monitor,
        "perplexity": perplexity,
        "control": control,
        "ability": ability,
        "ability_limit": ability_limit,
        "ability_data": m.ability_data(ability, data_root),
        "probe": probe or None,
        "guard": m.thresholds(guard or ()),
        "guard_action": guard_action,
        "snapshot_every": snapshot_every,
        "save_model": False if no_save_model else None,
    }
    if resume is not None:
        others = given | {"config": config, "set": set, "out": out, "dry_run": dry_run or None}
        refuse_beside("--resume", others)
        go_on(resume, json=json)
        return
    settings = settle(given, config=config, assignments=set or ())
    start(settings, out, dry_run=dry_run, yes=yes, strict=strict, json=json)
