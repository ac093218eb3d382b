"""GGUF files of tiny random Llamas, as llama.cpp's own converter would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind

from tests.tiny import VOCABULARY, toy_tokenizer
from ultraedit.models import LanguageModel

HEADS, KV_HEADS = 4, 2

TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|system|>Be brief.\n{% endif %}"
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def gguf_model(seed: int = 0, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """A Llama whose widths are multiples of 32, as types in blocks want them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=256,
        initializer_range=0.1,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    model.requires_grad_(False)
    return LanguageModel(model.eval(), toy_tokenizer(), name="tiny", source="tiny")


def write_gguf(
    path: Path,
    lm: LanguageModel | None = None,
    kind: Kind = Kind.F32,
    *,
    alignment: int | None = None,
    rope: float = 10000.0,
    extra: dict[str, Any] | None = None,
    template: str | None = TEMPLATE,
) -> Path:
    """Write a model, matrices in a type and all else in float32."""
    lm = lm or gguf_model()
    config = lm.config
    writer = gguf.GGUFWriter(path, "llama")
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // HEADS)
    writer.add_rope_freq_base(rope)
    writer.add_vocab_size(config.vocab_size)
    for name, number in (extra or {}).items():
        writer.add_uint16(name, number)
    _add_tokenizer(writer, lm.tokenizer)
    if template is not None:
        writer.add_chat_template(template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in lm.model.state_dict().items():
        stored = names.get_name(name.removesuffix(".weight")) + ".weight"
        array = _permuted(stored, weight.float().numpy())
        one = kind if array.ndim == 2 else Kind.F32
        writer.add_tensor(stored, gguf.quantize(array, one), raw_dtype=one)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _permuted(name: str, weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of query and key heads with the two halves of a head interleaved."""
    heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name.split(".")[-2])
    if heads is None:
        return weight
    rows = weight.reshape(heads, 2, len(weight) // heads // 2, -1)
    return np.ascontiguousarray(rows.swapaxes(1, 2).reshape(weight.shape))


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any) -> None:
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    special = {"<pad>", "<s>", "</s>", "<unk>"}
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    merges = model["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
