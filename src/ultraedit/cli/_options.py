"""The options that several commands share, in the groups in which help shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

WHAT = "What to edit"
HOW = "How to edit"
MACHINE = "Machine"
RESULT = "Result"


def _option(name: str, panel: str, text: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(
        name,
        help=text,
        rich_help_panel=panel,
        metavar=metavar,
        show_envvar=False,
        show_default=False,
        **more,
    )


MODEL_HELP = "Folder, .gguf file, alias such as smollm2, or Hugging Face id."
DATA_HELP = "File of facts as FORMAT:PATH; a .jsonl, .csv or .tsv file needs no format."

CORPUS_HELP = (
    "Ordinary text: a .jsonl or .jsonl.gz file with a field text, a text file with a passage per "
    "line such as WikiText, or ORG/NAME:FILE of a data set on the hub."
)
SAMPLES_HELP = "Passages of the corpus to read; 1000 unless given."

RunArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="The --out folder of a run.", show_default=False)
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]

Model = Annotated[str | None, _option("--model", WHAT, MODEL_HELP, "MODEL")]
Data = Annotated[str | None, _option("--data", WHAT, DATA_HELP, "FORMAT:PATH")]
Columns = Annotated[
    str | None,
    _option(
        "--columns",
        WHAT,
        "Columns of a table that its names do not say, such as prompt=Question,target=Answer; "
        "found by name unless given.",
        "PART=COLUMN,...",
    ),
]
Yes = Annotated[
    bool,
    _option("--yes", WHAT, "Do not show the first facts of a table before they are written.", ""),
]
Strict = Annotated[
    bool,
    _option(
        "--strict",
        WHAT,
        "Refuse facts that `ultraedit data check` would have you look at, such as two that "
        "contradict each other.",
        "",
    ),
]
Limit = Annotated[
    int | None, _option("--limit", WHAT, "Take the first N rows; all unless given.", "N")
]
Turns = Annotated[
    int | None, _option("--turns", WHAT, "End after N turns, if the facts last that long.", "N")
]
EditsPerTurn = Annotated[
    int | None,
    _option("--edits-per-turn", WHAT, "Edits applied together; 100 unless given.", "N"),
]

Editor = Annotated[
    str | None,
    _option("--editor", HOW, "One of `ultraedit editors list`; ultraedit unless given.", "NAME"),
]
Modules = Annotated[
    str | None,
    _option(
        "--modules",
        HOW,
        "Linear layers to edit, such as 'layers.[25-28].mlp.down_proj'; several patterns are "
        "separated by commas. The preset's unless given.",
        "PATTERNS",
    ),
]
Eta = Annotated[
    str | None,
    _option(
        "--eta",
        HOW,
        "Size of the step: a positive number, or auto. The preset's unless given.",
        "X|auto",
    ),
]
EditEditor = Annotated[
    str | None,
    _option(
        "--editor",
        HOW,
        "One of `ultraedit editors list`. \\[default: anchored, or ultraedit with --eta]",
        "NAME",
    ),
]
Form = Annotated[
    str | None,
    _option(
        "--form",
        HOW,
        "How the editor anchored puts each fact: as the bare prompt, as a user's question in the "
        "model's chat template, or both. \\[default: both]",
        "plain|chat|both",
    ),
]
Anchors = Annotated[
    str | None,
    _option(
        "--anchors",
        HOW,
        "General prompts whose answers hold the model in place while the editor anchored works: "
        "general for the package's own 300, a file with a prompt on each line, or none. "
        "\\[default: general]",
        "FILE|general|none",
    ),
]
UseRephrases = Annotated[
    int | None,
    _option(
        "--use-rephrases",
        HOW,
        "Also edit on the first N rephrases of each fact, which are then not scored. "
        "\\[default: 0]",
        "N",
    ),
]
Ridge = Annotated[
    str | None,
    _option(
        "--ridge",
        HOW,
        "Penalty on the size of the update; larger writes less. The preset's unless given.",
        "X",
    ),
]
Protocol = Annotated[
    str | None,
    _option(
        "--protocol",
        HOW,
        "Follow the paper, or the released code where the two differ. The paper unless given.",
        "paper|official",
    ),
]
Net = Annotated[
    str | None,
    _option(
        "--net",
        HOW,
        "Trained net of the editor, from `ultraedit train`; untrained unless given.",
        "FILE",
    ),
]
Assignments = Annotated[
    list[str] | None,
    _option(
        "--set",
        HOW,
        "Any other option of the editor, as `ultraedit editors show` lists them, such as "
        "variance=released. May be repeated.",
        "NAME=VALUE",
    ),
]
Preset = Annotated[
    str | None,
    _option(
        "--preset",
        HOW,
        "Preset to take modules, eta and ridge from, by name or as a .toml file. The one of the "
        "model and the data unless given.",
        "FILE|NAME",
    ),
]
Config = Annotated[
    Path | None,
    _option(
        "--config",
        HOW,
        "Take settings from a .toml file, or repeat a run from its config.json. Options given "
        "here beat it.",
        "FILE",
    ),
]
Corpus = Annotated[
    str | None,
    _option(
        "--corpus",
        HOW,
        f"For editors that need second moments. {CORPUS_HELP} imported takes those of `ultraedit "
        "stats import`. The prompts of the edits unless given.",
        "CORPUS",
    ),
]
CorpusSamples = Annotated[int | None, _option("--corpus-samples", HOW, SAMPLES_HELP, "N")]

Dtype = Annotated[
    str | None,
    _option(
        "--dtype",
        MACHINE,
        "Precision of the model. auto, unless given, is bfloat16 where the machine computes it, "
        "else float32.",
        "auto|float32|bfloat16|float16",
    ),
]
Device = Annotated[
    str | None,
    _option(
        "--device",
        MACHINE,
        "Where to compute. auto, unless given, takes a GPU if there is one.",
        "auto|cpu|cuda|cuda:N|mps",
    ),
]
DeviceMap = Annotated[
    str | None,
    _option(
        "--device-map",
        MACHINE,
        "For a model that does not fit: auto spreads it over all devices; stream leaves the layers "
        "below the edited ones in their file and reads them one at a time. All on --device unless "
        "given.",
        "auto|stream",
    ),
]
Engine = Annotated[
    str | None,
    _option(
        "--engine",
        MACHINE,
        "What runs the model. llama.cpp, for .gguf files, is what Ollama and LM Studio run them "
        "with; it needs the extra gguf. \\[default: transformers]",
        "transformers|llama.cpp",
    ),
]
Seed = Annotated[
    int | None, _option("--seed", MACHINE, "Seed of every random choice; 0 unless given.", "N")
]

FreeAnswers = Annotated[
    int | None,
    _option(
        "--free-answers",
        RESULT,
        "How many edits are also asked freely, which takes most of the time of an evaluation; all "
        "unless given, 0 for none.",
        "N",
    ),
]
ChatAnswers = Annotated[
    bool,
    _option(
        "--chat-answers",
        RESULT,
        "Also ask these edits and their rephrasings freely inside the model's chat template, where "
        "it has one.",
    ),
]
FreeAlways = Annotated[
    bool,
    _option(
        "--free-always",
        RESULT,
        "Generate freely at every checkpoint on the way too, not before and after the run alone.",
    ),
]
ControlQuestions = Annotated[
    int | None,
    _option(
        "--control-questions",
        RESULT,
        "How many of the program's own questions, which have nothing to do with any fact, are "
        "asked before and after, up to 200; 100 unless given, 0 for none.",
        "N",
    ),
]
EvaluateEvery = Annotated[
    int | None,
    _option(
        "--evaluate-every",
        RESULT,
        "Also score all edits so far after every N turns; only at the end unless given.",
        "N",
    ),
]
EvaluateAt = Annotated[
    str | None,
    _option(
        "--evaluate-at",
        RESULT,
        "Also score all edits so far after these turns, such as 1,10,100.",
        "TURNS",
    ),
]
ScoreSample = Annotated[
    int | None,
    _option(
        "--score-sample",
        RESULT,
        "Score a sample of N edits, the same at every checkpoint, in the place of all: then memory "
        "does not grow with the file. All edits unless given.",
        "N",
    ),
]
Perplexity = Annotated[
    str | None,
    _option(
        "--perplexity",
        RESULT,
        f"Whenever the run is scored, also measure the perplexity of 100 passages. {CORPUS_HELP} "
        "None unless given.",
        "CORPUS",
    ),
]
ScoreNewest = Annotated[
    int | None,
    _option(
        "--score-newest",
        RESULT,
        "Whenever the run is scored, also score the N edits that were made last; none unless "
        "given.",
        "N",
    ),
]
Trunk = Annotated[
    bool,
    _option(
        "--trunk",
        RESULT,
        "Compute what lies below the edited layers once per question, for runs that are scored "
        "many times. Scores may differ in the last digits from those without it.",
        "",
    ),
]
SnapshotEvery = Annotated[
    int | None,
    _option(
        "--snapshot-every",
        RESULT,
        "Keep the state of every N-th turn: `rollback` gets to a turn from the one before it; 100 "
        "unless given. One takes the size of the edited weights in float32.",
        "N",
    ),
]
Out = Annotated[
    Path | None,
    _option(
        "--out",
        RESULT,
        "Folder for the results, new or empty. runs/EDITOR-MODEL-FORMAT-N unless given.",
        "DIR",
    ),
]
NoSaveModel = Annotated[
    bool, _option("--no-save-model", RESULT, "Keep the numbers, not the edited model.", "")
]
DryRun = Annotated[
    bool,
    _option("--dry-run", RESULT, "Print what would be done, and where each choice is from.", ""),
]
Json = Annotated[bool, _option("--json", RESULT, "Print the result as JSON.", "")]
