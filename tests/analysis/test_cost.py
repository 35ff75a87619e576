"""Cost tables: names, order, settings, and what is said beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from raybench.analysis.cost import COLUMNS, cost_tables, costs_frame, measured
from raybench.analysis.cost import sweep_cost_tables as tables_of
from raybench.measurements import Profile
from raybench.records import PairRow, SweepSnapshot
from tests.factories import make_pair, make_snapshot
from tests.measurements import make_profile, make_timing


def at(latency_ms: float, **changes: Any) -> Profile:
    return make_profile(single=make_timing(median_ms=latency_ms), **changes)


def pair(title: str, dataset: str = "digits", **spec: Any) -> PairRow:
    content = {"name": title, "weights": "none", "kwargs": {}} | spec
    return replace(make_pair(title, dataset=dataset), backbone_spec=content)


def snapshot(*profiles: Profile) -> SweepSnapshot:
    pairs = [pair("timm:resnet18.a1_in1k"), pair("timm:resnet50"), pair("timm:resnet50", "other")]
    return replace(make_snapshot(*pairs), profiles=profiles)


def test_fastest_first_within_what_can_be_compared():
    found = [
        at(9.0, backbone="timm:a", at=1.0),
        at(3.0, backbone="timm:b", at=2.0),
        make_profile(backbone="timm:c", single=None, at=3.0),
        at(0.4, backbone="timm:a", device="NVIDIA H100", precision="bf16", at=4.0),
    ]
    gpu, cpu = cost_tables(found)
    assert gpu.title == "NVIDIA H100, bf16, 1 CPU thread, 96 px"
    assert [row.name for row in gpu.rows] == ["a"]
    assert [row.name for row in cpu.rows] == ["b", "a", "c"]


def test_cells_are_in_the_order_of_the_columns_and_absent_is_a_dash():
    (table,) = cost_tables([make_profile()])
    cells = dict(zip(COLUMNS, table.rows[0].cells(), strict=True))
    assert cells == {
        "backbone": "resnet18", "latency ms": "5.00", "p95": "6.00", "images/s": "266",
        "training": "80.0", "GB": "0.50 / 0.50", "params": "11.7 M", "MACs": "0.334 G",
        "acts": "0.5 M", "J/image": "—",
    }  # fmt: skip
    nothing = make_profile(single=None, batched=None, training=None, macs=None, activations=None)
    (table,) = cost_tables([nothing])
    assert table.rows[0].cells() == ("resnet18", "—", "—", "—", "—", "— / —", "11.7 M") + ("—",) * 3


def test_the_note_says_how_with_what_and_what_disturbed_it():
    (clean,) = cost_tables([make_profile()])
    assert "of 100 calls" in clean.note and "the whole process's" in clean.note
    assert "torch 2.11.0" in clean.note and "no GPU with a counter" in clean.note
    assert "shared" not in clean.note
    energy = make_timing(batch_size=32, energy_j=0.25)
    gpu = make_profile(
        backbone="timm:a", device="NVIDIA H100", shared=True, seen="1 other process on the GPU",
        batched=energy, single=make_timing(count=40), versions={"torch": "2.12"},
    )  # fmt: skip
    (table,) = cost_tables([gpu, make_profile(device="NVIDIA H100")])
    assert table.rows[0].name == "a *" or table.rows[0].cells()[0].endswith(" *")
    assert "of 40 to 100 calls" in table.note and "reserved by torch" in table.note
    assert "the GPU's own counter" in table.note
    assert "* shared: timings may be too long (1 other process on the GPU)" in table.note
    assert "torch 2.12 or raybench 0.1.0" in table.note
    assert "0.250" in [row.cells()[-1] for row in table.rows]


def test_arguments_are_shown_where_only_they_differ():
    plain, cut, other = (
        at(1.0, backbone="timm:vit"),
        at(2.0, backbone="timm:vit", kwargs={"depth": 4}),
        at(3.0, backbone="timm:resnet18", kwargs={"drop_rate": 0.1}),
    )
    (table,) = cost_tables([plain, cut, other])
    assert [row.name for row in table.rows] == ["vit", "vit [depth=4]", "resnet18"]


def test_a_sweep_shows_its_own_backbones_under_its_own_names():
    found = snapshot(
        at(5.0, backbone="timm:resnet18"),
        at(7.0, backbone="timm:resnet50"),
        at(1.0, backbone="x:y"),
    )
    (table,) = tables_of(found)
    assert [row.name for row in table.rows] == ["resnet18", "resnet50"]
    of_pair = {pair: profile.backbone for pair, profile in measured(found).by_pair.items()}
    assert of_pair == {p.id: p.backbone.partition(".")[0] for p in found.pairs}
    assert tables_of(snapshot()) == [] and measured(snapshot()).by_pair == {}


def test_costs_are_taken_from_the_newest_setting():
    found = snapshot(
        at(5.0, backbone="timm:resnet18", at=1.0),
        at(0.5, backbone="timm:resnet18", at=2.0, device="NVIDIA H100"),
        at(7.0, backbone="timm:resnet50", at=1.0),
    )
    assert measured(found).title.startswith("NVIDIA H100, fp32")
    (profile,) = measured(found).by_pair.values()  # resnet50 was not measured there
    assert profile.single is not None and profile.single.median_ms == 0.5


def test_two_sets_of_weights_of_one_network_share_a_row():
    pairs = [pair(f"torchvision:resnet50 [{tag}]", name="torchvision:resnet50") for tag in "ab"]
    profiles = (at(5.0, backbone="torchvision:resnet50"),)
    (table,) = tables_of(replace(make_snapshot(*pairs), profiles=profiles))
    assert [row.name for row in table.rows] == ["resnet50 [a], resnet50 [b]"]


def test_a_frame_has_every_profile_and_its_parts():
    frame = costs_frame(snapshot(make_profile(), make_profile(training=None)))
    assert frame["latency_p95_ms"].tolist() == [6.0, 6.0]
    assert frame["training_count"].notna().tolist() == [True, False]
    assert costs_frame(snapshot()).columns.tolist() == frame.columns.tolist()
