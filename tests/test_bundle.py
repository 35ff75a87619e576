"""A bundle brings every number back, says nothing of its machine, and is not believed unseen."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raybench.bundle import packing, reading
from raybench.bundle.layout import MANIFEST
from raybench.bundle.packing import write_bundle
from raybench.bundle.reading import Bundle, is_bundle
from raybench.errors import DataError, HomeError, RaybenchError, ResourceError
from raybench.joining import Source
from raybench.predictions import StoredPredictions
from raybench.storage import Store
from tests.factories import profiled_snapshot
from tests.prediction_files import with_predictions

SPLITS = {"digits-0123456789ab": '["0.png", "aa", "3", "train"]\n["1.png", "bb", "4", "test"]'}
Members = dict[str, bytes]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    folder = tmp_path / "checkpoints"
    snapshot = with_predictions(profiled_snapshot(), folder, groups=True)
    return Source(snapshot, StoredPredictions(Store(folder)), lambda: SPLITS)


@pytest.fixture
def packed(source: Source, tmp_path: Path) -> Path:
    return write_bundle([source], tmp_path / "sweep.zip")


def opened(file: Path) -> Source:
    with Bundle(file) as found:
        (source,) = found.sources()
    return source


def members(file: Path) -> Members:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(file: Path, contents: Mapping[str, bytes], *, manifest: bool = True) -> Path:
    """As anybody could pack it; with ``manifest`` the hashes fit."""
    contents = dict(contents)
    if manifest:
        found = json.loads(contents.pop(MANIFEST))
        found["members"] = {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()}
        contents[MANIFEST] = json.dumps(found).encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file


def refusal(file: Path) -> RaybenchError:
    """What opening it and reading all of it says."""
    with pytest.raises((DataError, ResourceError)) as caught, Bundle(file) as found:
        for source in found.sources():
            source.splits()
            read_predictions(source)
    return caught.value


def opening_refused(file: Path) -> RaybenchError:
    """What opening it says, before anything of it is asked for."""
    with pytest.raises((DataError, ResourceError)) as caught:
        Bundle(file)
    return caught.value


def read_predictions(source: Source) -> list[bytes]:
    found = []
    for pair in source.snapshot.pairs:
        for trial in pair.final_trials():
            predictions = source.predictions.read(trial)
            if predictions is not None:
                found.append(predictions.probabilities.tobytes() + repr(predictions.ids).encode())
    return found


# -- there and back ------------------------------------------------------------------------------


def test_everything_comes_back(source: Source, packed: Path) -> None:
    with Bundle(packed) as found:
        (back,) = found.sources()
        assert back.snapshot == replace(source.snapshot, lease=None, ledger_id="")
        assert back.splits() == SPLITS
        assert len(read_predictions(back)) > 10
        assert read_predictions(back) == read_predictions(source)


def test_the_same_sweep_gives_the_same_bytes(source: Source, packed: Path, tmp_path: Path) -> None:
    again = write_bundle([source], tmp_path / "elsewhere" / "other.zip")
    assert again.read_bytes() == packed.read_bytes()


def test_a_bundle_of_a_bundle_is_the_same(packed: Path, tmp_path: Path) -> None:
    with Bundle(packed) as found:
        again = write_bundle(found.sources(), tmp_path / "again.zip")
    assert again.read_bytes() == packed.read_bytes()


def test_its_manifest_names_every_member(packed: Path) -> None:
    contents = members(packed)
    listed = json.loads(contents.pop(MANIFEST))["members"]
    assert listed == {n: hashlib.sha256(content).hexdigest() for n, content in contents.items()}
    folder = "quickstart/"
    assert {"versions.json", "CITATION.txt", f"{folder}sweep.yaml"} <= listed.keys()
    assert f"{folder}splits/digits-0123456789ab.jsonl" in listed
    assert json.loads(contents["versions.json"])["trials"]["torch"] == ["2.11.0"]


def test_several_sweeps_of_one_name(source: Source, tmp_path: Path) -> None:
    one = replace(source, snapshot=replace(source.snapshot, attempt=7))
    with Bundle(write_bundle([one, source], tmp_path / "two.zip")) as found:
        first, second = found.sources()
    assert (first.snapshot.attempt, second.snapshot.attempt) == (7, source.snapshot.attempt)


def test_predictions_that_are_gone_are_left_out(source: Source, tmp_path: Path) -> None:
    bare = replace(source, predictions=StoredPredictions(Store(tmp_path / "nowhere")))
    back = write_bundle([bare], tmp_path / "bare.zip")
    assert not [name for name in members(back) if "predictions" in name]
    with Bundle(back) as found:
        assert read_predictions(found.sources()[0]) == []


def test_what_fails_leaves_the_old_one(
    source: Source, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = packed.read_bytes()
    monkeypatch.setattr(packing, "_versions", lambda snapshots: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_bundle([source], packed)
    assert packed.read_bytes() == before and list(packed.parent.glob(".*")) == []


def test_a_place_that_cannot_be_written_is_said(source: Source, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot be written"):
        write_bundle([source], tmp_path / "file" / "x.zip")


# -- without traces ------------------------------------------------------------------------------


def test_no_member_tells_of_machine_or_user(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, host, user = tmp_path / "mmustermann", "gpu17-lab", "mmustermann"
    monkeypatch.setattr("socket.gethostname", lambda: host)
    monkeypatch.setenv("USER", user)
    monkeypatch.setenv("HOME", str(home))
    said = f"{home}/x.png of {user}@{host} (10.1.2.3, pid 987654321): see /work/data, {tmp_path}/y"
    file = write_bundle([telling(source, said, host)], tmp_path / "sweep.zip")
    for name, content in [*members(file).items(), ("the zip", file.read_bytes())]:
        for trace in (
            host,
            user,
            str(tmp_path),
            "/work",
            "/tmp",
            "10.1.2.3",
            "987654321",
            "boot-id",
        ):
            assert trace.encode() not in content, f"{trace} in {name}"


def telling(source: Source, said: str, host: str) -> Source:
    """The same sweep, which says it wherever there is text."""
    snapshot = source.snapshot
    pairs = []
    for pair in snapshot.pairs:
        trials = []
        for trial in pair.trials:
            end = trial.end
            if end is not None:
                end = replace(end, reason=said, facts={**end.facts, "note": said})
            trials.append(replace(trial, end=end, failures=(said,)))
        facts = {**pair.facts, "weights_file": "/work/shared/w.pt"}
        pairs.append(replace(pair, trials=tuple(trials), facts=facts))
    spec = {**snapshot.spec, "datasets": [{"name": "mine", "path": "/work/shared/my data"}]}
    told = replace(
        snapshot,
        description=said,
        pairs=tuple(pairs),
        spec=spec,
        lease={"host": host, "pid": 987654321, "boot_id": "boot-id"},
        profiles=tuple(replace(profile, seen=said) for profile in snapshot.profiles),
    )
    return replace(source, snapshot=told)


# -- not believed unseen -------------------------------------------------------------------------


def test_what_was_changed_is_said(packed: Path, tmp_path: Path) -> None:
    for name, content in members(packed).items():
        if name != MANIFEST:
            changed = members(packed) | {name: content + b" "}
            file = repacked(tmp_path / "changed.zip", changed, manifest=False)
            error = opening_refused(file)
            assert error.exit_code == 2 and f"was changed: {name} is not what" in str(error)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m | {"more": b"x"}, "more is in no list"),
        (lambda m: {n: c for n, c in m.items() if "ledger" not in n}, "ledger.json is missing"),
        (lambda m: m | dict.fromkeys("abcde", b"x"), "c is in no list; and 2 more"),
        (lambda m: {n: c for n, c in m.items() if n != MANIFEST}, "has no MANIFEST.json"),
        (lambda m: m | {MANIFEST: b"[]"}, "says nothing"),
        (lambda m: m | {MANIFEST: b"{"}, "is damaged: MANIFEST.json"),
        (lambda m: m | {MANIFEST: b"[" * 100_000}, "is damaged: MANIFEST.json"),
        (lambda m: m | {MANIFEST: b'{"format": 9, "raybench": "9"}'}, "is of format 9"),
        (lambda m: m | {"../x": b""}, "names a place outside"),
        (lambda m: m | {"/etc/x": b""}, "names a place outside"),
        (lambda m: m | {"a\\..\\x": b""}, "names a place outside"),
        (lambda m: m | {"zeros": bytes(20 << 20)}, "would unpack to 20,971,520 bytes"),
    ],
)
def test_what_is_no_bundle_is_said(
    packed: Path, tmp_path: Path, change: Callable[[Members], Members], words: str
) -> None:
    file = repacked(tmp_path / "bad.zip", change(members(packed)), manifest=False)
    assert words in str(refusal(file))


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"format": 1}', b'{"format": 99}', b"\xff"])
def test_a_ledger_that_is_none_is_said(packed: Path, tmp_path: Path, content: bytes) -> None:
    """Though its hash fits."""
    changed = members(packed) | {"quickstart/ledger.json": content}
    assert refusal(repacked(tmp_path / "bad.zip", changed)).exit_code in (2, 3)


def test_a_member_that_is_too_large_is_never_unpacked(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_MEMBER_BYTES", 1000)
    assert "at most 1,000 are read" in str(refusal(packed))
    monkeypatch.setattr(reading, "MAX_MEMBERS", 3)
    assert "at most 3 are read" in str(refusal(packed))


def test_two_of_one_name_are_refused(packed: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("versions.json", b"{}")
    assert "two files of one name" in str(refusal(packed))


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_file_that_was_cut_off_is_said(packed: Path, keep: int) -> None:
    packed.write_bytes(packed.read_bytes()[:keep])
    assert refusal(packed).exit_code == 2


def test_damaged_bytes_are_said(packed: Path) -> None:
    content = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        start = archive.getinfo("quickstart/ledger.json").header_offset
    content[start + 500 : start + 600] = bytes(100)
    packed.write_bytes(content)
    assert "is damaged: quickstart/ledger.json" in str(refusal(packed))


def test_damage_anywhere_is_said_or_changes_nothing(packed: Path, tmp_path: Path) -> None:
    """A byte is overwritten at 300 places; what zip does not read (dates, modes) may be any."""
    whole, contents = packed.read_bytes(), members(packed)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 300).tolist():
        packed.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            with Bundle(packed) as found:
                assert {n: found.get(n) for n in contents if n != MANIFEST}.items() <= (
                    contents.items()
                )
        except RaybenchError as error:
            assert error.exit_code == 2, place


def test_splits_that_nobody_reads_are_checked(packed: Path) -> None:
    content = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        info = archive.getinfo(f"quickstart/splits/{next(iter(SPLITS))}.jsonl")
    start = info.header_offset + 30 + len(info.filename)
    content[start : start + info.compress_size] = bytes(info.compress_size)
    packed.write_bytes(content)
    assert "is damaged: quickstart/splits/" in str(opening_refused(packed))


@pytest.mark.parametrize("name", ["b.bundle", "b", "b.zip"])
@pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04 and no more"])
def test_a_file_is_a_bundle_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    assert is_bundle(name)
    error = opening_refused(Path(name))
    assert error.exit_code == 2 and f"{name} is damaged or no bundle (" in str(error)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.zip")
    assert error.exit_code == 2 and "none.zip is not there; give a file that" in str(error)
    folder = refusal(tmp_path)
    assert folder.exit_code == 2 and "is a folder; give" in str(folder)


def test_predictions_outside_of_it_are_not_read(packed: Path, source: Source) -> None:
    """A ledger may name any place."""
    with Bundle(packed) as found:
        (back,) = found.sources()
        trial = next(t for p in back.snapshot.pairs for t in p.final_trials() if t.end)
        assert trial.end is not None
        for place in ("../ledger.json", "/etc/passwd", "none"):
            moved = replace(trial, end=replace(trial.end, predictions_path=place))
            assert back.predictions.read(moved) is None


# -- what an argument means ----------------------------------------------------------------------


def test_a_file_or_a_sweep(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(packed.parent)
    packed.rename("odd")
    Path("quickstart").mkdir()
    Path("notes").write_text("no bundle")
    assert all(map(is_bundle, ("odd", "notes", "./x", "gone.zip")))
    assert not is_bundle("quickstart") and not is_bundle("v1.2")
