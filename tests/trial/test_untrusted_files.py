"""Risk "untrusted checkpoint": a file put in place of one of ours never runs, and is words.

A pickle runs code when it is loaded. Here one stands for every kind of file that a trial reads.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from raybench.backbones.weights import read_weights
from raybench.datasets.cache.files import ARRAYS, META, SUMS, DamagedError, read_set
from raybench.datasets.cache.store import close_sets, open_cache
from raybench.errors import DataError
from raybench.spec import DatasetSpec
from raybench.trial import features
from raybench.trial.checkpoint import CheckpointFolder, DamagedCheckpointError, Place, load
from raybench.trial.predict import END_NAME, read_end
from tests.trial.conftest import MakeConfig, run, stop_at, timeless

CHECKPOINT = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """What the payload would write; it works, and at the end it has not been there."""
    path = tmp_path / "marker"
    pickle.loads(payload(path))
    path.unlink()
    yield path
    assert not path.exists()


def payload(marker: Path) -> bytes:
    return pickle.dumps(Payload(marker))


def torch_payload(marker: Path, place: Path) -> None:
    torch.save({"state_dict": Payload(marker), "w": torch.ones(3)}, place)


def sign(folder: Path) -> None:
    """Makes the manifest fit what stands there, as somebody would who may write there."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name in manifest["files"]:
        content = (folder / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        manifest["files"][name] = {"size": len(content), "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def saved(folder: CheckpointFolder, epoch: int) -> Path:
    tensors = {"model": {"w": torch.ones(3)}, "optimizer": {"m": torch.ones(3)}}
    folder.save(epoch, 0, tensors, {"progress": {"best_epoch": None}})
    return folder.own / f"e{epoch}-b0"


@pytest.mark.parametrize("name", CHECKPOINT)
@pytest.mark.parametrize("plant", ["pickle", "torch"])
def test_in_place_of_a_checkpoints_file_it_is_passed_over(tmp_path, marker, name, plant):
    folder = CheckpointFolder(tmp_path / "trial", 1)
    saved(folder, 1)
    place = saved(folder, 2)
    if plant == "pickle":
        (place / name).write_bytes(payload(marker))
    else:
        torch_payload(marker, place / name)
    found = folder.newest_sound()
    assert found is not None and found.place.epoch == 1


@pytest.mark.parametrize("name", ("model.safetensors", "optimizer.safetensors", "state.json"))
def test_in_place_of_a_signed_file_it_ends_the_trial_in_words(
    make_config: MakeConfig, marker, name
):
    config = make_config()
    run(config, stop_at(6))
    (place,) = sorted((config.own_folder).glob("e*-b*"))[-1:]
    (place / name).write_bytes(payload(marker))
    sign(place)
    _, end = run(config)
    if name == "state.json":  # found out in time: the checkpoint before it is taken
        assert end.state == "complete"
    else:
        assert (end.state, end.failure) == ("failed", "user")
        assert end.reason.startswith("SafetensorError: ") and "header" in end.reason


@pytest.mark.parametrize(
    "names", [["../../../outside"], ["/dev/zero"], ["a/../model.safetensors"], []]
)
def test_a_manifest_names_files_of_its_own_folder_only(tmp_path, marker, names):
    folder = CheckpointFolder(tmp_path / "trial", 1)
    place = saved(folder, 2)
    content = b"{}"
    (tmp_path / "outside").write_bytes(content)
    facts = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = json.loads((place / "manifest.json").read_bytes())
    manifest["files"] = dict.fromkeys(names, facts) | (manifest["files"] if names else {})
    (place / "manifest.json").write_text(json.dumps(manifest))
    assert folder.newest_sound() is None


DEEP = b"[" * 100_000
JUNK = [b"", b"[]", b"{}", b"null", b"1", b'"x"', DEEP, b'{"files": 1}', b'{"files": {"a": 1}}']


@pytest.mark.parametrize("content", JUNK, ids=lambda content: content[:20].decode())
@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
def test_json_of_another_shape_is_a_damaged_checkpoint(tmp_path, name, content):
    folder = CheckpointFolder(tmp_path / "trial", 1)
    place = saved(folder, 2)
    (place / name).write_bytes(content)
    if name == "state.json":
        sign(place)
    assert folder.newest_sound() is None


def test_in_place_of_a_trials_last_word(make_config: MakeConfig, marker):
    config = make_config()
    run(config)
    end = config.own_folder / END_NAME
    assert read_end(config, [config.own_folder]) is not None
    content = json.loads(end.read_bytes())
    plants = [payload(marker), *JUNK]
    plants += [json.dumps(content | {"end": junk}).encode() for junk in ([], {}, "x", None, 1)]
    plants += [json.dumps(content | {"history": junk}).encode() for junk in ("x", None, [1])]
    for plant in plants:
        end.write_bytes(plant)
        assert read_end(config, [config.own_folder]) is None, plant[:60]


@pytest.mark.parametrize("place", ["../outside", "/etc/hostname", "{root}/../outside"])
def test_a_last_word_names_files_below_its_root_only(make_config: MakeConfig, place, tmp_path):
    config = make_config()
    run(config)
    end = config.own_folder / END_NAME
    content = json.loads(end.read_bytes())
    root = Path(config.checkpoint_root)
    (root.parent / "outside").write_bytes(b"x")
    path = place.format(root=root)
    target = root / path
    if not target.exists():
        pytest.skip(f"no {target} here")
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    content["end"] |= {"weights_path": path, "weights_sha256": digest}
    end.write_text(json.dumps(content))
    assert read_end(config, [config.own_folder]) is None


def test_in_place_of_predictions_the_trial_is_not_taken_for_complete(make_config, marker):
    config = make_config(config={"read_test": True})
    records, end = run(config)
    assert end.predictions_path is not None
    path = Path(config.checkpoint_root) / end.predictions_path
    path.write_bytes(payload(marker))
    assert read_end(config, [config.own_folder]) is None
    again, second = run(config)
    assert timeless(again) == timeless(records)
    assert second.predictions_sha256 == end.predictions_sha256


def test_in_place_of_a_decoded_data_set_it_is_built_again(tmp_path, marker, image_folder):
    spec = DatasetSpec(name="pets", path=str(image_folder()))
    for name in (ARRAYS, META, SUMS, "index"):
        data = open_cache(spec, 16, tmp_path / "cache")
        (folder,) = (tmp_path / "cache").glob("pets-16-*")
        places = [folder / name] if name != "index" else list((folder.parent / "index").iterdir())
        for place in places:
            place.write_bytes(payload(marker))
        if name == ARRAYS:  # with a sum that fits, as somebody would who may write there
            sums = [
                f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n"
                for n in (ARRAYS, META)
            ]
            (folder / SUMS).write_text("".join(sums))
            with pytest.raises(DamagedError):
                read_set(folder, folder.parent / "index")
        digest = data.digest
        del data
        close_sets()
        assert open_cache(spec, 16, tmp_path / "cache").digest == digest


def test_in_place_of_features_they_are_computed_again(tmp_path, marker):
    path = tmp_path / "key.safetensors"
    for content in (payload(marker), b"", struct.pack("<Q", 1 << 62) + b"{}"):
        path.write_bytes(content)
        assert features._read(path, "key", 3) is None and not path.exists()


def header(length: int, content: bytes) -> bytes:
    return struct.pack("<Q", length) + content


def listing(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return header(len(text), text)


def tensor(begin: int, end: int, *shape: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}


LIES: dict[str, bytes] = {
    "a header of 4 EiB": header(1 << 62, b"{}"),
    "a header of 10 GB": header(10**10, b"{" + bytes(100)),
    "a header that is longer than the file": header(1000, b"{}"),
    "no end of the header": header(2, b"{" + bytes(10)),
    "a tensor of 10 GB": listing(w=tensor(0, 10**10, 2_500_000_000)),
    "a tensor behind the end": listing(w=tensor(0, 400, 100)) + bytes(4),
    "a size that overflows": listing(w=tensor(0, 4, 1 << 62, 1 << 62)) + bytes(4),
    "negative places": listing(w=tensor(-8, -4, 1)) + bytes(4),
    "two tensors in one place": listing(v=tensor(0, 4, 1), w=tensor(0, 4, 1)) + bytes(4),
    "deep JSON": header(100_000, DEEP),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_safetensors_that_lie_are_refused_in_words(tmp_path, lie, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(LIES[lie])
    with pytest.raises(DataError, match="cannot be read as plain tensors"):
        read_weights(path)


def test_what_is_said_of_lies_is_not_said_of_the_truth(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(listing(w=tensor(0, 4, 1)) + bytes(4))
    assert read_weights(tmp_path / "w.safetensors")["w"].shape == (1,)
    save_file({"w": torch.ones(2)}, tmp_path / "v.safetensors")
    assert read_weights(tmp_path / "v.safetensors")["w"].shape == (2,)


def test_a_folder_of_pickles_is_no_checkpoint(tmp_path, marker):
    folder = CheckpointFolder(tmp_path / "trial", 1)
    place = folder.own / "e9-b0"
    place.mkdir(parents=True)
    for name in ("data.pkl", "tuner.pkl", "checkpoint.pt"):
        torch_payload(marker, place / name)
    with pytest.raises(DamagedCheckpointError, match="manifest.json"):
        load(Place(9, 0, (1, 0), place))
    assert folder.newest_sound() is None
