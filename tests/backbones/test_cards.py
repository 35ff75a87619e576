"""The groups: who is in them, and whether the cards tell the truth."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from raybench.backbones.cards import GROUP_CARDS, GROUPS
from raybench.backbones.describe import describe_spec
from raybench.backbones.index import check_backbone
from raybench.spec import BackboneSpec

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_member_is_known_once_and_says_why(group):
    specs = GROUPS[group]
    assert len(specs) >= 3 and [m for spec in specs for m in check_backbone(spec)] == []
    assert len({spec.model_dump_json() for spec in specs}) == len(specs)
    assert all(len(card.why) > 20 and card.why[-1] != "." for card in GROUP_CARDS[group].cards)


def torchvision_top1(spec: BackboneSpec) -> float:
    from torchvision import models

    weights = models.get_model_weights(spec.name.partition(":")[2])[spec.weights]
    return weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]


def test_the_papers_weights_have_the_accuracy_of_its_table():
    cards = GROUP_CARDS["@paper"].cards
    assert len(cards) == 11
    for card in cards:
        assert card.stated_top1 is not None
        if card.spec.name.startswith("torchvision:"):
            assert torchvision_top1(card.spec) == pytest.approx(card.stated_top1, abs=0.1), card
        else:
            accuracy = float(card.spec.weights.rpartition("_")[2])
            assert abs(accuracy - card.stated_top1) > 0.1 and "75.32" in card.why
    (wavemix,) = (card for card in cards if card.spec.name.startswith("wavemix:"))
    assert wavemix.spec.weights == "imagenet_75.06"


def test_the_papers_code_differs_in_resnet50_alone():
    paper, code = GROUPS["@paper"], GROUPS["@paper-code"]
    assert [p.name for p in paper] == [c.name for c in code]
    assert [(p.name, p.weights, c.weights) for p, c in zip(paper, code, strict=True) if p != c] == [
        ("torchvision:resnet50", "IMAGENET1K_V1", "IMAGENET1K_V2")
    ]
    assert torchvision_top1(code[0]) == pytest.approx(80.86, abs=0.01)
    assert "80.86" in GROUP_CARDS["@paper-code"].cards[0].why


def test_small_is_small():
    parameters = [describe_spec(spec).weights[0].parameters for spec in GROUPS["@small"]]
    assert max(parameters) < 10e6


def test_quickstart_is_what_the_shipped_sweep_names():
    sweep = yaml.safe_load((ROOT / "search_spaces" / "quickstart.yaml").read_text())
    assert [BackboneSpec(**entry) for entry in sweep["backbones"]] == list(GROUPS["@quickstart"])


@pytest.mark.parametrize(("group", "attends"), [("@attention", True), ("@cnn", False)])
def test_attention_attends_and_cnns_do_not(group, attends):
    import timm
    import torch

    for spec in GROUPS[group]:
        with torch.device("meta"):
            model = timm.create_model(spec.name.removeprefix("timm:"))
        kinds = {type(module).__name__ for module in model.modules()}
        assert any("Attention" in kind for kind in kinds) is attends, spec.name
