"""A folder is opened as it was written, or refused in words; nothing in it is run or unpickled."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import raybench
from raybench.errors import DataError
from tests.export.conftest import Finished


@pytest.fixture
def copy(handed_over: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(handed_over, tmp_path / "copy"))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "raybench.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(folder: Path, words: str, **options: Any) -> None:
    with pytest.raises(DataError, match=words) as caught:
        raybench.load(folder, device="cpu", **options)
    assert len(caught.value.mistakes) == 1


def no_settings(folder: Path) -> None:
    (folder / "raybench.json").unlink()


def no_json(folder: Path) -> None:
    (folder / "raybench.json").write_text("{")


def of_the_future(folder: Path) -> None:
    edit(folder, format=2)


def no_classes(folder: Path) -> None:
    edit(folder, classes=[])


def other_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def another_model(folder: Path) -> None:
    edit(folder, backbone={"name": "timm:test_resnet", "weights": "none"})


def more_classes(folder: Path) -> None:
    edit(folder, classes=["a", "b", "c", "d"])


def no_head(folder: Path) -> None:
    edit(folder, kind="head")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_settings, "holds no raybench.json that can be read .No such file"),
        (no_json, "damaged or of another version"),
        (of_the_future, "of another version of raybench: format"),
        (no_classes, "classes"),
        (other_weights, "is not the file that was exported"),
        (no_weights, "model.safetensors' cannot be read: No such file"),
        (another_model, "do not fit 'timm:test_resnet'"),
        (more_classes, "do not fit"),
        (no_head, "lacks weight, bias, mean, std"),
    ],
)
def test_what_was_changed_is_refused(
    copy: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(copy)
    refused(copy, words)


def test_a_newer_ones_additions_are_passed_over(copy: Path) -> None:
    edit(copy, invented_later=1)
    assert raybench.load(copy, device="cpu").classes


def test_a_pickle_in_the_weights_place_is_not_read(copy: Path) -> None:
    """Even where whoever made it has put its hash into the settings."""
    from raybench.backbones.weights import file_sha256

    path = copy / "model.safetensors"
    path.write_bytes(pickle.dumps({"weight": 1}))
    edit(copy, weights_sha256=file_sha256(path))
    refused(copy, "is no safetensors file")


def test_loading_uses_no_pickle(handed_over: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    assert raybench.load(handed_over, device="cpu").classes


def test_code_is_run_only_when_it_is_trusted(
    probed: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raybench.backbones import build

    folder = probed.sweep.export(tmp_path / "model", "activated")
    monkeypatch.setattr(build, "_import_function", lambda name: pytest.fail("imported"))
    refused(folder, r"tests\.trial\.models:activated.*trust_code=True.*--trust-code")


def test_code_that_is_not_here(probed: Finished, tmp_path: Path) -> None:
    folder = probed.sweep.export(tmp_path / "model", "activated")
    edit(folder, backbone={"name": "python:no_such_module:net", "weights": "none"})
    refused(folder, "cannot be imported", trust_code=True)


def test_one_and_several_of_every_kind(handed_over: Path, fine_tuned: Finished) -> None:
    classifier = raybench.load(handed_over, device="cpu")
    path = fine_tuned.tested("test_vit")[0]
    image = Image.open(path)
    pixels = np.asarray(image)
    expected = classifier.predict([path])
    assert expected.shape == (1, 3)
    for one in (path, str(path), image, pixels, pixels[None], [path], iter([image])):
        assert np.array_equal(classifier.predict(one), expected)
    assert classifier.predict([path, image, pixels]).shape == (3, 3)
    assert classifier.predict([]).shape == (0, 3)


def test_more_than_one_batch(handed_over: Path) -> None:
    classifier = raybench.load(handed_over, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (70, 9, 11, 3), np.uint8)
    found = classifier.predict(pixels)
    assert found.shape == (70, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found[66:], classifier.predict(pixels[66:]), atol=1e-6)


def test_model_and_preprocess_are_the_parts_of_predict(
    handed_over: Path, fine_tuned: Finished
) -> None:
    classifier = raybench.load(handed_over, device="cpu")
    path = fine_tuned.tested("test_vit")[0]
    assert not classifier.model.training
    images = classifier.preprocess(path)[None]
    assert images.shape == (1, 3, 32, 32) and images.dtype == torch.float32
    with torch.no_grad():
        found = classifier.model(images).softmax(dim=1).numpy()
    assert np.array_equal(found, classifier.predict(path))


def test_a_camera_held_sideways(handed_over: Path, tmp_path: Path) -> None:
    """The rotation in EXIF counts, from a file and from Pillow's image of it."""
    classifier = raybench.load(handed_over, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter, clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    for turned in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        assert np.array_equal(classifier.predict(turned), classifier.predict(upright))


def test_what_is_no_picture(handed_over: Path, tmp_path: Path) -> None:
    classifier = raybench.load(handed_over, device="cpu")
    (tmp_path / "a.png").write_text("words")
    with pytest.raises(ValueError, match="no image that Pillow knows"):
        classifier.predict(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError):
        classifier.predict(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("trained_on", "precision", "here"),
    [("cpu", "bf16", "bf16"), ("cuda", "bf16", "fp32"), ("cuda", "fp16", "fp32")],
)
def test_the_number_format_is_the_trials_on_its_kind_of_device(
    copy: Path, trained_on: str, precision: str, here: str
) -> None:
    edit(copy, device=trained_on, precision=precision)
    classifier = raybench.load(copy, device="cpu")
    assert classifier.precision.name == here
    assert classifier.predict(np.zeros((8, 8, 3), np.uint8)).dtype == np.float32
