"""``raybench check``: what DATA may be, exit codes, streams, where the report goes."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from raybench.auditing import find_targets
from raybench.cli import main
from raybench.errors import DataError
from raybench.seeding import derive_seed
from tests.datasets.audit.pictures import resaved, scene
from tests.specs import tiny_data, write_sweep


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder: two classes of ten distinct pictures."""
    for name, first in (("cat", 100), ("dog", 200)):
        place = tmp_path / "my scans" / name
        place.mkdir(parents=True)
        for number in range(10):
            scene(first + number).save(place / f"{number}.png")
    return tmp_path / "my scans"


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["check", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_sound_folder_ends_with_0(capsys, folder, tmp_path):
    code, out, err = told(capsys, folder, "--home", tmp_path / "home")
    assert code == 0 and out.endswith("Nothing wrong in 20 images.\n")
    files = sorted((tmp_path / "home" / "reports").iterdir())
    assert [re.sub("[0-9a-f]{8}", "<digest>", file.name) for file in files] == [
        "check-my_scans-<digest>.html",
        "check-my_scans-<digest>.json",
    ]
    assert f"wrote {files[0]}" in err


def test_folders_of_one_name_keep_a_report_each(capsys, folder, tmp_path, monkeypatch):
    twin = shutil.copytree(folder, tmp_path / "elsewhere" / "my scans")
    monkeypatch.chdir(tmp_path)
    for path in (folder, "my scans", f"{folder}/", twin, "digits"):
        assert told(capsys, path, "--home", tmp_path / "home")[0] == 0
    pages = [p.name for p in (tmp_path / "home" / "reports").glob("*.html")]
    assert len(pages) == 3 and "check-digits.html" in pages


def test_what_cannot_be_used_and_what_cannot_be_read_come_in_one_go(capsys, folder, tmp_path):
    (tmp_path / "outside.png").touch()
    (folder / "cat" / "out.png").symlink_to(tmp_path / "outside.png")
    (folder / "cat" / "broken.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(folder / "dog" / "pipe.jpg")
    (folder / "dog" / "IMG_1.HEIC").touch()
    (folder / "dog" / "empty.jpg").touch()
    whole = (folder / "cat" / "0.png").read_bytes()
    (folder / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    code, out, _ = told(capsys, folder, "--home", tmp_path / "h")
    words = " ".join(out.split())
    assert code == 2 and "3 mistakes and 1 warning in 22 images." in words
    assert "links 'cat/broken.png', 'cat/out.png' are broken or lead out of the folder" in words
    assert "'dog/pipe.jpg' is no file but a pipe or device; remove it" in words
    assert "picture 'dog/IMG_1.HEIC' is of a kind that is not read; convert it to" in words
    assert "cat/cut.png: is cut short" in words and "dog/empty.jpg: is empty (0 bytes)" in words
    (page,) = (tmp_path / "h" / "reports").glob("*.html")
    assert "pipe.jpg" in page.read_text() and "is cut short" in page.read_text()
    code, out, _ = told(capsys, folder, "--json", "--home", tmp_path / "h")
    report = json.loads(out)
    assert (code, report["mistakes"], report["clean"]) == (2, 3, False)


def test_a_table_with_bad_rows_is_audited_without_them(capsys, folder, tmp_path):
    table = tmp_path / "table.csv"
    rows = [f"my scans/{c}/{n}.png,{c}" for c in ("cat", "dog") for n in range(10)]
    rows += ["gone.png,cat", "my scans/cat/extra.png,", rows[0], ",dog"]
    scene(1).save(folder / "cat" / "extra.png")
    (folder / "dog" / "9.png").write_bytes(b"")
    table.write_text("\n".join(["file_name,label", *rows]))
    code, out, _ = told(capsys, table, "--home", tmp_path / "h")
    words = " ".join(out.split())
    assert code == 2 and "4 mistakes and 1 warning in 20 images." in words
    assert "column 'label' is empty in row 23" in words
    assert "column 'file_name' is empty in row 25" in words
    assert "image 'my scans/cat/0.png' stands in more than one row" in words
    assert "1 image is not in" in words and "my scans/dog/9.png: is empty" in words


def test_findings_end_with_1_and_json_goes_to_stdout(capsys, folder, tmp_path):
    for number in range(10):
        resaved(scene(100 + number)).save(folder / "cat" / f"{number}-again.png")
    (folder / "dog" / "empty.jpg").write_bytes(b"")
    code, out, err = told(capsys, folder, "--json", "--home", tmp_path / "home")
    report = json.loads(out)
    assert code == 1 and (report["clean"], report["leaks"]) == (False, 1)
    (dataset,) = report["datasets"]
    assert dataset["unreadable"] == {"dog/empty.jpg": "is empty (0 bytes)"}
    kinds = {f["kind"]: f for f in dataset["findings"]}
    assert kinds["near_across_splits"]["severity"] == "leak" and "unreadable" in kinds
    (saved,) = (tmp_path / "home" / "reports").glob("check-my_scans-*.json")
    assert json.loads(saved.read_text()) == report and "check: my_scans" in err


def test_html_may_go_elsewhere(capsys, folder, tmp_path):
    scene(100).save(folder / "cat" / "copy \"<b>'.bmp")
    scene(100).save(folder / "dog" / "copy.bmp")
    code, _, _ = told(capsys, folder, "--home", tmp_path / "h", "--html", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert code == 1 and "data:image/jpeg;base64," in page and "<b>'" not in page
    assert not list((tmp_path / "h" / "reports").glob("*.html"))


def test_mistakes_come_all_at_once_with_2_before_anything_is_read(capsys, folder, tmp_path):
    (tmp_path / "hollow").mkdir()
    code, out, err = told(
        capsys, folder, "digist", tmp_path / "none", tmp_path / "hollow", "--home", tmp_path / "h"
    )
    assert (code, out) == (2, "") and not (tmp_path / "h").exists()
    lines = err.splitlines()
    assert len(lines) == 3 and all(line.startswith("raybench: ") for line in lines)
    assert "'digist' is no folder, table, sweep file or data set; did you mean 'digits'" in err
    assert "hollow" in err


def test_a_sweep_file_means_its_data_sets_seed_and_size(folder, tmp_path):
    file = write_sweep(
        tmp_path / "tiny.yaml", tiny_data(datasets=["digits", {"path": str(folder)}], seed=7)
    )
    name, targets = find_targets([str(file)], None)
    assert name == "tiny" and [t.name for t in targets] == ["digits", "my_scans"]
    assert {t.split_seed for t in targets} == {derive_seed(7, "split")}
    assert {t.image_size for t in targets} == {32}


def test_what_data_may_be(folder, tmp_path, monkeypatch):
    table = tmp_path / "table.csv"
    rows = "".join(f"my scans/{c}/{n}.png,{c}\n" for c in ("cat", "dog") for n in range(10))
    table.write_text("file_name,label\n" + rows)
    _, targets = find_targets([str(folder), str(table), "digits", "quickstart"], 48)
    assert [t.name for t in targets][:3] == ["my_scans", "table", "digits"]
    assert targets[0].spec.path == str(folder) and targets[1].spec.path == str(table)
    assert targets[2].spec.path is None and targets[2].image_size == 48


def test_the_same_twice_is_audited_once_and_namesakes_are_told_apart(folder, tmp_path):
    twin = tmp_path / "elsewhere" / "my scans"
    assert len(find_targets([str(folder), f"{folder}/"], None)[1]) == 1
    for name in ("cat", "dog"):
        (twin / name).mkdir(parents=True)
        for number in range(3):
            scene(number).save(twin / name / f"{number}.png")
    names = [target.name for target in find_targets([str(folder), str(twin)], None)[1]]
    assert names == ["my_scans", "my_scans-2"]


def test_an_unknown_word_names_what_is_close():
    with pytest.raises(DataError, match="did you mean 'digits'"):
        find_targets(["digist"], None)


def test_overlap_between_data_sets_is_found(capsys, folder, tmp_path):
    other = tmp_path / "other"
    for name, first in (("cat", 100), ("fox", 300)):
        (other / name).mkdir(parents=True)
        for number in range(10):
            scene(first + number).save(other / name / f"{number}.png")
    code, out, _ = told(capsys, folder, other, "--home", tmp_path / "h")
    assert code == 1 and "'my_scans' and 'other' share 10 pictures" in " ".join(out.split())
    assert len(list((tmp_path / "h" / "reports").glob("check-my_scans+other-*.html"))) == 1


def test_sources_get_names_that_files_can_have():
    _, (target,) = find_targets(["hf:org/some-set@main"], None)
    assert (target.name, target.spec.source) == ("some-set", "hf:org/some-set@main")
