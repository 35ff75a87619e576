"""The ledger: the one source of truth for what was asked, done and spent.

An Optuna RDB storage with two studies per pair, ``<sweep>/<pair>`` for the search and
``<sweep>/<pair>/final`` for the finals, and raybench's tables beside it. This module writes; only
the driver that holds the lease may. ``reader`` reads.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState
from sqlalchemy.engine import Connection

from raybench.datasets.manifest import Manifest
from raybench.plan import Pair, Plan
from raybench.records import EndRecord, EpochRecord, Phase, is_minimised, to_dict
from raybench.space import Params
from raybench.spec import SweepSpec
from raybench.sweep.database import write_transaction
from raybench.sweep.fenced_storage import CreatedBeforeError, FencedStorage
from raybench.sweep.fenced_storage import TrialKey as TrialKey
from raybench.sweep.lease import Lease
from raybench.sweep.patience import Patience
from raybench.sweep.progress import FinalRun
from raybench.sweep.suggest import distributions_of, suggest
from raybench.sweep.tables import manifests, pairs, sweeps

optuna.logging.set_verbosity(optuna.logging.WARNING)
logger = logging.getLogger(__name__)

_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}

P = ParamSpec("P")
T = TypeVar("T")


def _patient(
    method: Callable[Concatenate[Ledger, P], T],
) -> Callable[Concatenate[Ledger, P], T]:
    """Call the whole method again when the server was away; done twice it is as done once."""

    @functools.wraps(method)
    def call(self: Ledger, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._patience(lambda: method(self, *args, **kwargs))

    return call


def study_name(sweep: str, pair_id: str, phase: Phase) -> str:
    return f"{sweep}/{pair_id}" if phase == "search" else f"{sweep}/{pair_id}/final"


class Ledger:
    """Writer of one sweep, fenced by its lease.

    Args:
        url: SQLAlchemy URL. engine: of the same database, its tables checked (``open_engine``).
        spec: the sweep. lease: held by this driver.
    """

    def __init__(self, url: str, engine: sa.Engine, spec: SweepSpec, lease: Lease) -> None:
        self._engine, self._spec, self._lease = engine, spec, lease
        self._fenced = FencedStorage(url, engine, lease)
        self._storage = self._fenced.cached
        self._studies: dict[tuple[str, Phase], optuna.Study] = {}
        self._trial_ids: dict[TrialKey, int] = {}
        self._patience = Patience(engine)

    def close(self) -> None:
        """Let go of the database; SQLite then puts its side file (WAL) into the ledger's own."""
        self._fenced.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with write_transaction(self._engine) as connection:
            self._lease.fence(connection)
            yield connection

    @_patient
    def register(self, plan: Plan) -> None:
        """Write the spec and its pairs; pairs that left the file are kept, marked not current."""
        spec_json = plan.spec.model_dump_json()
        name = plan.spec.name
        with self._transaction() as connection:
            known = connection.execute(sa.select(sweeps).where(sweeps.c.sweep == name)).first()
            values = {"spec": spec_json, "attempt": self._lease.attempt, "deadline": False}
            if known is None:
                connection.execute(sweeps.insert().values(sweep=name, active_s=0.0, **values))
            else:
                connection.execute(sweeps.update().where(sweeps.c.sweep == name).values(**values))
            connection.execute(pairs.update().where(pairs.c.sweep == name).values(current=False))
            for pair in plan.pairs:
                self._write_pair(connection, name, pair)

    def _write_pair(self, connection: Connection, sweep: str, pair: Pair) -> None:
        where = (pairs.c.sweep == sweep) & (pairs.c.pair == pair.id)
        values = {
            "position": pair.position,
            "current": True,
            "definition": json.dumps(_definition(pair)),
        }
        if connection.execute(pairs.update().where(where).values(**values)).rowcount == 0:
            connection.execute(
                pairs.insert().values(sweep=sweep, pair=pair.id, facts="{}", **values)
            )

    @_patient
    def set_facts(self, pair_id: str, facts: Mapping[str, str | float]) -> None:
        """What the preflight found of a pair: classes, images per split, digests."""
        where = (pairs.c.sweep == self._spec.name) & (pairs.c.pair == pair_id)
        with self._transaction() as connection:
            connection.execute(pairs.update().where(where).values(facts=json.dumps(dict(facts))))

    @_patient
    def write_manifest(self, dataset: str, manifest: Manifest) -> None:
        """Keep what the sweep runs on; one that is here already is left as it is."""
        name = self._spec.name
        where = (manifests.c.sweep == name) & (manifests.c.digest == manifest.digest)
        with self._transaction() as connection:
            if connection.execute(sa.select(manifests.c.digest).where(where)).first() is None:
                row = {"sweep": name, "digest": manifest.digest, "dataset": dataset}
                connection.execute(manifests.insert().values(content=manifest.to_bytes(), **row))

    @_patient
    def read_manifest(self, digest: str) -> Manifest | None:
        """What an earlier attempt has run on."""
        where = (manifests.c.sweep == self._spec.name) & (manifests.c.digest == digest)
        with self._engine.connect() as connection:
            content = connection.scalar(sa.select(manifests.c.content).where(where))
        return None if content is None else Manifest.from_bytes(content)

    @_patient
    def set_deadline(self) -> None:
        """The sweep's wall clock is spent; unfinished pairs are incomplete until it is raised."""
        where = sweeps.c.sweep == self._spec.name
        with self._transaction() as connection:
            connection.execute(sweeps.update().where(where).values(deadline=True))

    @_patient
    def active_s(self) -> float:
        """Wall seconds of all attempts, as of the last heartbeat."""
        query = sa.select(sweeps.c.active_s).where(sweeps.c.sweep == self._spec.name)
        with self._engine.connect() as connection:
            return float(connection.scalar(query) or 0.0)

    @_patient
    def create_search_trial(self, pair: Pair, number: int) -> Params:
        """Ask: the ladder first, then the sampler; one transaction writes number and parameters.

        The sampler is seeded by (sweep seed, pair, number), so the same history gives the same
        suggestion in every attempt.
        """
        distributions = distributions_of(self._spec.space)
        study = self._study(pair.id, "search")
        if number < len(pair.ladder):
            params = dict(pair.ladder[number])
        else:
            params = suggest(study, self._spec, pair, number, distributions)
        return self._create((pair.id, "search", number), params, distributions, {})

    @_patient
    def create_final_trial(
        self, pair: Pair, number: int, params: Mapping[str, float], run: FinalRun
    ) -> None:
        """One final trial with the parameters of the search trial that ``run`` names."""
        attributes = dataclasses.asdict(run)
        distributions = distributions_of(self._spec.space)
        self._create((pair.id, "final", number), params, distributions, attributes)

    def _create(
        self,
        key: TrialKey,
        params: Mapping[str, float],
        distributions: dict[str, BaseDistribution],
        attributes: dict[str, Any],
    ) -> Params:
        """Returns the trial's parameters: other ones where it had been created before."""
        study = self._study(key[0], key[1])
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=distributions,
            user_attrs=attributes,
        )
        try:
            self._trial_ids[key] = self._fenced.create_trial(study._study_id, key, template)
        except CreatedBeforeError:
            return dict(self._fenced.backend.get_trial(self._trial_id(key)).params)
        return dict(params)

    @_patient
    def write_epoch(self, key: TrialKey, record: EpochRecord) -> None:
        """One epoch, once: its user attribute is the epoch's only write."""
        self._storage.set_trial_user_attr(
            self._trial_id(key), f"epoch:{record.epoch}", to_dict(record)
        )

    @_patient
    def write_failures(self, key: TrialKey, failures: list[str]) -> None:
        """Failures that will be retried; survives the driver."""
        self._storage.set_trial_user_attr(self._trial_id(key), "failures", failures)

    @_patient
    def set_running(self, key: TrialKey) -> None:
        """Take up a WAITING trial again; harmless for one that is RUNNING."""
        self._storage.set_trial_state_values(self._trial_id(key), TrialState.RUNNING)

    @_patient
    def set_waiting(self, key: TrialKey) -> None:
        """A drained trial: it comes back with its number and parameters."""
        self._storage.set_trial_state_values(self._trial_id(key), TrialState.WAITING)

    @_patient
    def write_end(self, key: TrialKey, end: EndRecord) -> None:
        """A trial's last word; what it no longer needs may go from now on."""
        self._storage.set_trial_user_attr(self._trial_id(key), "end", to_dict(end))

    @_patient
    def tell(self, key: TrialKey, end: EndRecord, epochs: Iterable[EpochRecord]) -> None:
        """Close a trial after ``write_end``; TPE ranks PRUNED ones by their intermediate values."""
        trial_id, (state, values) = self._trial_id(key), self._verdict(end)
        try:
            if state == TrialState.PRUNED:
                self._write_curve(trial_id, epochs)
            self._storage.set_trial_state_values(trial_id, state, values)
        except optuna.exceptions.UpdateFinishedTrialError:
            if self._fenced.backend.get_trial(trial_id).state != state:
                raise  # else it was told before, and the answer was lost

    def _write_curve(self, trial_id: int, epochs: Iterable[EpochRecord]) -> None:
        metric = self._spec.search.metric
        for record in epochs:
            if metric in record.metrics:
                value = record.metrics[metric]
                self._storage.set_trial_intermediate_value(trial_id, record.epoch, value)

    def _verdict(self, end: EndRecord) -> tuple[TrialState, list[float] | None]:
        """What Optuna is told: a COMPLETE trial needs a value."""
        metric = self._spec.search.metric
        value = end.best.get(metric, math.nan)
        if end.state == "complete" and math.isnan(value):
            value = end.test.get("test/" + metric.removeprefix("val/"), math.nan)  # refit: no val
        if end.state != "complete":
            return _STATES[end.state], None
        return (TrialState.FAIL, None) if math.isnan(value) else (TrialState.COMPLETE, [value])

    @_patient
    def take_back(self, key: TrialKey, failures: list[str], time: int) -> None:
        """Make a failed trial WAITING again, for the n-th time; Optuna never opens one again.

        Only before anything has read the trial: Optuna keeps what has ended in memory. A new row
        for each time, so that readers see a change however fast the trial fails again.
        """
        trial_id = self._trial_id(key)
        with self._transaction() as connection:
            trials, attributes = (
                sa.Table(name, sa.MetaData(), autoload_with=connection)
                for name in ("trials", "trial_user_attributes")
            )
            waiting = {"state": TrialState.WAITING.name, "datetime_complete": None}
            connection.execute(
                trials.update().where(trials.c.trial_id == trial_id).values(**waiting)
            )
            row = {"trial_id": trial_id, "key": f"taken_up:{time}", "value_json": "true"}
            mine = attributes.delete().where(attributes.c.trial_id == trial_id)
            connection.execute(mine.where(attributes.c.key == row["key"]))
            connection.execute(attributes.insert().values(**row))
            connection.execute(mine.where(attributes.c.key == "end"))
        self.write_failures(key, failures)

    @_patient
    def skip_trial(self, pair: Pair, number: int, end: EndRecord) -> Params:
        """Record a search trial that will not run (pair_failed): created and told at once."""
        params = dict(pair.ladder[number]) if number < len(pair.ladder) else pair.default_params
        key: TrialKey = (pair.id, "search", number)
        self._create(key, params, distributions_of(self._spec.space), {})
        self.write_end(key, end)
        self.tell(key, end, [])
        return params

    def _study(self, pair_id: str, phase: Phase) -> optuna.Study:
        if (pair_id, phase) not in self._studies:
            metric = self._spec.search.metric
            self._studies[(pair_id, phase)] = optuna.create_study(
                storage=self._storage,
                study_name=study_name(self._spec.name, pair_id, phase),
                direction="minimize" if is_minimised(metric) else "maximize",
                load_if_exists=True,
            )
        return self._studies[(pair_id, phase)]

    def _trial_id(self, key: TrialKey) -> int:
        if key not in self._trial_ids:
            study = self._study(key[0], key[1])
            self._trial_ids[key] = self._storage.get_trial_id_from_study_id_trial_number(
                study._study_id, key[2]
            )
        return self._trial_ids[key]


def _definition(pair: Pair) -> dict[str, Any]:
    """What ``status`` and ``report`` need of a pair without its sweep file."""
    return {
        "backbone": pair.title,
        "backbone_spec": pair.backbone.model_dump(mode="json"),
        "dataset": pair.dataset.name,
        "subset": pair.subset,
        "quota": pair.quota,
        "default_params": pair.default_params,
        "final_seeds": list(pair.final_seeds),
        "folds": pair.folds,
        "final_configs": list(pair.final_configs),
    }
