"""A file is the old one or the new one, whatever happens while it is written."""

import errno
import os

import pytest

from ultraedit.core.errors import StorageError
from ultraedit.core.files import explained, staged, write_bytes, write_text


def test_a_text_is_written_as_it_is(tmp_path):
    write_text(tmp_path / "page.md", "ΔW\nzwei\n")
    assert (tmp_path / "page.md").read_bytes() == "ΔW\nzwei\n".encode()
    assert os.listdir(tmp_path) == ["page.md"]


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "plot.png"
    write_bytes(path, b"old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"Cannot write .*plot\.png: No space left on device"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["plot.png"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"Cannot write .*nowhere.*: No such file"):
        write_text(tmp_path / "nowhere" / "page.md", "")


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(ValueError, match="other"), explained(tmp_path):
        raise ValueError("other")


@pytest.mark.parametrize("call", ["rename", "replace"])
@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_between_two_renames_leaves_one_whole_folder(tmp_path, monkeypatch, call, late):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("old")
    real = getattr(os, call)

    def pressed(*names):
        monkeypatch.setattr(os, call, real)
        if late:
            real(*names)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, pressed)
    with pytest.raises(KeyboardInterrupt), staged(folder) as stage:
        stage.mkdir()
        (stage / "weights").write_text("new")
    replaced = call == "replace" and late
    assert (folder / "weights").read_text() == ("new" if replaced else "old")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
