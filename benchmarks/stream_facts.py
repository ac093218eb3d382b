"""Files for long streams: synthetic facts with a small random model, and real facts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STARTS = ("bal", "cor", "dun", "esk", "fal", "gor", "hul", "ith", "jor", "kel")
MIDDLES = ("a", "en", "ia", "o", "us", "ek", "ar", "in", "ol", "eth")
ENDS = tuple(f"{start}{vowel}" for start in "lmnrst" for vowel in ("a", "e", "i", "or", "um"))[:20]
WORDS = [start + middle + end for start in STARTS for middle in MIDDLES for end in ENDS]
"""2,000 words that nobody has seen."""

REPEATED = 0.02
"""Share of synthetic facts whose prompt was edited before."""


def write_synthetic(file: Path, edits: int, seed: int = 0) -> None:
    """Write so many made-up facts, one a line; some of their prompts come again.

    Args:
        file: Where to.
        edits: How many.
        seed: Decides on all of them.
    """
    draw = random.Random(seed)
    with file.open("w", encoding="utf-8") as out:
        for number in range(edits):
            again = number and draw.random() < REPEATED
            place = draw.randrange(number) if again else number
            prompt = f"capital of {' '.join(_name(place))} ?"
            fact = {"prompt": prompt, "target": draw.choice(WORDS), "id": str(number)}
            out.write(f"{json.dumps(fact)}\n")


def _name(number: int) -> Iterator[str]:
    """Four words for a number, another four for any other below 16 * 10^12."""
    number = number * 6_364_136_223_846_793_005 % len(WORDS) ** 4
    for _ in range(4):
        number, word = divmod(number, len(WORDS))
        yield WORDS[word]


def write_model(folder: Path, hidden: int, layers: int) -> None:
    """Write a small random llama with a tokenizer that knows the synthetic words.

    Args:
        folder: Where to.
        hidden: Hidden size; the MLP is twice as wide.
        layers: Number of decoder layers.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<pad>", "<s>", "</s>", "<unk>", "capital", "of", "?", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = LlamaConfig(
        vocab_size=len(names),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        initializer_range=0.1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    ).save_pretrained(folder)


def write_real(table: Path, file: Path, edits: int, seed: int = 0) -> int:
    """Write facts of EntityQuestions in a drawn order, each with an unrelated question.

    The table is sorted by relation, so its order would be a curriculum. The unrelated question of
    a fact is one of another relation, from rows that are never edited.

    Args:
        table: ``entityquestions_220k.tsv.gz``.
        file: Where to.
        edits: Most facts to edit.
        seed: Decides on the order.

    Returns:
        How many facts were written.
    """
    rows = list(_questions(table))
    random.Random(seed).shuffle(rows)
    edits = min(edits, len(rows) // 2)
    edited = {row["question"] for row in rows[:edits]}
    spare = [row for row in rows[edits:] if row["question"] not in edited]
    with file.open("w", encoding="utf-8") as out:
        for number, row in enumerate(rows[:edits]):
            other = next(
                spare[at % len(spare)]
                for at in range(number, number + len(spare))
                if spare[at % len(spare)]["pid"] != row["pid"]
            )
            target, *aliases = row["answers"]
            fact = {
                "prompt": row["question"],
                "target": target,
                "subject": row["subject"],
                "aliases": aliases,
                "locality": [{"prompt": other["question"], "target": other["answers"][0]}],
                "id": str(number),
            }
            out.write(f"{json.dumps(fact, ensure_ascii=False)}\n")
    return edits


def _questions(table: Path) -> Iterator[dict[str, Any]]:
    import csv
    import gzip

    with gzip.open(table, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            answers = list(dict.fromkeys(json.loads(row["answers_json"])))
            yield {**row, "answers": answers}
