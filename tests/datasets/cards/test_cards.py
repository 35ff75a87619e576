"""Cards against the paper's table, their own rules, and the page that shows them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from raybench.datasets.cards import CARDS, dataset_names, nearest_names
from raybench.datasets.cards.card import PublishedFile
from raybench.datasets.cards.paper import PAPER_CARDS
from raybench.datasets.cards.table import card_origin, replace_table
from raybench.datasets.sources.published_layouts import LAYOUTS

PAGE = Path(__file__).parents[3] / "docs" / "datasets.md"

# README of pranavphoenix/Backbones (arXiv 2406.05612): domain, train, test, classes.
PAPER = {
    "cifar10": ("natural", 50000, 10000, 10),
    "cifar100": ("natural", 50000, 10000, 100),
    "tiny_imagenet": ("natural", 100000, 10000, 200),
    "stanford_dogs": ("natural", 12000, 8580, 120),
    "flowers102": ("natural", 2040, 6149, 102),
    "cub200": ("natural", 5994, 5794, 200),
    "stanford_cars": ("natural", 8144, 8041, 196),
    "food101": ("natural", 75750, 25250, 101),
    "dtd": ("texture", 1880, 1880, 47),
    "ucmerced": ("remote sensing", 1680, 420, 21),
    "eurosat": ("remote sensing", 18900, 8100, 10),
    "plantvillage": ("plant", 44343, 11105, 39),
    "plantclef": ("plant", 10455, 1135, 20),
    "galaxy10_decals": ("astronomy", 15962, 1774, 10),
    "breakhis_40x": ("medical", 1398, 606, 2),
    "breakhis_100x": ("medical", 1458, 632, 2),
    "breakhis_200x": ("medical", 1411, 611, 2),
    "breakhis_400x": ("medical", 1276, 553, 2),
    "rsna_pneumonia": ("medical", 24181, 6046, 2),
}
# Images that the paper's table has more than the card, and what of the note says why.
DIFFERENCES = {
    "dtd": (-1880, "leaves the official val split out"),
    "breakhis_40x": (9, "its table has 9 images more than are published"),
    "breakhis_100x": (9, "its table has 9 images more than are published"),
    "breakhis_200x": (9, "its table has 9 images more than are published"),
    "breakhis_400x": (9, "its table has 9 images more than are published"),
    "rsna_pneumonia": (3543, "images of several boxes count several times"),
}


def test_the_paper_is_whole():
    assert [card.name for card in PAPER_CARDS] == [*PAPER, "neu_cls"]
    assert CARDS["neu_cls"].domain == "surface defects" and CARDS["neu_cls"].classes == 6


@pytest.mark.parametrize("name", PAPER)
def test_counts_are_the_papers_or_the_note_says_why_not(name):
    card = CARDS[name]
    domain, train, test, classes = PAPER[name]
    more, why = DIFFERENCES.get(name, (0, ""))
    assert (card.domain, card.classes) == (domain, classes)
    assert train + test - card.total == more and why in card.notes
    if "test" in card.images:
        assert card.images["test"] == test
        assert more or sum(card.images[key] for key in card.images if key != "test") == train
    else:
        assert "no official split: 60/20/20 here" in card.notes


def published_files() -> list[tuple[str, PublishedFile]]:
    cards = [card for card in CARDS.values() if card.published]
    return [(card.name, file) for card in cards if card.published for file in card.published.files]


@pytest.mark.parametrize(("name", "file"), published_files())
def test_published_files_are_well_formed(name, file):
    source = CARDS[name].published
    assert source is not None and source.layout in LAYOUTS
    assert bool(file.url) != bool(source.by_hand)
    assert file.place and not Path(file.name).is_absolute()
    assert not file.url or re.fullmatch(r"https?://[\w.-]+/[\w./-]+", file.url)
    assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    assert file.md5 is None or re.fullmatch(r"[0-9a-f]{32}", file.md5)
    assert "/main/" not in file.url and "/master/" not in file.url
    for place in (source.options.get("images"), source.options.get("lists")):
        assert place is None or any(place.startswith(f.place) for f in source.files)


def test_an_archive_says_where_it_is_unpacked():
    places = {name: PublishedFile(name).place for name in ("a.b.tar.gz", "c.tgz", "d.zip", "e.tar")}
    assert list(places.values()) == ["a.b", "c", "d", "e"]
    with pytest.raises(ValueError, match="'x.rar' is no archive"):
        PublishedFile("x.rar").place  # noqa: B018


def test_each_card_has_one_origin():
    for card in CARDS.values():
        assert card.torchvision is None or card.published is None
        assert set(card.images) in ({"all"}, {"train", "test"}, {"train", "val", "test"})
        assert min(card.images.values()) >= card.classes
        assert card.source and card.licence and card.citation
    by_hand = {card.name for card in PAPER_CARDS if card_origin(card) == "by hand"}
    assert by_hand == {"stanford_cars", "rsna_pneumonia", "neu_cls"}
    assert [card.name for card in CARDS.values() if card_origin(card) == "bundled"] == ["digits"]


def test_names_are_found_when_nearly_right():
    assert len(dataset_names()) == len(CARDS) and dataset_names() == tuple(sorted(CARDS))
    assert nearest_names("CUB-200")[0] == "cub200"
    assert "breakhis_40x" in nearest_names("breakhis")


def test_the_page_shows_todays_cards():
    text = PAGE.read_text(encoding="utf-8")
    remedy = "run: python -m raybench.datasets.cards.table docs/datasets.md"
    assert replace_table(text) == text, remedy
    assert all(f"| `{name}` |" in text for name in CARDS)


def test_the_command_on_the_page_renews_the_table(tmp_path):
    page = tmp_path / "datasets.md"
    text = PAGE.read_text(encoding="utf-8")
    page.write_text(re.sub(r"\| `cub200`.*\n", "", text), encoding="utf-8")
    command = [sys.executable, "-m", "raybench.datasets.cards.table", str(page)]
    subprocess.run(command, check=True, capture_output=True, cwd=PAGE.parents[1])
    assert page.read_text(encoding="utf-8") == text


def test_the_cards_need_nothing_heavy():
    script = (
        "import sys, raybench.datasets.cards; "
        "heavy = {'torch', 'PIL', 'h5py', 'scipy', 'pandas', 'sklearn'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=PAGE.parents[1])
