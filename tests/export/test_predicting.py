"""``raybench export`` and ``raybench predict``, as they are typed."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import raybench
from raybench.cli import main
from raybench.export import predicting
from tests.export.conftest import CLASSES, Finished

Told = tuple[int, str, str]
Typed = Callable[..., Told]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    def run(*words: object) -> Told:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_export_then_predict(typed: Typed, fine_tuned: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    code, out, err = typed("export", "tuned", "test_vit", folder, "--home", fine_tuned.home)
    assert (code, out) == (0, f"{folder}\n") and "exporting test_vit-pets-full" in err
    code, out, err = typed("predict", folder, *fine_tuned.tested("test_vit"), "--device", "cpu")
    assert (code, err) == (0, "")
    expected = fine_tuned.predictions("test_vit")
    found = rows(out)
    assert list(found[0]) == ["path", "label", "probability", *(f"p({c})" for c in CLASSES)]
    assert [row["path"] for row in found] == [str(p) for p in fine_tuned.tested("test_vit")]
    values = np.array([[float(row[f"p({c})"]) for c in CLASSES] for row in found])
    np.testing.assert_allclose(values, expected.probabilities, atol=1e-5)
    best = expected.probabilities.argmax(axis=1)
    assert [row["label"] for row in found] == [CLASSES[c] for c in best]
    assert [float(row["probability"]) for row in found] == values.max(axis=1).tolist()


def test_folders_patterns_and_files_without_repeats(
    typed: Typed, handed_over: Path, fine_tuned: Finished, tmp_path: Path
) -> None:
    images = fine_tuned.images
    file = tmp_path / "out" / "labels.csv"
    given = (images / "cat", f"{images}/**/0[12].png", images / "dog" / "05.png")
    code, out, err = typed("predict", handed_over, *given, "--csv", file, "--device", "cpu")
    assert (code, out) == (0, "") and f"wrote {file}: 15 images" in err
    names = [Path(row["path"]).relative_to(images).as_posix() for row in rows(file.read_text())]
    cats = [f"cat/{n:02d}.png" for n in range(10)]
    others = [f"{name}/{n}.png" for name in CLASSES[1:] for n in ("01", "02")]
    assert names == [*cats, *others, "dog/05.png"]


def test_the_likeliest_labels(typed: Typed, handed_over: Path, fine_tuned: Finished) -> None:
    path = fine_tuned.images / "cat" / "00.png"
    _, out, _ = typed("predict", handed_over, path, "--top-k", 2, "--device", "cpu")
    (row,) = rows(out)
    assert list(row) == ["path", "label", "probability", "label_2", "probability_2"]
    values = raybench.load(handed_over, device="cpu").predict(path)[0]
    first, second = np.argsort(-values)[:2]
    assert (row["label"], row["label_2"]) == (CLASSES[first], CLASSES[second])
    assert float(row["probability_2"]) == pytest.approx(values[second], rel=1e-6)
    code, _, err = typed("predict", handed_over, path, "--top-k", 4, "--device", "cpu")
    assert code == 2 and "knows 3 classes" in err


def test_unreadable_images_are_named_and_the_rest_is_done(
    typed: Typed, handed_over: Path, fine_tuned: Finished, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(fine_tuned.images / "cat", tmp_path / "cats"))
    (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:60])
    (folder / "04.png").write_text("words")
    (folder / "astray.png").symlink_to(handed_over / "README.md")
    code, out, err = typed("predict", handed_over, folder, "--device", "cpu")
    assert code == 1 and len(rows(out)) == 8
    assert f"'{folder / '04.png'}' is no image that Pillow knows" in err
    assert "03.png' is cut short" in err and "astray.png" in err
    assert "left out: 3 that could not be read" in err


def test_nothing_that_can_be_read(typed: Typed, handed_over: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("words")
    file = tmp_path / "labels.csv"
    code, _, err = typed("predict", handed_over, tmp_path / "a.png", "--csv", file)
    assert code == 2 and "none of 1 images could be read" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]


def test_names_of_nothing_are_all_told_at_once(
    typed: Typed, handed_over: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    given = (tmp_path / "empty", tmp_path / "none.png", f"{tmp_path}/*.jpg")
    code, out, err = typed("predict", handed_over, *given)
    assert (code, out) == (2, "")
    for words in (
        "no image below this folder",
        "no such file or folder",
        "no file has such a name",
    ):
        assert words in err


def test_a_file_with_magic_in_its_name_is_that_file(tmp_path: Path) -> None:
    odd = tmp_path / "a[1].png"
    odd.touch()
    assert predicting._images_of(str(odd), None) == [odd]  # type: ignore[arg-type]


def test_batches_bound_what_is_in_memory(
    handed_over: Path, fine_tuned: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(predicting, "BATCH", 4)

    class Counting:
        def __init__(self) -> None:
            self._inner = raybench.load(handed_over, device="cpu")
            self.classes, self.read = self._inner.classes, self._inner.read

        def probabilities(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
            seen.append(len(pixels))
            return self._inner.probabilities(pixels)

    run = predicting.Predicting(Counting(), lambda sentence: None)  # type: ignore[arg-type]
    lines = run.lines(sorted((fine_tuned.images / "cat").iterdir()))
    next(lines)
    assert seen == [4]  # the header comes with the first batch, not after the last
    assert len(list(lines)) == 10 and seen == [4, 4, 2] and run.done == 10


def test_a_bundle_holds_no_weights(typed: Typed, fine_tuned: Finished, tmp_path: Path) -> None:
    code, _, err = typed("export", "sweep.zip", tmp_path / "m", "--home", fine_tuned.home)
    assert code == 2 and "a bundle holds what a sweep has found, not its weights" in err


def test_a_file_is_not_called_like_stdout(typed: Typed, tmp_path: Path) -> None:
    code, _, err = typed("predict", tmp_path, tmp_path, "--csv", "-")
    assert code == 2 and "without --csv the lines go to stdout" in err and not Path("-").exists()


def test_a_folder_that_is_none(typed: Typed, tmp_path: Path) -> None:
    code, _, err = typed("predict", tmp_path, tmp_path)
    assert code == 2 and "give a folder that 'raybench export' wrote" in err
