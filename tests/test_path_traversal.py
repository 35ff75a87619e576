"""Risk "path traversal": names that become folders are plain; no image is outside its root."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench.datasets.folders import list_images
from raybench.datasets.sources import hub_columns
from raybench.datasets.sources.archives import DamagedArchive, _inside
from raybench.errors import SpecError
from raybench.fields import NAME_PATTERN
from raybench.plan import make_plan
from raybench.settings import resolve_settings
from raybench.spec import ColumnsSpec, DatasetSpec
from raybench.sweep.trial_files import checkpoint_folder
from raybench.validate import check_spec
from tests.specs import tiny_data, tiny_spec

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
EVIL = [
    "../x",
    "..",
    ".",
    "/etc/x",
    "a/b",
    "a/..\\b",
    "..\\..\\b",
    "C:\\x",
    "a\0b",
    "a\nb",
    "a\n",
    "x" * 65,
    "",
    "-rf",
    ".hidden",
    "swеep",  # a Cyrillic e
    "a\u2044b",  # the fraction slash
    "\uff0e\uff0e\uff0fx",  # full-width ../x
    "a\u202eb",
    "~root",
    "%2e%2e%2fx",
    "$HOME",
]


@pytest.mark.parametrize("name", EVIL)
def test_names_of_sweeps_and_data_sets(name):
    for change in ({"name": name}, {"datasets": [{"name": name, "path": "."}]}):
        with pytest.raises(SpecError) as error:
            check_spec(tiny_data(**change), {}, Path.cwd(), "x.yaml")
        assert "use 1 to 64 letters" in str(error.value)


@given(st.one_of(st.text(max_size=70), st.from_regex(NAME_PATTERN)))
def test_any_name_is_plain_or_refused(name):
    try:
        spec = check_spec(tiny_data(name=name), {}, Path.cwd())
    except SpecError:
        assert not PLAIN.fullmatch(name)
    else:
        assert PLAIN.fullmatch(spec.name)


@pytest.mark.parametrize(
    "name",
    ["timm:../../x", "timm:hf-hub:../x", "timm:hf-hub:a/..", "python:../x:f", "torchvision:/etc"],
)
def test_names_of_backbones(name):
    with pytest.raises(SpecError):
        tiny_spec(backbones=[{"name": name, "weights": "none"}])


def test_every_folder_of_a_sweep_lies_below_its_root(tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text("def f(n, **k): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = tiny_spec(
        name="a..b",
        backbones=[{"name": "python:odd:f", "weights": "none"}, "timm:resnet18"],
        subsets=["full", "10%", "5-shot"],
    )
    root = resolve_settings(tmp_path / "home", {}).checkpoint_root
    for pair in make_plan(spec).pairs:
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,160}", pair.id) and not pair.id.startswith(".")
        folder = (root / checkpoint_folder(spec.name, (pair.id, "search", 0))).resolve()
        assert folder.is_relative_to(root.resolve()) and len(folder.relative_to(root).parts) == 3


def test_places_of_the_users_own_may_lead_anywhere(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    found = resolve_settings("../home", {"RAYBENCH_CACHE": "../../cache"})
    assert found.home == tmp_path / "home" and found.cache_dir == tmp_path.parent / "cache"


@pytest.fixture
def secret(tmp_path, image_folder) -> Path:
    """A picture beside the data set, where nobody has listed it."""
    return image_folder(root=tmp_path / "elsewhere", per_class=1) / "cat" / "000.png"


def test_links_out_of_a_folder_are_refused_by_name(image_folder, secret):
    folder = image_folder()
    for name, target in (("out.png", secret), ("gone.png", "nowhere.png"), ("dir", secret.parent)):
        (folder / "cat" / name).symlink_to(target)
    (folder / "cat" / "absolute.png").symlink_to("/etc/passwd")
    (mistake,) = list_images(DatasetSpec(name="pets", path=str(folder))).mistakes
    for name in ("absolute.png", "dir", "gone.png", "out.png"):
        assert f"'cat/{name}'" in mistake
    assert "lead out of the folder; copy the files in" in mistake


def test_a_class_or_split_that_is_a_link_out_is_refused(image_folder, secret):
    folder = image_folder()
    (folder / "bird").symlink_to(secret.parent, target_is_directory=True)
    (mistake,) = list_images(DatasetSpec(name="pets", path=str(folder))).mistakes
    assert "link 'bird' is broken or leads out" in mistake


def test_links_inside_and_loops_are_fine_and_hidden_files_nobodys(image_folder):
    folder = image_folder()
    (folder / "cat" / "again.png").symlink_to("000.png")
    (folder / "cat" / "loop").symlink_to(folder / "cat", target_is_directory=True)
    (folder / "dog" / "up").symlink_to("..", target_is_directory=True)
    (folder / "cat" / ".hidden.png").write_bytes(b"")
    (folder / ".git" / "x").mkdir(parents=True)
    listing = list_images(DatasetSpec(name="pets", path=str(folder)))
    assert listing.mistakes == [] and "cat/again.png" in {image.id for image in listing.images}
    assert not [i.id for i in listing.images if "hidden" in i.id or i.id.count("loop") > 1]


@pytest.mark.parametrize(
    "name",
    ["../elsewhere/cat/000.png", "{secret}", "cat/../../elsewhere/cat/000", "link.png", "link"],
)
def test_rows_of_a_table_that_lead_out_are_refused(tmp_path, image_folder, secret, name):
    folder = image_folder()
    (folder / "link.png").symlink_to(secret)
    rows = "".join(f"{c}/{n:03d}.png,{c}\n" for c in ("cat", "dog") for n in range(10))
    table = folder / "table.csv"
    table.write_text(f"file_name,label\n{rows}{name.format(secret=secret)},cat\n")
    spec = DatasetSpec(name="pets", path=str(table), columns=ColumnsSpec())
    (mistake,) = list_images(spec).mistakes
    assert "leads out of" in mistake and "give `root:` or copy it in" in mistake


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "a/..\\b", "\ud800"])
def test_odd_rows_of_a_table_are_words(tmp_path, image_folder, name):
    folder = image_folder()
    content = f"file_name,label\ncat/000.png,cat\n{name},cat\n"
    (folder / "table.csv").write_bytes(content.encode(errors="surrogatepass"))
    spec = DatasetSpec(name="pets", path=str(folder / "table.csv"), columns=ColumnsSpec())
    assert list_images(spec).mistakes


def test_a_hubs_table_cannot_name_files_of_this_machine(tmp_path, secret, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "hub" / "blobs").mkdir(parents=True)
    (tmp_path / "hub" / "blobs" / "x.png").write_bytes(b"fetched")
    (tmp_path / "hub" / "link.png").symlink_to(secret)
    rows = [str(tmp_path / "hub" / "blobs" / "x.png"), str(secret), "/etc/passwd", "conftest.py"]
    rows += [str(tmp_path / "hub" / ".." / "elsewhere" / "cat" / "000.png")]
    rows += [str(tmp_path / "hub" / "link.png")]
    table = [{"image": {"bytes": None, "path": path}} for path in rows]
    assert hub_columns._read(table, "image", 0) == b"fetched"
    for row in range(1, len(rows)):
        with pytest.raises(OSError, match="did not come from the hub"):
            hub_columns._read(table, "image", row)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\..\\x", "C:/x", "", "."])
def test_members_of_an_archive(name):
    with pytest.raises(DamagedArchive, match="leads out of its folder"):
        _inside(Path("a.zip"), name)
