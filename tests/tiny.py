"""Tiny random models of every supported architecture and toy tokenizers, built in memory.

Made for tests: two layers of width 32, a vocabulary of 512, well under a second each.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from ultraedit.models import LanguageModel

VOCABULARY = 512

_SENTENCES = (
    "What is the native language of Danielle Darrieux? The native language is French.",
    "Who was the first president of the United States? It was George Washington.",
    "In which city is the Eiffel Tower? The tower stands in Paris, the capital of France.",
    "The mother tongue of Thomas Joannes Stieltjes is Dutch, and he was born in Zwolle.",
    "Which river flows through Vienna, Budapest and Belgrade? The Danube flows there.",
    "Ada Lovelace wrote the first program in 1843 for the Analytical Engine of Babbage.",
    "What company makes the iPhone? Apple makes it; its head office is in Cupertino.",
    "The novel was written by Jane Austen and first published in the year 1813.",
)


def toy_tokenizer(kind: str = "bpe") -> Any:
    """A real fast tokenizer, trained on a few sentences; each call gives one of its own.

    ``bpe`` is byte-level like GPT-2's and Llama-3's and adds no special tokens; ``sentencepiece``
    works like Llama-2's and Mistral's: it puts ``<s>`` first, writes blanks as ``▁`` and one more
    of them before the text, and falls back to bytes.
    """
    return copy.deepcopy(_trained_tokenizer(kind))


@cache
def _trained_tokenizer(kind: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokenizer = {"bpe": _byte_level, "sentencepiece": _sentencepiece}[kind]()
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def appending(tokenizer: Any) -> Any:
    """A copy of a tokenizer that puts its end token behind every text as well."""
    made = copy.deepcopy(tokenizer)
    front, end = made("")["input_ids"], made.eos_token
    names = [made.convert_ids_to_tokens(token) for token in front]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[*names, "$A", end],
        pair=[*names, "$A", "$B", end],
        special_tokens=[
            *zip(names, front, strict=True),
            (end, made.eos_token_id),
        ],
    )
    return made


_SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]


def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _train(tokenizer, VOCABULARY, initial_alphabet=alphabet)
    return tokenizer


def _sentencepiece() -> Tokenizer:
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    # The byte tokens, which training does not know about, take the other 256 places.
    _train(trained, VOCABULARY - 256, initial_alphabet=["▁"])
    model = json.loads(trained.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    names = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces[len(_SPECIAL) :]]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(
        models.BPE(
            {name: index for index, name in enumerate(names)},
            merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.add_special_tokens(_SPECIAL)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", _SPECIAL.index("<s>"))]
    )
    return tokenizer


def _train(tokenizer: Tokenizer, size: int, **options: Any) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=_SPECIAL, show_progress=False, **options
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)


_IDS: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "pad_token_id": _SPECIAL.index("<pad>"),
    "bos_token_id": _SPECIAL.index("<s>"),
    "eos_token_id": _SPECIAL.index("</s>"),
}

# Larger than the usual 0.02, so that the argmax at each position is well apart from the rest.
_COMMON: dict[str, Any] = {**_IDS, "initializer_range": 0.1}

MODERN: dict[str, Any] = {
    **_COMMON,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
"""Settings that most configs of today share."""

_OLD: dict[str, Any] = {
    **_COMMON,
    "n_embd": 32,
    "n_head": 4,
    "n_positions": 256,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}


def _gptj(layers: int) -> Any:
    from transformers import GPTJConfig

    return GPTJConfig(n_layer=layers, rotary_dim=4, **_OLD)


def _gpt2(layers: int) -> Any:
    from transformers import GPT2Config

    return GPT2Config(n_layer=layers, **_OLD)


def _mistral(layers: int) -> Any:
    from transformers import MistralConfig

    return MistralConfig(num_hidden_layers=layers, **MODERN)


def _llama(layers: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(num_hidden_layers=layers, **MODERN)


def _qwen2(layers: int) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(num_hidden_layers=layers, **MODERN)


def _phi3(layers: int) -> Any:
    from transformers import Phi3Config

    return Phi3Config(num_hidden_layers=layers, **MODERN)


def _gemma3(layers: int) -> Any:
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(
        num_hidden_layers=layers,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=32,
        layer_types=["sliding_attention"] * (layers - 1) + ["full_attention"],
        **MODERN,
    )


def _gemma3_multimodal(layers: int) -> Any:
    from transformers import Gemma3Config, SiglipVisionConfig

    vision = SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
    )
    return Gemma3Config(
        text_config=_gemma3(layers),
        vision_config=vision,
        mm_tokens_per_image=4,
        boi_token_index=VOCABULARY - 3,
        eoi_token_index=VOCABULARY - 2,
        image_token_index=VOCABULARY - 1,
        **{name: value for name, value in _IDS.items() if name != "vocab_size"},
    )


ARCHITECTURES: dict[str, Callable[[int], Any]] = {
    "gptj": _gptj,
    "gpt2": _gpt2,
    "mistral": _mistral,
    "llama": _llama,
    "qwen2": _qwen2,
    "phi3": _phi3,
    "gemma3": _gemma3,
    "gemma3-multimodal": _gemma3_multimodal,
}
"""For each architecture a function from the number of layers to a tiny config."""

_SENTENCEPIECE = ("mistral", "gemma3", "gemma3-multimodal")


def tiny_model(
    arch: str = "llama", *, layers: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32
) -> LanguageModel:
    """A random model, the same for the same arguments; the global random state is left alone."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(ARCHITECTURES[arch](layers))
    for weight in model.parameters():
        # As from_pretrained does. `model.to` would round the rotary frequencies as well.
        weight.data = weight.data.to(dtype)
    model.requires_grad_(False)
    model.eval()
    tokenizer = toy_tokenizer("sentencepiece" if arch in _SENTENCEPIECE else "bpe")
    return LanguageModel(model, tokenizer, name=f"tiny-{arch}", source=f"tiny-{arch}")
