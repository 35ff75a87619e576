"""What is handed over predicts what the ledger holds of the same images, whoever loads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import raybench
from tests.export.conftest import Finished, make_images


def by_timm(folder: Path, paths: list[Path]) -> np.ndarray:
    """As the card tells strangers to do it."""
    import timm

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**config, is_training=False)
    images = torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])
    with torch.no_grad():
        return np.asarray(model(images).softmax(dim=1))


def test_a_fine_tuned_model_gives_the_same_bits(fine_tuned: Finished, handed_over: Path) -> None:
    expected = fine_tuned.predictions("test_vit")
    classifier = raybench.load(handed_over, device="cpu")
    assert classifier.classes == expected.classes
    found = classifier.predict(fine_tuned.tested("test_vit"))
    assert found.dtype == np.float32 and np.array_equal(found, expected.probabilities)


def test_timm_alone_gives_the_same(fine_tuned: Finished, handed_over: Path) -> None:
    found = by_timm(handed_over, fine_tuned.tested("test_vit"))
    expected = fine_tuned.predictions("test_vit").probabilities
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_torchvisions_model_gives_the_same(fine_tuned: Finished, tmp_path: Path) -> None:
    folder = fine_tuned.sweep.export(tmp_path / "model", "shufflenet")
    assert not (folder / "config.json").exists()
    found = raybench.load(folder, device="cpu").predict(fine_tuned.tested("shufflenet"))
    assert np.array_equal(found, fine_tuned.predictions("shufflenet").probabilities)


def test_a_hubs_model_needs_the_hub_no_more(
    fine_tuned: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fine_tuned.sweep.export(tmp_path / "model", "tiny")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    expected = fine_tuned.predictions("tiny").probabilities
    classifier = raybench.load(folder, device="cpu")
    assert classifier.mean == (0.4, 0.5, 0.6)
    assert np.array_equal(classifier.predict(fine_tuned.tested("tiny")), expected)
    np.testing.assert_allclose(by_timm(folder, fine_tuned.tested("tiny")), expected, atol=1e-5)


def test_a_probe_in_the_last_layer(probed: Finished, tmp_path: Path) -> None:
    """Fitted in float64, folded into float32; here with ``crop: random``, tested at the centre."""
    folder = probed.sweep.export(tmp_path / "model", "test_resnet")
    expected = probed.predictions("test_resnet").probabilities
    found = raybench.load(folder, device="cpu").predict(probed.tested("test_resnet"))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # Elongated pictures are cut before they are resized here, and after it there.
    np.testing.assert_allclose(by_timm(folder, probed.tested("test_resnet")), expected, atol=2e-2)


def test_a_probe_beside_a_function_of_the_users(probed: Finished, tmp_path: Path) -> None:
    """The frozen backbone is random: it has to come from the trial's own seed."""
    folder = probed.sweep.export(tmp_path / "model", "activated")
    assert not (folder / "config.json").exists()
    classifier = raybench.load(folder, device="cpu", trust_code=True)
    found = classifier.predict(probed.tested("activated"))
    np.testing.assert_allclose(found, probed.predictions("activated").probabilities, atol=1e-5)


def test_a_model_of_another_number_format(tmp_path: Path) -> None:
    """As of a GPU: bfloat16 on the kind of device that it was trained on."""
    finished = Finished(
        make_images(tmp_path / "images").parent,
        name="short",
        backbones=[{"name": "timm:test_resnet", "weights": "none"}],
        recipe={"image_size": 32, "batch_size": 8, "epochs": 1, "precision": "bf16"},
        final={"seeds": [0]},
    )
    folder = finished.sweep.export(tmp_path / "model")
    found = raybench.load(folder, device="cpu").predict(finished.tested("test_resnet"))
    assert np.array_equal(found, finished.predictions("test_resnet").probabilities)
    assert "trained and tested in bf16 on a cpu device" in (folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["test_resnet", "activated"])
def test_onnx_gives_the_same_for_any_number(probed: Finished, tmp_path: Path, part: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    said: list[str] = []
    folder = probed.sweep.export(tmp_path / "model", part, onnx=True, tell=said.append)
    assert "logits within" in said[-1]
    classifier = raybench.load(folder, device="cpu", trust_code=True)
    images = torch.stack([classifier.preprocess(path) for path in probed.tested(part)]).numpy()
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    assert '"cat", "dog"' in session.get_modelmeta().custom_metadata_map["labels"]
    for count in (1, len(images)):
        (logits,) = session.run(None, {"pixel_values": images[:count]})
        found = np.asarray(torch.from_numpy(logits).softmax(dim=1))
        expected = probed.predictions(part).probabilities[:count]
        np.testing.assert_allclose(found, expected, atol=1e-4)
