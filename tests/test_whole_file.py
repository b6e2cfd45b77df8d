"""Files whole or not at all: rights, links, kills, failing disks."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenfleet.files.whole import whole_file, write_whole

POSIX = pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")


@pytest.fixture
def umask_027() -> Iterator[None]:
    """A umask that is not the usual one."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@POSIX
def test_a_new_file_has_what_the_umask_leaves(tmp_path: Path, umask_027: None) -> None:
    write_whole(tmp_path / "new", "täxt")
    assert (tmp_path / "new").read_bytes() == "täxt".encode()
    assert rights(tmp_path / "new") == 0o640


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o666, 0o755, 0o444])
def test_the_rights_of_a_replaced_file_stay(tmp_path: Path, umask_027: None, mode: int) -> None:
    path = tmp_path / "old"
    path.write_text("old")
    path.chmod(mode)
    with whole_file(path) as file:
        (part,) = tmp_path.glob(".old.*.part")
        assert rights(part) == mode  # a private file is private while it is written
        file.write(b"new")
    assert path.read_text() == "new" and rights(path) == mode


@POSIX
def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "link"
    other.write_text("other")
    link.symlink_to(other)
    write_whole(link, b"new")
    assert other.read_text() == "other" and link.read_text() == "new" and not link.is_symlink()


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["f"] and path.read_text() == "old"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["f"] and path.read_text() == "old"


@POSIX
def test_what_is_written_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    synced: list[tuple[bool, bool]] = []
    sync = os.fsync

    def watched(handle: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(handle).st_mode), path.exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_whole(path, "new")
    assert synced == [(False, False), (True, True)]  # the file, its name, the folder


@POSIX
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            write_whole(tmp_path / "f", "new")
    finally:
        tmp_path.chmod(0o755)
    assert not list(tmp_path.iterdir())


@POSIX
def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from tokenfleet.files.whole import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); print('half', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"half\n"
        os.kill(child.pid, signal.SIGKILL)
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new"
