"""The ledger: the one source of truth for what was asked, done and spent.

An Optuna RDB storage with two studies per pair, ``<sweep>/<pair>`` for the search and
``<sweep>/<pair>/final`` for the finals, and raybench's tables beside it. This module writes; only
the driver that holds the lease may. ``reader`` reads.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState
from sqlalchemy.engine import Connection

from raybench.datasets.manifest import Manifest
from raybench.errors import HomeError
from raybench.plan import Pair, Plan
from raybench.records import EndRecord, EpochRecord, Phase, is_minimised, to_dict
from raybench.space import Params
from raybench.spec import SweepSpec
from raybench.sweep.lease import Lease
from raybench.sweep.progress import FinalRun
from raybench.sweep.suggest import distributions_of, suggest
from raybench.sweep.tables import engine_options, manifests, pairs, sweeps, write_transaction

optuna.logging.set_verbosity(optuna.logging.WARNING)
logger = logging.getLogger(__name__)

TrialKey = tuple[str, Phase, int]
"""Pair id, phase, Optuna number."""

_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
CREATE_ATTEMPTS = 5


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            backend = _open_storage(url)
        # The fence runs inside every transaction that Optuna commits: flushed first, so that the
        # database's write lock is held while the lease is compared.
        sa.event.listen(backend.scoped_session, "before_commit", self._fence)
        self._backend, self._storage = backend, optuna.storages.get_storage(backend)
        self._studies: dict[tuple[str, Phase], optuna.Study] = {}
        self._trial_ids: dict[TrialKey, int] = {}

    def close(self) -> None:
        """Let go of the database; SQLite then puts its side file (WAL) into the ledger's own."""
        self._backend.engine.dispose()

    def _fence(self, session: sa.orm.Session) -> None:
        session.flush()
        self._lease.fence(session)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with write_transaction(self._engine) as connection:
            self._lease.fence(connection)
            yield connection

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

    def set_facts(self, pair_id: str, facts: Mapping[str, str | float]) -> None:
        """What the preflight found of a pair: classes, images per split, digests."""
        where = (pairs.c.sweep == self._spec.name) & (pairs.c.pair == pair_id)
        with self._transaction() as connection:
            connection.execute(pairs.update().where(where).values(facts=json.dumps(dict(facts))))

    def write_manifest(self, dataset: str, manifest: Manifest) -> None:
        """Keep what the sweep runs on; one that is here already is left as it is."""
        name = self._spec.name
        where = (manifests.c.sweep == name) & (manifests.c.digest == manifest.digest)
        with self._transaction() as connection:
            if connection.execute(sa.select(manifests.c.digest).where(where)).first() is None:
                row = {"sweep": name, "digest": manifest.digest, "dataset": dataset}
                connection.execute(manifests.insert().values(content=manifest.to_bytes(), **row))

    def read_manifest(self, digest: str) -> Manifest | None:
        """What an earlier attempt has run on."""
        where = (manifests.c.sweep == self._spec.name) & (manifests.c.digest == digest)
        with self._engine.connect() as connection:
            content = connection.scalar(sa.select(manifests.c.content).where(where))
        return None if content is None else Manifest.from_bytes(content)

    def set_deadline(self) -> None:
        """The sweep's wall clock is spent; unfinished pairs are incomplete until it is raised."""
        where = sweeps.c.sweep == self._spec.name
        with self._transaction() as connection:
            connection.execute(sweeps.update().where(where).values(deadline=True))

    def active_s(self) -> float:
        """Wall seconds of all attempts, as of the last heartbeat."""
        query = sa.select(sweeps.c.active_s).where(sweeps.c.sweep == self._spec.name)
        with self._engine.connect() as connection:
            return float(connection.scalar(query) or 0.0)

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
        self._create(pair.id, "search", number, params, distributions, {})
        return params

    def create_final_trial(
        self, pair: Pair, number: int, params: Mapping[str, float], run: FinalRun
    ) -> None:
        """One final trial with the parameters of the search trial that ``run`` names."""
        attributes = dataclasses.asdict(run)
        distributions = distributions_of(self._spec.space)
        self._create(pair.id, "final", number, params, distributions, attributes)

    def _create(
        self,
        pair_id: str,
        phase: Phase,
        number: int,
        params: Mapping[str, float],
        distributions: dict[str, BaseDistribution],
        attributes: dict[str, Any],
    ) -> None:
        study = self._study(pair_id, phase)
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=distributions,
            user_attrs=attributes,
        )
        trial_id = self._storage.create_new_trial(study._study_id, template_trial=template)
        created = self._storage.get_trial(trial_id).number
        if created != number:
            raise RuntimeError(f"{pair_id}: expected trial {number}, Optuna made {created}")
        self._trial_ids[(pair_id, phase, number)] = trial_id

    def write_epoch(self, key: TrialKey, record: EpochRecord) -> None:
        """One epoch, once: its user attribute is the epoch's only write."""
        self._storage.set_trial_user_attr(
            self._trial_id(key), f"epoch:{record.epoch}", to_dict(record)
        )

    def write_failures(self, key: TrialKey, failures: list[str]) -> None:
        """Failures that will be retried; survives the driver."""
        self._storage.set_trial_user_attr(self._trial_id(key), "failures", failures)

    def set_running(self, key: TrialKey) -> None:
        """Take up a WAITING trial again; harmless for one that is RUNNING."""
        self._storage.set_trial_state_values(self._trial_id(key), TrialState.RUNNING)

    def set_waiting(self, key: TrialKey) -> None:
        """A drained trial: it comes back with its number and parameters."""
        self._storage.set_trial_state_values(self._trial_id(key), TrialState.WAITING)

    def write_end(self, key: TrialKey, end: EndRecord) -> None:
        """A trial's last word; what it no longer needs may go from now on."""
        self._storage.set_trial_user_attr(self._trial_id(key), "end", to_dict(end))

    def tell(self, key: TrialKey, end: EndRecord, epochs: Iterable[EpochRecord]) -> None:
        """Close a trial after ``write_end``; TPE ranks PRUNED ones by their intermediate values."""
        trial_id, metric = self._trial_id(key), self._spec.search.metric
        state = _STATES[end.state]
        if state == TrialState.PRUNED:
            for record in epochs:
                if metric in record.metrics:
                    value = record.metrics[metric]
                    self._storage.set_trial_intermediate_value(trial_id, record.epoch, value)
        value = end.best.get(metric, math.nan)
        if state == TrialState.COMPLETE and math.isnan(value):
            value = end.test.get("test/" + metric.removeprefix("val/"), math.nan)  # refit: no val
        if state == TrialState.COMPLETE and math.isnan(value):
            state = TrialState.FAIL
        values = [value] if state == TrialState.COMPLETE else None
        self._storage.set_trial_state_values(trial_id, state, values)

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
            of_trial = attributes.c.trial_id == trial_id
            row = {"trial_id": trial_id, "key": f"taken_up:{time}", "value_json": "true"}
            connection.execute(attributes.insert().values(**row))
            connection.execute(attributes.delete().where(of_trial & (attributes.c.key == "end")))
        self.write_failures(key, failures)

    def skip_trial(self, pair: Pair, number: int, end: EndRecord) -> Params:
        """Record a search trial that will not run (pair_failed): created and told at once."""
        params = dict(pair.ladder[number]) if number < len(pair.ladder) else pair.default_params
        self._create(pair.id, "search", number, params, distributions_of(self._spec.space), {})
        key: TrialKey = (pair.id, "search", number)
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


def _open_storage(url: str) -> optuna.storages.RDBStorage:
    """Optuna creates its tables without a lock; of drivers that start at once one may come late.

    Raises:
        HomeError: its tables are those of another Optuna, or cannot be made.
    """
    for attempt in range(1, CREATE_ATTEMPTS + 1):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=engine_options(url))
        except RuntimeError as error:
            raise HomeError(f"the ledger cannot be opened: {error}") from None
        except sa.exc.SQLAlchemyError as error:
            if attempt == CREATE_ATTEMPTS:
                raise HomeError(f"the ledger cannot be opened: {error}") from None
            time.sleep(0.2 * attempt)
    raise AssertionError("the loop returns or raises")


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
