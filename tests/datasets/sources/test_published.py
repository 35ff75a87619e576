"""The published sets, from a server of our own in the published layouts, to samples."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from raybench import download as download_module
from raybench.datasets.cards import CARDS, DatasetCard
from raybench.datasets.decode import decode_image
from raybench.datasets.sources.published import open_published
from raybench.datasets.sources.published_layouts import LAYOUTS
from raybench.datasets.sources.samples import Source
from raybench.errors import ResourceError
from tests.datasets.sources.published_sets import ARCHIVES, BY_HAND, Made, write_archive
from tests.standin import standin_server

NEEDED = {"galaxy10_decals": "h5py", "rsna_pneumonia": "pydicom"}


@pytest.fixture
def server(tmp_path, monkeypatch):
    (tmp_path / "www").mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download_module, "_FIRST_WAIT_S", 0.01)
    with standin_server(tmp_path / "www") as running:
        yield running


def made_card(name: str, made: Made, address: str = "", **known: object) -> DatasetCard:
    """The real card, with the copy's counts, at the stand-in's address, its hashes unknown."""
    card = CARDS[name]
    assert card.published is not None
    facts = {"sha256": None, "md5": None, "size": None, **known}
    files = tuple(
        dataclasses.replace(file, url=address and f"{address}/{file.name}", **facts)  # type: ignore[arg-type]
        for file in card.published.files
    )
    published = dataclasses.replace(card.published, files=files)
    labels = {label for label, _, _ in made.rows.values()}
    classes = 10 if name == "galaxy10_decals" else len(labels)
    return dataclasses.replace(card, published=published, images=made.images, classes=classes)


def rows_of(source: Source) -> dict[str, tuple[str, str | None, str | None]]:
    return {s.id: (source.classes[s.label], s.split, s.group) for s in source.samples}


def assert_holds(source: Source, made: Made) -> None:
    rows = rows_of(source)
    assert list(rows) == sorted(made.rows)
    for sample_id, expected in made.rows.items():
        if expected[0]:
            assert rows[sample_id] == expected
    for sample in source.samples:
        assert decode_image(sample.read(), 4).shape == (4, 4, 3)


def test_every_published_card_is_tried_and_every_layout_used():
    published = {name: card.published for name, card in CARDS.items() if card.published}
    tried = {*ARCHIVES, *BY_HAND, "breakhis_100x", "breakhis_200x", "breakhis_400x"}
    assert set(published) == tried
    assert {source.layout for source in published.values()} == set(LAYOUTS)


@pytest.mark.parametrize("name", sorted(ARCHIVES))
def test_a_set_is_fetched_unpacked_and_listed(name, server, tmp_path):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    made = ARCHIVES[name](server.folder)
    card = made_card(name, made, server.address)
    told: list[str] = []
    assert_holds(open_published(card, tmp_path / "data" / name, told.append), made)
    assert any("recorded, not published" in text for text in told)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_a_set_behind_a_wall_says_the_steps_then_takes_what_a_person_put_there(name, tmp_path):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    with pytest.raises(ResourceError) as error:
        open_published(CARDS[name], tmp_path / name)
    text = str(error.value)
    assert f"cannot be fetched by a program: {CARDS[name].published.files[0].name}" in text
    assert str(tmp_path / name) in text and CARDS[name].source in text and "{" not in text
    made = BY_HAND[name](tmp_path / name)
    assert_holds(open_published(made_card(name, made), tmp_path / name), made)
    with pytest.raises(ResourceError, match=f"is not whole: {made.images['all']} images instead"):
        open_published(CARDS[name], tmp_path / name)


def test_one_archive_serves_every_magnification(server, tmp_path):
    made = ARCHIVES["breakhis_40x"](server.folder)
    open_published(made_card("breakhis_40x", made, server.address), tmp_path / "breakhis_40x")
    larger = made_card("breakhis_100x", made, server.address)
    source = open_published(
        dataclasses.replace(larger, images={"all": 8}), tmp_path / "breakhis_100x"
    )
    assert all("/100X/" in sample.id for sample in source.samples)
    assert server.requests == {"BreaKHis_v1.tar.gz": 1}
    assert {sample.group for sample in source.samples} == {"14-22549", "14-9133", "14-2523"}


def test_an_unpacked_folder_is_used_when_archive_and_network_have_gone(server, tmp_path):
    made = ARCHIVES["cub200"](server.folder)
    card = made_card("cub200", made, server.address)
    first = open_published(card, tmp_path / "cub200")
    (tmp_path / "cub200" / "CUB_200_2011.tgz").unlink()
    gone = made_card("cub200", made, "http://127.0.0.1:9")
    assert rows_of(open_published(gone, tmp_path / "cub200")) == rows_of(first)


def test_an_archive_put_there_by_hand_needs_no_network(server, tmp_path):
    made = ARCHIVES["stanford_dogs"](server.folder)
    card = made_card("stanford_dogs", made, "http://127.0.0.1:9")
    assert_holds(open_published(card, server.folder), made)


def test_a_file_read_as_it_is_is_checked_each_time(server, tmp_path):
    pytest.importorskip("h5py")
    made = ARCHIVES["galaxy10_decals"](server.folder)
    card = made_card("galaxy10_decals", made, server.address)
    open_published(card, tmp_path / "g")
    with (tmp_path / "g" / "Galaxy10_DECals.h5").open("ab") as file:
        file.write(b"changed")
    with pytest.raises(ResourceError, match="has changed or is another file"):
        open_published(card, tmp_path / "g")


def test_an_incomplete_folder_is_refused_with_both_numbers(server, tmp_path):
    made = ARCHIVES["cub200"](server.folder)
    card = made_card("cub200", made, server.address)
    open_published(card, tmp_path / "cub200")
    folder = tmp_path / "cub200" / "CUB_200_2011"
    (folder / "CUB_200_2011" / "images" / "002.Laysan_Albatross" / "bird 1.jpg").unlink()
    with pytest.raises(ResourceError) as error:
        open_published(card, tmp_path / "cub200")
    assert "1 test images instead of 2" in str(error.value)
    assert f"delete {folder} and run again" in str(error.value)
    (folder / "CUB_200_2011" / "images.txt").unlink()
    with pytest.raises(ResourceError, match="not laid out as published"):
        open_published(card, tmp_path / "cub200")


def test_classes_are_counted_too(server, tmp_path):
    made = ARCHIVES["ucmerced"](server.folder)
    card = dataclasses.replace(made_card("ucmerced", made, server.address), classes=21)
    with pytest.raises(ResourceError, match="2 classes instead of 21"):
        open_published(card, tmp_path / "ucmerced")


def test_a_broken_download_is_resumed(server, tmp_path):
    made = ARCHIVES["ucmerced"](server.folder)
    whole = (server.folder / "UCMerced_LandUse.zip").stat().st_size
    server.fault("UCMerced_LandUse.zip", truncate=500)
    card = made_card("ucmerced", made, server.address)
    assert_holds(open_published(card, tmp_path / "ucmerced"), made)
    assert server.sent["UCMerced_LandUse.zip"] == whole


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"sha256": "0" * 64}, "SHA-256 [0-9a-f]{64} instead of 0{64}"),
        ({"md5": "0" * 32}, "MD5 [0-9a-f]{32} instead of 0{32}"),
        ({"size": 7}, r"announces [\d,]+ bytes instead of 7"),
    ],
)
def test_another_file_than_published_is_refused_and_not_kept(known, words, server, tmp_path):
    made = ARCHIVES["ucmerced"](server.folder)
    card = made_card("ucmerced", made, server.address, **known)
    with pytest.raises(ResourceError, match=words):
        open_published(card, tmp_path / "ucmerced")
    assert [p.name for p in (tmp_path / "ucmerced").iterdir()] == ["UCMerced_LandUse.zip.lock"]


def test_a_damaged_archive_is_removed_so_that_the_next_run_fetches_it(server, tmp_path):
    made = ARCHIVES["ucmerced"](server.folder)
    server.fault("UCMerced_LandUse.zip", body=b"<html>please log in</html>")
    card = made_card("ucmerced", made, server.address)
    with pytest.raises(ResourceError, match="damaged or no archive"):
        open_published(card, tmp_path / "ucmerced")
    server.mend("UCMerced_LandUse.zip")
    assert_holds(open_published(card, tmp_path / "ucmerced"), made)


def test_an_archive_that_leads_out_of_its_folder_writes_nothing(server, tmp_path):
    made = ARCHIVES["ucmerced"](server.folder)
    write_archive(server.folder / "UCMerced_LandUse.zip", {"ok.png": b"", "../../out.png": b"x"})
    with pytest.raises(ResourceError, match="leads out of its folder"):
        open_published(made_card("ucmerced", made, server.address), tmp_path / "ucmerced")
    assert not list(tmp_path.rglob("out.png")) and not list(tmp_path.rglob("ok.png"))


def test_galaxies_are_read_one_by_one(server, tmp_path):
    pytest.importorskip("h5py")
    made = ARCHIVES["galaxy10_decals"](server.folder)
    card = made_card("galaxy10_decals", made, server.address)
    sample = open_published(card, tmp_path / "g").samples[7]
    pixels = sample.read()
    assert isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8
    assert pixels.shape == (8, 8, 3) and (pixels == 70).all() and sample.label == 2


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_missing_library_is_named_with_the_way_to_install_it(name, server, tmp_path, monkeypatch):
    pytest.importorskip(NEEDED[name])
    made = {**ARCHIVES, **BY_HAND}[name](server.folder)
    monkeypatch.setitem(sys.modules, NEEDED[name], None)
    with pytest.raises(ResourceError, match=r"pip install 'raybench\[paper\]'"):
        open_published(made_card(name, made), server.folder)
