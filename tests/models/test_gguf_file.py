"""A GGUF file copied with tensors replaced: everything else keeps its bytes."""

from __future__ import annotations

import struct

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from tests.tiny_gguf import gguf_model, write_gguf
from ultraedit.core.errors import ConfigError, StorageError
from ultraedit.core.files import sha256
from ultraedit.models.gguf_file import GgufFile, Replacement, encoded, write_like, write_new


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.Q8_0, Kind.Q4_1])
@pytest.mark.parametrize("alignment", [None, 64, 256])
def test_a_copy_without_an_edit_has_the_same_hash(kind, alignment, tmp_path):
    base = write_gguf(tmp_path / "base.gguf", kind=kind, alignment=alignment)
    write_like(GgufFile(base), tmp_path / "copy.gguf", {}, {})
    assert sha256(tmp_path / "copy.gguf") == sha256(base)


def test_a_copy_of_a_file_without_padding_at_its_end_has_none(tmp_path):
    lm = gguf_model()
    base = write_gguf(tmp_path / "base.gguf", lm)
    whole = base.read_bytes()
    file = GgufFile(base)
    end = len(whole) - len(file.tail)
    base.write_bytes(whole[:end])
    write_like(GgufFile(base), tmp_path / "copy.gguf", {}, {})
    assert sha256(tmp_path / "copy.gguf") == sha256(base)


def test_metadata_and_tensors_are_those_that_the_package_gguf_reads(tmp_path):
    path = write_gguf(tmp_path / "base.gguf", kind=Kind.Q4_1, alignment=64)
    ours, theirs = GgufFile(path), gguf.GGUFReader(path)
    assert ours.alignment == theirs.alignment == 64
    fields = {key: field for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert list(ours.keys) == list(fields)
    for key, field in fields.items():
        assert ours.value(key) == field.contents(), key
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        mine = ours.tensors[tensor.name]
        assert (mine.kind, mine.offset, mine.size) == (
            *(tensor.tensor_type, tensor.data_offset),
            tensor.n_bytes,
        )
        assert mine.shape == tuple(reversed(tensor.shape.tolist()))
        expected = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(mine.shape)
        assert np.array_equal(ours.weight(tensor.name), expected)
    assert ours.architecture == "llama"
    assert ours.of_architecture("block_count") == 2
    assert ours.value("no.such.key") is None


def test_a_replaced_tensor_changes_its_type_and_nothing_else(tmp_path):
    base = GgufFile(write_gguf(tmp_path / "base.gguf", kind=Kind.Q4_1))
    name = "blk.0.ffn_down.weight"
    wanted = np.random.default_rng(0).standard_normal((64, 96)).astype(np.float32)
    replaced = {name: Replacement(Kind.F16, lambda: encoded(wanted, Kind.F16))}
    write_like(base, tmp_path / "edited.gguf", replaced, {"editor": "ultraedit"})
    edited = gguf.GGUFReader(tmp_path / "edited.gguf")
    before = gguf.GGUFReader(base.path)
    for ours, theirs in zip(edited.tensors, before.tensors, strict=True):
        assert ours.name == theirs.name
        if ours.name == name:
            assert ours.tensor_type == Kind.F16
            assert np.array_equal(ours.data, wanted.astype(np.float16))
        else:
            assert ours.tensor_type == theirs.tensor_type
            assert np.array_equal(ours.data, theirs.data)
    added = edited.fields.keys() - before.fields.keys()
    assert added == {"ultraedit.editor"}
    assert edited.fields["ultraedit.editor"].contents() == "ultraedit"
    # Exported once more, it says where it comes from once.
    again = {"editor": "memit"}
    write_like(GgufFile(tmp_path / "edited.gguf"), tmp_path / "again.gguf", {}, again)
    assert GgufFile(tmp_path / "again.gguf").value("ultraedit.editor") == "memit"


def test_a_new_file_is_read_by_the_package_gguf(tmp_path):
    tensors = {"a": np.ones((2, 3), np.float32), "b": np.arange(5, dtype=np.float32)}
    write_new(tmp_path / "new.gguf", {"general.type": "adapter", "x.n": 3, "x.f": 0.5}, tensors)
    read = gguf.GGUFReader(tmp_path / "new.gguf")
    values = {key: field.contents() for key, field in read.fields.items()}
    assert values["general.type"] == "adapter"
    assert (values["x.n"], values["x.f"]) == (3, 0.5)
    for tensor in read.tensors:
        assert np.array_equal(tensor.data, tensors[tensor.name])


def test_files_that_cannot_be_copied_are_refused(tmp_path):
    path = write_gguf(tmp_path / "split.gguf", extra={"split.count": 3})
    with pytest.raises(ConfigError, match=r"one of 3 parts of a split file. Join them first"):
        GgufFile(path)
    with pytest.raises(ConfigError, match=r"There is no file .*nowhere.gguf"):
        GgufFile(tmp_path / "nowhere.gguf")
    (tmp_path / "zip.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match="does not start with the letters GGUF"):
        GgufFile(tmp_path / "zip.gguf")
    raw = bytearray(write_gguf(tmp_path / "base.gguf").read_bytes())
    raw[4:8] = struct.pack(">I", 3)
    (tmp_path / "big.gguf").write_bytes(raw)
    with pytest.raises(ConfigError, match="another order of bytes"):
        GgufFile(tmp_path / "big.gguf")


@pytest.mark.parametrize("share", [0.001, 0.05, 0.3, 0.9])
def test_a_file_that_is_cut_off_is_refused(share, tmp_path):
    whole = write_gguf(tmp_path / "base.gguf").read_bytes()
    (tmp_path / "part.gguf").write_bytes(whole[: max(4, int(share * len(whole)))])
    with pytest.raises(StorageError, match="only a part of a GGUF file"):
        GgufFile(tmp_path / "part.gguf")


def test_a_type_that_cannot_be_written_is_refused():
    with pytest.raises(ConfigError, match=r"cannot write Q4_K. Give --type f16 or q8_0"):
        encoded(np.zeros((1, 256), np.float32), Kind.Q4_K)
