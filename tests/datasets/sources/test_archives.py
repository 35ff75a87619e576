"""Archives that lie: links, ways out, bombs, damage. Nothing of them may stay."""

from __future__ import annotations

import gzip
import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from raybench.datasets.sources import archives
from raybench.datasets.sources.archives import DamagedArchive, unpack
from raybench.errors import ResourceError
from tests.datasets.sources.published_sets import write_archive

FILES = {"a/b.txt": b"b" * 5000, "c d/ü'\n.txt": b"c", "empty": b""}
KINDS = ("x.zip", "x.tar", "x.tar.gz", "x.tgz")


def refused(archive: Path, kind: type[Exception] = DamagedArchive) -> str:
    folder = archive.parent / "out"
    with pytest.raises(kind) as error:
        unpack(archive, folder)
    assert {path.name for path in archive.parent.iterdir()} == {archive.name}
    return str(error.value)


@pytest.mark.parametrize("name", KINDS)
def test_files_arrive_and_nothing_else(name, tmp_path):
    write_archive(tmp_path / name, FILES)
    unpack(tmp_path / name, tmp_path / "out")
    found = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert found == FILES
    assert {path.name for path in tmp_path.iterdir()} == {name, "out"}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("member", ["../out", "/etc/out", "a/../../out", "..\\out", "C:/out"])
def test_members_that_leave_the_folder_are_refused(name, member, tmp_path):
    write_archive(tmp_path / name, {"fine.txt": b"", member: b"x"})
    assert "leads out of its folder" in refused(tmp_path / name)


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        assert "no plain file" in refused(tmp_path / "x.tar")
    (tmp_path / "x.tar").unlink()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "no plain file" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_found(name, tmp_path):
    write_archive(tmp_path / name, FILES)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert "damaged or no archive" in refused(tmp_path / name)
    (tmp_path / name).write_bytes(b"<html>please log in</html>")
    assert "damaged or no archive" in refused(tmp_path / name)


def test_a_wrong_sum_at_the_end_of_gzip_is_found(tmp_path):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    packed = bytearray(gzip.compress(plain.getvalue()))
    packed[-8] ^= 1
    (tmp_path / "x.tgz").write_bytes(packed)
    assert "CRC" in refused(tmp_path / "x.tgz")


def test_encrypted_and_doubled_members_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", b"1")
            archive.writestr("a", b"2")
    assert "holds 'a' twice" in refused(tmp_path / "x.zip")
    data = bytearray((tmp_path / "x.zip").read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.find(mark) + offset] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    assert "encrypted" in refused(tmp_path / "x.zip")


@pytest.mark.parametrize(("limit", "value"), [("MAX_BYTES", 10**6), ("MAX_FILES", 2)])
def test_bombs_are_refused(limit, value, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, limit, value)
    write_archive(tmp_path / "x.zip", {"a": bytes(3 * 10**6)} if value > 2 else FILES)
    assert "more than" in refused(tmp_path / "x.zip")


def test_a_full_disk_is_said_before_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    write_archive(tmp_path / "x.zip", FILES)
    assert "GB that are free" in refused(tmp_path / "x.zip", ResourceError)


def test_what_another_process_unpacked_stays(tmp_path):
    write_archive(tmp_path / "x.zip", FILES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "theirs").touch()
    unpack(tmp_path / "x.zip", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["theirs"]
