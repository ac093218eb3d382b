"""The Modelfile beside a GGUF file: its chat template in Ollama's language."""

from __future__ import annotations

import pytest

from tests.tiny_gguf import TEMPLATE, write_gguf
from ultraedit.export.ollama import chat_pieces, modelfile
from ultraedit.models.gguf_file import GgufFile

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "added": "<s>"}

LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start|>{{ message['role'] }}<|end|>\n\n{{ message['content'] | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|end|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}<turn>{{ message['role'] }}\n"
    "{{ (first if loop.first else '') + message['content'] }}</turn>\n{% endfor %}"
)


def test_a_template_is_put_in_go(tmp_path):
    text = modelfile(GgufFile(write_gguf(tmp_path / "tiny.gguf")), "tiny.gguf")
    assert text == (
        "FROM ./tiny.gguf\n"
        'TEMPLATE """{{ range .Messages }}'
        '{{ if eq .Role "system" }}<|system|>{{ .Content }}\n'
        '{{ else if eq .Role "user" }}<|user|>{{ .Content }}\n'
        '{{ else if eq .Role "assistant" }}<|assistant|>{{ .Content }}\n'
        '{{ end }}{{ end }}<|assistant|>"""\n'
        'SYSTEM """Be brief."""\n'
        'PARAMETER stop "</s>"\n'
    )


def test_the_mark_of_the_beginning_is_left_to_the_engine_that_adds_it():
    pieces = chat_pieces(LLAMA3, TOKENS)
    assert pieces.system == ("<|start|>system<|end|>\n\n", "<|eot|>")
    assert pieces.user == ("<|start|>user<|end|>\n\n", "<|eot|>")
    assert pieces.assistant == ("<|start|>assistant<|end|>\n\n", "<|eot|>")
    assert (pieces.reply, pieces.default) == ("<|start|>assistant<|end|>\n\n", None)
    kept = chat_pieces(LLAMA3, TOKENS | {"added": ""})
    assert kept is None  # Then the first message alone has a mark before it.


@pytest.mark.parametrize(
    "template",
    [GEMMA, "{{ raise_exception('no') }}", "{% for", "{{ messages[0]['content'] | upper }}", ""],
)
def test_a_template_that_is_more_than_pieces_is_left_to_ollama(template):
    assert chat_pieces(template, TOKENS) is None


def test_the_default_message_is_the_templates_own():
    assert chat_pieces(TEMPLATE, TOKENS).default == "Be brief."
