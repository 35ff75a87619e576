"""The card says what a stranger has to know, in a form that the hub reads."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from raybench.analysis import numbers
from raybench.analysis.results import pair_result
from raybench.analysis.uncertainty import Uncertainty
from raybench.datasets.cache.fit import short_side
from raybench.export import card_results, preprocessing
from raybench.export.card_facts import plain
from raybench.export.choice import choose
from raybench.export.licence import origin_of
from raybench.export.settings import ModelSettings, read_settings
from raybench.parser import build_parser
from raybench.spec import BackboneSpec
from tests.export.conftest import Finished

INTERVAL = (0.7, 0.9)


@pytest.fixture
def card(handed_over: Path) -> str:
    return (handed_over / "README.md").read_text(encoding="utf-8")


def front_matter(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(head)
    return found


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_its_head_is_the_hubs(card: str) -> None:
    assert front_matter(card) == {
        "license": "other",
        "license_name": "not-stated",
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "raybench", "timm"],
        "metrics": ["accuracy"],
    }


def test_its_sections(card: str) -> None:
    titles = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        "Use",
        "Results",
        "Compared with",
        "Data",
        "How it was made",
        "Limits",
        "Licence",
        "Where it comes from",
    ]
    assert "\n\n\n" not in card


def test_its_numbers_are_the_ledgers(card: str, fine_tuned: Finished) -> None:
    row = next(line for line in section(card, "Results").splitlines() if "| accuracy" in line)
    trial, other = fine_tuned.pair("test_vit").final_trials("tuned")
    assert trial.end is not None and other.end is not None
    this, next_seed = (end.test["test/accuracy"] for end in (trial.end, other.end))
    assert f"| {100 * trial.end.best['val/accuracy']:.1f}% | {100 * this:.1f}% |" in row
    assert f"| {50 * (this + next_seed):.1f}%" in row
    for metric in ("macro F1", "NLL", "ECE"):
        assert f"\n| {metric} |" in section(card, "Results")


def test_the_line_that_is_copied_has_the_widest_interval(fine_tuned: Finished) -> None:
    chosen = choose(fine_tuned.sweep.analysis(), fine_tuned.sweep.settings, "test_vit")
    result = pair_result(chosen.pair, chosen.snapshot.metric)
    final = replace(result.final, by_run={(0, 0): 0.84, (1, 0): 0.86})
    sure = Uncertainty(0.85, (0.819, 0.881), (0.82, 0.88), (0.803, 0.897), 2, 100)
    line = card_results.summary(chosen, replace(result, final=final), sure)
    assert "85.0% ± 4.7, the mean of 2 seeds with the 95% interval over other seeds and" in line
    unknown = card_results.summary(chosen, replace(result, final=final), None)
    assert "85.0%, the mean of 2 seeds, which give no interval" in unknown


def test_the_cards_first_line_is_of_the_exported_pair(card: str, fine_tuned: Finished) -> None:
    (ranked,) = fine_tuned.sweep.analysis().standings.values()
    (sure,) = (s.uncertainty for s in ranked if "test_vit" in s.result.pair.backbone)
    assert sure is not None and sure.both is not None
    assert numbers.with_interval("test/accuracy", sure.mean, sure.both) in card.split("\n## ")[0]
    assert "over other seeds and other test images" in card.split("\n## ")[0]


@pytest.mark.parametrize(
    ("seeds", "images", "both", "folds", "words"),
    [
        (INTERVAL, INTERVAL, INTERVAL, 1, "over other seeds and other test images"),
        (INTERVAL, None, None, 1, "over other seeds, other test images not included"),
        (None, INTERVAL, None, 1, "over other test images, other seeds not included"),
        (INTERVAL, INTERVAL, INTERVAL, 5, "over folds (Nadeau-Bengio), other test images included"),
        (None, None, None, 1, ", which give no interval"),
    ],
)
def test_what_an_interval_is_over_is_said(
    seeds: Any, images: Any, both: Any, folds: int, words: str
) -> None:
    sure = Uncertainty(0.8, seeds, images, both, 3, 100)
    assert words in card_results.over_what(folds, sure)


def test_what_it_was_compared_with(card: str, fine_tuned: Finished) -> None:
    rows = [r for r in section(card, "Compared with").splitlines() if r.startswith("| ")][1:]
    (ranked,) = fine_tuned.sweep.analysis().standings.values()
    assert len(rows) == len(ranked) == 3
    for row, standing in zip(rows, ranked, strict=True):
        assert row.startswith(f"| {standing.rank} | ")
        assert standing.result.pair.backbone.replace("[", "\\[").replace("]", "\\]") in row
        assert ("(this one)" in row) == ("test_vit" in standing.result.pair.backbone)


def test_data_recipe_and_budget(card: str, fine_tuned: Finished) -> None:
    assert "18 train, 6 val, 6 test" in section(card, "Data")
    assert str(fine_tuned.pair("test_vit").facts["split_digest"]) in section(card, "Data")
    made = section(card, "How it was made")
    recipe = yaml.safe_load(made.split("```yaml\n")[1].split("```")[0])
    assert (recipe["epochs"], recipe["image_size"], recipe["lr"]) == (1, 32, 1e-3)
    assert "1 search trial allowed, 1 complete" in made


def test_the_ways_to_load_it_that_the_folder_has(
    card: str, probed: Finished, tmp_path: Path
) -> None:
    assert 'raybench.load("DIR")' in card and 'timm.create_model("local-dir:DIR"' in card
    assert "onnxruntime" not in card
    folder = probed.sweep.export(tmp_path / "model", "activated")
    beside = (folder / "README.md").read_text()
    assert 'raybench.load("DIR", trust_code=True)' in beside and "local-dir" not in beside
    assert "stands beside the backbone" in beside
    assert "the function `tests.trial.models:activated`, which must be importable" in beside
    assert front_matter(beside)["library_name"] == "raybench"
    assert "\n\n\n" not in beside


def test_other_peoples_text_stays_text() -> None:
    assert plain("a|<b>\n`c` [d](e) \x1b[0m") == r"a\|\<b\> \`c\` \[d\](e) \[0m"


@pytest.mark.parametrize(
    ("name", "weights", "licence", "repository"),
    [
        ("timm:resnet18.a1_in1k", "pretrained", "apache-2.0", "timm/resnet18.a1_in1k"),
        ("timm:resnet18", "none", "not stated", ""),
        ("timm:resnet18", "mine/resnet18.pt", "not stated", ""),
        ("timm:resnet18", "https://example.org/w.safetensors", "not stated", ""),
        ("timm:hf-hub:lab/net@v1", "pretrained", "not stated", "lab/net"),
        ("torchvision:resnet50", "pretrained", "not stated", ""),
        ("python:my_models:net", "pretrained", "not stated", ""),
    ],
)
def test_the_licence_of_the_weights(name: str, weights: str, licence: str, repository: str) -> None:
    origin = origin_of(BackboneSpec(name=name, weights=weights))
    assert (origin.licence, origin.repository) == (licence, repository)
    assert origin.words.endswith(".") and "mine/" not in origin.words


def test_a_licence_that_the_hub_does_not_list() -> None:
    swag = origin_of(BackboneSpec(name="torchvision:vit_b_16", weights="IMAGENET1K_SWAG_LINEAR_V1"))
    assert swag.front_matter()["license"] == "other"
    assert swag.front_matter()["license_link"].endswith("SWAG/blob/main/LICENSE")


def settings(handed_over: Path, **changes: Any) -> ModelSettings:
    return read_settings(handed_over).model_copy(update=changes)


def test_timm_resizes_to_the_same_short_side(handed_over: Path) -> None:
    """It takes the floor of size / crop_pct (timm/data/transforms_factory.py)."""
    for size in range(8, 1025):
        words = preprocessing.for_timm(settings(handed_over, crop="random", image_size=size))
        assert math.floor(size / words["crop_pct"]) == short_side(size, "random")


def test_image_processors_do_what_the_cache_does(handed_over: Path) -> None:
    square = preprocessing.for_hugging_face(settings(handed_over))
    assert square["size"] == {"height": 32, "width": 32} and "do_center_crop" not in square
    cut = preprocessing.for_hugging_face(settings(handed_over, crop="random", image_size=224))
    assert cut["size"] == {"shortest_edge": 256}
    assert cut["crop_size"] == {"height": 224, "width": 224} and cut["do_center_crop"] is True
    assert cut["resample"] == square["resample"] == 2
    assert "short side is 256 pixels" in preprocessing.in_words(
        settings(handed_over, crop="random", image_size=224)
    )


COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(
        r"```sh\n(.*?)```",
        (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    for line in block.splitlines()
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documented_commands_parse(command: str) -> None:
    arguments = build_parser().parse_args(shlex.split(command)[1:])
    assert arguments.verb in ("export", "predict") and str(arguments.folder) == "model"


def test_there_are_documented_commands() -> None:
    assert len(COMMANDS) == 5
