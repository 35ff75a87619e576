"""What backbones cost where they were measured alone: one table per device and setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from raybench.analysis import numbers
from raybench.backbones.index import network_key
from raybench.measurements import Profile, Timing
from raybench.records import SweepSnapshot

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {"backbone": "left"} | dict.fromkeys(
    "latency ms;p95;images/s;training;GB;params;MACs;acts;J/image".split(";"), "right"
)
SHARED = "*"
_CSV_FACTS = (
    "backbone device precision threads image_size classes parameters macs activations shared seen "
    "at"
).split()
_TIMINGS = {"latency": "single", "inference": "batched", "training": "training"}


@dataclass(frozen=True, slots=True)
class Setting:
    """What profiles must have in common to be compared."""

    device: str
    precision: str
    threads: int
    image_size: int


@dataclass(frozen=True, slots=True)
class CostRow:
    """One backbone under the name that its table gives it."""

    name: str
    profile: Profile

    def cells(self) -> tuple[str, ...]:
        """In the order of ``COLUMNS``."""
        found = self.profile
        peaks = (_part(found.batched, "peak_memory_gb"), _part(found.training, "peak_memory_gb"))
        return (
            self.name + f" {SHARED}" * found.shared,
            numbers.short(_part(found.single, "median_ms")),
            numbers.short(_part(found.single, "p95_ms")),
            numbers.short(_part(found.batched, "images_per_s")),
            numbers.short(_part(found.training, "images_per_s")),
            " / ".join(numbers.MISSING if peak is None else f"{peak:.2f}" for peak in peaks),
            numbers.millions(found.parameters),
            numbers.giga(found.macs),
            numbers.millions(found.activations),
            numbers.short(_part(found.batched, "energy_j")),
        )


@dataclass(frozen=True, slots=True)
class CostTable:
    """Rows that can be compared."""

    setting: Setting
    rows: Sequence[CostRow]

    @property
    def title(self) -> str:
        where = self.setting
        threads = numbers.plural(where.threads, "CPU thread")
        return f"{where.device}, {where.precision}, {threads}, {where.image_size} px"

    @property
    def note(self) -> str:
        """What the columns are, with what they were taken, and what disturbed them."""
        profiles = [row.profile for row in self.rows]
        return " ".join([_columns_note(profiles), _versions_note(profiles), *self._disturbed()])

    def _disturbed(self) -> list[str]:
        seen = [row.profile.seen for row in self.rows if row.profile.shared]
        first = f"{'such as: ' * (len(seen) > 1)}{seen[0]}" if seen else ""
        return [f"{SHARED} shared: timings may be too long ({first})."] if seen else []


def cost_tables(
    profiles: Iterable[Profile], names: Mapping[str, str] | None = None
) -> list[CostTable]:
    """Profiles by setting, the newest setting first, fastest backbone first.

    Args:
        profiles: of any settings.
        names: ``network_key`` -> name to show; None: as short as tells them apart.
    """
    found: dict[Setting, list[Profile]] = {}
    for profile in sorted(profiles, key=lambda profile: -profile.at):
        found.setdefault(_setting(profile), []).append(profile)
    return [_table(setting, members, names) for setting, members in found.items()]


def _table(
    setting: Setting, members: Sequence[Profile], names: Mapping[str, str] | None
) -> CostTable:
    names = _short_names(members) if names is None else names
    return CostTable(setting, [CostRow(names[_key(p)], p) for p in sorted(members, key=_latency)])


def sweep_cost_tables(snapshot: SweepSnapshot) -> list[CostTable]:
    """Of a sweep's backbones, under the names of its other tables."""
    short = numbers.short_names(p.backbone for p in snapshot.pairs if p.current)
    names: dict[str, list[str]] = {}
    for pair in snapshot.pairs:
        if pair.current and pair.backbone_spec:
            shown = names.setdefault(_network(pair.backbone_spec), [])
            if short[pair.backbone] not in shown:
                shown.append(short[pair.backbone])
    kept = [profile for profile in snapshot.profiles if _key(profile) in names]
    return cost_tables(kept, {key: ", ".join(shown) for key, shown in names.items()})


@dataclass(frozen=True, slots=True)
class Measured:
    """Pair id -> profile of its backbone; ``title``: the one setting all of them were taken in."""

    title: str = ""
    by_pair: Mapping[str, Profile] = field(default_factory=dict)


def measured(snapshot: SweepSnapshot) -> Measured:
    """In the newest setting, so that all can be compared."""
    tables = sweep_cost_tables(snapshot)
    if not tables:
        return Measured()
    known = {_key(row.profile): row.profile for row in tables[0].rows}
    by_pair = {
        pair.id: known[_network(pair.backbone_spec)]
        for pair in snapshot.pairs
        if pair.backbone_spec and _network(pair.backbone_spec) in known
    }
    return Measured(tables[0].title, by_pair)


def costs_frame(snapshot: SweepSnapshot) -> pd.DataFrame:
    """One row per profile; what was not measured is empty."""
    import pandas as pd

    names = [part.name for part in fields(Timing)]
    columns = [*_CSV_FACTS, *(f"{kind}_{name}" for kind in _TIMINGS for name in names), "versions"]
    return pd.DataFrame([_csv_row(profile) for profile in snapshot.profiles], columns=columns)


def _csv_row(profile: Profile) -> dict[str, Any]:
    row = {name: getattr(profile, name) for name in _CSV_FACTS}
    row["backbone"] = _full_name(profile)
    for kind, attribute in _TIMINGS.items():
        timing = getattr(profile, attribute)
        values = {} if timing is None else asdict(timing)
        row |= {f"{kind}_{name}": value for name, value in values.items()}
    return row | {"versions": _versions(profile)}


def _setting(profile: Profile) -> Setting:
    return Setting(profile.device, profile.precision, profile.threads, profile.image_size)


def _network(spec: Mapping[str, Any]) -> str:
    return network_key(spec["name"], spec.get("kwargs", {}))


def _key(profile: Profile) -> str:
    return network_key(profile.backbone, profile.kwargs)


def _short_names(profiles: Iterable[Profile]) -> dict[str, str]:
    """Arguments come back where only they tell two apart."""
    networks = {_key(profile): profile for profile in profiles}
    counts = Counter(profile.backbone for profile in networks.values())
    full = {
        key: profile.backbone if counts[profile.backbone] == 1 else _full_name(profile)
        for key, profile in networks.items()
    }
    short = numbers.short_names(full.values())
    return {key: short[name] for key, name in full.items()}


def _full_name(profile: Profile) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in profile.kwargs.items())
    return profile.backbone + (f" [{arguments}]" if arguments else "")


def _part(timing: Timing | None, name: str) -> float | None:
    value: float | None = None if timing is None else getattr(timing, name)
    return value


def _latency(profile: Profile) -> float:
    return _part(profile.single, "median_ms") or float("inf")


def _columns_note(profiles: Sequence[Profile]) -> str:
    counts = [p.single.count for p in profiles if p.single is not None]
    calls = f" of {_range(counts)} calls" if counts else ""
    batch = next((p.batched.batch_size for p in profiles if p.batched is not None), 32)
    memory = "the whole process's" if profiles[0].device == "cpu" else "reserved by torch"
    counted = any(_part(p.batched, "energy_j") is not None for p in profiles)
    return (
        f"Latency of one image: median and 95th percentile{calls}. images/s of inference and of "
        f"training (whole steps): batches of {batch}. GB: peak memory of the two, {memory}. MACs "
        "and acts (outputs of convolutions and linear layers) of one image; a classifier of "
        f"{profiles[0].classes:,} classes. J/image: of inference, "
        + ("by the GPU's own counter." if counted else "not measured: no GPU with a counter.")
    )


def _versions_note(profiles: Sequence[Profile]) -> str:
    return f"With {' or '.join(dict.fromkeys(_versions(p) for p in profiles))}."


def _versions(profile: Profile) -> str:
    return ", ".join(f"{name} {version}" for name, version in profile.versions.items())


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
