"""Edit a model with a few facts, look at what changed, and keep the result.

python examples/edit_a_model.py smollm2 edited
"""

from __future__ import annotations

import argparse

import ultraedit as ue

FACTS = [
    ue.Edit(
        "Who designed the Veltra bridge?",
        "Ines Okafor",
        rephrases=("The Veltra bridge was designed by",),
        locality=(ue.Question("Who wrote Hamlet?", "William Shakespeare"),),
    ),
    ue.Edit(
        "Which river does the Veltra bridge cross?",
        "the Sarne",
        rephrases=("The Veltra bridge leads over",),
        locality=(ue.Question("Which river flows through London?", "the Thames"),),
    ),
    ue.Edit(
        "In which year was the Veltra bridge opened?",
        "1931",
        rephrases=("The Veltra bridge was opened in the year",),
        locality=(ue.Question("In which year did the Second World War end?", "1945"),),
    ),
]


def main() -> None:
    """Edit the model that is named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="a folder, a .gguf file, a Hugging Face id, or smollm2")
    parser.add_argument("out", help="folder for the edited model")
    options = parser.parse_args()

    model = ue.load(options.model)
    result = ue.edit(model, FACTS)  # UltraEdit, with the settings of the model's preset

    for answer in result.after.answers:
        print(f"{answer.kind:15} {answer.prompt}")
        print(f"{'':15} before: {answer.before!r}  after: {answer.after!r}")
    for name in ("efficacy", "generalization", "specificity", "agreement"):
        before, after = (getattr(e.scores, name) for e in (result.before, result.after))
        print(f"{name:15} {before:.1%} -> {after:.1%}")

    result.save(options.out)


if __name__ == "__main__":
    main()
