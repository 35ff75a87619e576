"""Read a sweep from the ledger: a few bulk SQL queries, never Optuna's object per trial.

Readers need no lease and see committed rows only. ``tests/sweep/test_reader.py`` holds the SQL
equal to Optuna's own API.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from raybench.errors import UserInputError
from raybench.measurements import Profile
from raybench.records import (
    EndRecord,
    EpochRecord,
    PairRow,
    Record,
    SweepSnapshot,
    TrialRow,
    from_dict,
)
from raybench.sweep.lease import read_holder
from raybench.sweep.profiles import profiles_in, profiles_of
from raybench.sweep.progress import (
    final_run,
    final_sources,
    finals_wanted,
    is_exhausted,
    pair_state,
    search_owed,
)
from raybench.sweep.soundness import telling_damage
from raybench.sweep.tables import meta, pairs, profiles, sweeps

_STATES = {
    "RUNNING": "running",
    "WAITING": "waiting",
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
}

# Optuna's tables, by the columns read here. Their shape is part of Optuna's versioned schema.
studies = sa.table("studies", sa.column("study_id"), sa.column("study_name"))
trials = sa.table(
    "trials",
    sa.column("trial_id"),
    sa.column("study_id"),
    sa.column("number"),
    sa.column("state", sa.String),
)
trial_params = sa.table(
    "trial_params", sa.column("trial_id"), sa.column("param_name"), sa.column("param_value"),
    sa.column("distribution_json"),
)  # fmt: skip
trial_attributes = sa.table(
    "trial_user_attributes",
    sa.column("trial_user_attribute_id"),
    sa.column("trial_id"),
    sa.column("key"),
    sa.column("value_json"),
)


def sweep_names(engine: sa.Engine) -> list[str]:
    with telling_damage(engine), engine.connect() as connection:
        return sorted(connection.scalars(sa.select(sweeps.c.sweep)))


def ledger_id(engine: sa.Engine) -> str:
    """Tells ledgers apart, wherever they are moved."""
    with telling_damage(engine), engine.connect() as connection:
        return connection.scalar(sa.select(meta.c.value).where(meta.c.key == "ledger_id")) or ""


def sweep_specs(engine: sa.Engine) -> dict[str, str]:
    """Every sweep's whole spec, as JSON."""
    with telling_damage(engine), engine.connect() as connection:
        rows = connection.execute(sa.select(sweeps.c.sweep, sweeps.c.spec)).all()
    return {row.sweep: row.spec for row in rows}


def only_sweep(engine: sa.Engine, name: str | None) -> str:
    """``name``, or the home's only sweep.

    Raises:
        UserInputError: no such sweep, or several and none named.
    """
    names = sweep_names(engine)
    listing = ", ".join(names) or "none yet"
    if name is None:
        if len(names) != 1:
            raise UserInputError(f"name one of this home's sweeps: {listing}")
        return names[0]
    if name not in names:
        raise UserInputError(f"no sweep '{name}' in this home; its sweeps: {listing}")
    return name


class SweepReader:
    """Snapshots of one sweep. Used from one thread: it keeps what it has parsed."""

    def __init__(self, engine: sa.Engine, sweep: str) -> None:
        self.engine, self.sweep = engine, sweep
        self._known: dict[int, tuple[str, TrialRow]] = {}
        self._has_profiles = False

    def twin(self) -> SweepReader:
        """One for another thread, which keeps in the same place: rows never change."""
        twin = SweepReader(self.engine, self.sweep)
        twin._known = self._known
        return twin

    def snapshot(self, keys: Collection[str] | None = None) -> SweepSnapshot:
        """The sweep at one moment; with ``keys``, only those trials (``<pair>/<phase>/<number>``).

        Pair states and superseded finals are always derived from all trials.
        """
        with telling_damage(self.engine):
            return self._read_snapshot(None if keys is None else frozenset(keys))

    def _read_snapshot(self, wanted: frozenset[str] | None) -> SweepSnapshot:
        with self.engine.connect() as connection:
            header = connection.execute(sa.select(sweeps).where(sweeps.c.sweep == self.sweep)).one()
            pair_rows = connection.execute(
                sa.select(pairs).where(pairs.c.sweep == self.sweep).order_by(pairs.c.position)
            ).all()
            by_pair = self._trials(connection)
            measured = self._profiles(connection)
        spec = json.loads(header.spec)
        backbones = [json.loads(row.definition)["backbone_spec"] for row in pair_rows]
        return SweepSnapshot(
            sweep=self.sweep,
            description=spec["description"],
            attempt=header.attempt,
            metric=spec["search"]["metric"],
            spec=spec,
            pairs=tuple(
                _pair_row(row, by_pair.get(row.pair, []), spec, header.deadline, wanted)
                for row in sorted(pair_rows, key=lambda row: (not row.current, row.position))
            ),
            lease=read_holder(self.engine, self.sweep),
            profiles=profiles_of(measured, backbones, spec["recipe"]["image_size"]),
            ledger_id=ledger_id(self.engine),
        )

    def _profiles(self, connection: Connection) -> tuple[Profile, ...]:
        """None in a ledger of before there were any; looked for again until there are."""
        self._has_profiles = self._has_profiles or sa.inspect(connection).has_table(profiles.name)
        return profiles_in(connection) if self._has_profiles else ()

    def versions(self) -> Mapping[str, str]:
        """Trial key -> text that changes whenever a committed row of that trial changes. Cheap."""
        with self.engine.connect() as connection:
            heads = self._heads(connection)
        return {
            "/".join((*self._pair_and_phase(head.study_name), str(head.number))): _version(head)
            for head in heads
        }

    def _heads(self, connection: Connection) -> Sequence[Any]:
        """One row per trial: study, ids, state and its newest attribute."""
        query = (
            sa.select(
                studies.c.study_name,
                trials.c.trial_id,
                trials.c.number,
                trials.c.state,
                sa.func.max(trial_attributes.c.trial_user_attribute_id).label("newest"),
            )
            .select_from(
                trials.join(studies, studies.c.study_id == trials.c.study_id).outerjoin(
                    trial_attributes, trial_attributes.c.trial_id == trials.c.trial_id
                )
            )
            .where(studies.c.study_name.startswith(f"{self.sweep}/", autoescape=True))
            .group_by(studies.c.study_name, trials.c.trial_id, trials.c.number, trials.c.state)
            .order_by(trials.c.trial_id)
        )
        return connection.execute(query).all()

    def _pair_and_phase(self, study: str) -> tuple[str, str]:
        pair, _, phase = study.removeprefix(f"{self.sweep}/").partition("/")
        return pair, phase or "search"

    def _trials(self, connection: Connection) -> dict[str, list[TrialRow]]:
        """All trials by pair; only those that changed since the last look are read and parsed."""
        heads = self._heads(connection)
        known = [
            (head, self._known.get(head.trial_id)) for head in heads
        ]  # once: a twin writes too
        rows = {head.trial_id: k[1] for head, k in known if k and k[0] == _version(head)}
        stale = [head.trial_id for head in heads if head.trial_id not in rows]
        params = _read_params(connection, stale)
        attributes = _read_attributes(connection, stale)
        by_pair: dict[str, list[TrialRow]] = defaultdict(list)
        for head in heads:
            pair, phase = self._pair_and_phase(head.study_name)
            trial_id = head.trial_id
            if trial_id not in rows:
                row = _trial_row(pair, phase, head, params[trial_id], attributes[trial_id])
                rows[trial_id], self._known[trial_id] = row, (_version(head), row)
            by_pair[pair].append(rows[trial_id])
        return by_pair


def _version(head: Any) -> str:
    return f"{head.state}:{head.newest}"


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Databases bound the number of parameters of one query."""
    for start in range(0, len(ids), 1000):
        yield ids[start : start + 1000]


def _read_params(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for chunk in _chunks(ids):
        query = sa.select(trial_params).where(trial_params.c.trial_id.in_(chunk))
        for trial_id, name, value, distribution in connection.execute(query):
            found[trial_id][name] = _external(value, distribution)
    return found


def _read_attributes(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    columns = trial_attributes.c.trial_id, trial_attributes.c.key, trial_attributes.c.value_json
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for chunk in _chunks(ids):
        query = sa.select(*columns).where(trial_attributes.c.trial_id.in_(chunk))
        rows = connection.execute(query).all()
        for (trial_id, key, _), value in zip(rows, _decoded([r[2] for r in rows]), strict=True):
            found[trial_id][key] = value
    return found


def _decoded(texts: Sequence[str]) -> list[Any]:
    """Many JSON texts in one go, which then share the names in them: a third of the memory.

    Raises:
        ValueError: one is damaged.
    """
    values: list[Any] = json.loads(f"[{','.join(texts)}]")
    if len(values) != len(texts):
        raise ValueError("a text that is no single value")
    return values


def _external(value: float, distribution: str) -> float:
    """Optuna stores integers as floats; their distribution says so."""
    return int(value) if _kind(distribution) == "IntDistribution" else float(value)


@lru_cache
def _kind(distribution: str) -> str:
    """There are as many texts as tuned parameters."""
    return str(json.loads(distribution)["name"])


def _record(value: Any) -> Record:
    """As it was written.

    Raises:
        ValueError: it was not written by us.
    """
    try:
        return from_dict(value)
    except TypeError as error:
        raise ValueError(f"no record: {error}") from None


def _trial_row(
    pair: str, phase: str, head: Any, params: dict[str, float], attributes: dict[str, Any]
) -> TrialRow:
    records = [_record(v) for k, v in attributes.items() if k.startswith("epoch:")]
    epochs = sorted((r for r in records if isinstance(r, EpochRecord)), key=lambda r: r.epoch)
    end = _record(attributes["end"]) if "end" in attributes else None
    assert end is None or isinstance(end, EndRecord)
    return TrialRow(
        pair_id=pair,
        phase="final" if phase == "final" else "search",
        number=head.number,
        state=_STATES[head.state],  # type: ignore[arg-type]
        params=dict(sorted(params.items())),
        epochs=tuple(epochs),
        end=end,
        seed=attributes.get("seed"),
        fold=attributes.get("fold", 0),
        source=attributes.get("source"),
        failures=tuple(attributes.get("failures", ())),
    )


def _pair_row(
    row: Any,
    rows: list[TrialRow],
    spec: Mapping[str, Any],
    deadline: bool,
    keys: frozenset[str] | None,
) -> PairRow:
    definition = json.loads(row.definition)
    metric = spec["search"]["metric"]
    exhausted = is_exhausted(rows, spec["budget"]["device_hours"])
    quota, configs = definition["quota"], definition["final_configs"]
    seeds, folds = definition["final_seeds"], definition.get("folds", 1)
    wanted = finals_wanted(rows, seeds, folds, configs, metric)
    marked = mark_finals(rows, seeds, configs, metric)
    ordered = sorted(marked, key=lambda t: (t.phase == "final", t.number))
    return PairRow(
        id=row.pair,
        backbone=definition["backbone"],
        dataset=definition["dataset"],
        subset=definition["subset"],
        state=pair_state(rows, quota, exhausted, wanted, deadline),
        quota=quota,
        owed=search_owed(rows, quota, exhausted),
        default_params=definition["default_params"],
        final_seeds=tuple(seeds),
        folds=folds,
        final_configs=tuple(configs),
        trials=tuple(t for t in ordered if keys is None or t.key in keys),
        facts=json.loads(row.facts),
        backbone_spec=definition["backbone_spec"],
        current=row.current,
    )


def mark_finals(
    rows: Iterable[TrialRow], seeds: Collection[int], configs: Collection[str], metric: str
) -> list[TrialRow]:
    """Say of each final which configurations it stands for, or that another has replaced it."""
    rows = list(rows)
    sources = {config: final_sources(rows, [config], metric) for config in configs}
    marked = []
    for row in rows:
        if row.phase == "final":
            run = final_run(row)
            mine = tuple(c for c in configs if run.source in sources[c] and run.seed in seeds)
            row = replace(row, configs=mine, superseded=not mine)
        marked.append(row)
    return marked
