"""What MLflow holds of a sweep: its runs by their tag, each once.

MLflow has no key to make a run once by: a request whose answer was lost, or a second writer, leaves
two runs of one trial, or two models of one run. One of them stays, by a rule on what never changes,
so that writers who find them at different moments agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType

from raybench.tracking.entries import Point

_PAGE = 1000


@dataclass(slots=True)
class HeldRun:
    """One run as the store holds it, as far as this process knows.

    Attributes:
        points: those sent by this process. models: ids by ``raybench.trial``. linked: ids of the
            models that the run's page shows.
    """

    id: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    points: set[Point] = field(default_factory=set)
    has_dataset: bool = False
    models: dict[str, str] = field(default_factory=dict)
    linked: set[str] = field(default_factory=set)

    def is_same(self, other: HeldRun) -> bool:
        """The same run, with the same models."""
        return (self.id, self.models) == (other.id, other.models)


def held_runs(client: MlflowClient, experiment_id: str) -> dict[str, HeldRun]:
    """The experiment's runs by key; a second run of a key is deleted, the one begun first stays.

    MLflow keeps what is deleted until somebody empties its bin.
    """
    models: dict[str, list[LoggedModel]] = defaultdict(list)
    for model in _all_models(client, experiment_id):
        models[model.source_run_id].append(model)
    runs = {run.info.run_id: run for run in _all_runs(client, experiment_id)}
    held: dict[str, HeldRun] = {}
    for run in sorted(runs.values(), key=lambda run: (run.info.start_time, run.info.run_id)):
        key = run.data.tags.get("raybench.trial") or run.data.tags.get("raybench.pair")
        if key is None:
            continue  # made by somebody else
        found = _held(client, run, models[run.info.run_id])
        if key in held:
            delete_run(client, found)
        else:
            held[key] = found
    return held


def delete_run(client: MlflowClient, run: HeldRun) -> None:
    """The run last: one that is left is found again with whatever models it still has."""
    for model_id in run.models.values():
        client.delete_logged_model(model_id)
    client.delete_run(run.id)


def _held(client: MlflowClient, run: Run, models: Iterable[LoggedModel]) -> HeldRun:
    outputs = run.outputs.model_outputs if run.outputs else ()
    linked = {output.model_id for output in outputs}
    return HeldRun(
        id=run.info.run_id,
        status=run.info.status,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        has_dataset=bool(run.inputs and run.inputs.dataset_inputs),
        models=_one_each(client, models, linked),
        linked=linked,
    )


def _one_each(
    client: MlflowClient, models: Iterable[LoggedModel], linked: set[str]
) -> dict[str, str]:
    """Ids by trial. The one that the run's page shows stays, else the one made first."""
    kept: dict[str, str] = {}
    order = lambda m: (m.model_id not in linked, m.creation_timestamp, m.model_id)  # noqa: E731
    for model in sorted(models, key=order):
        trial = model.tags.get("raybench.trial", "")
        if trial in kept:
            client.delete_logged_model(model.model_id)
        else:
            kept[trial] = model.model_id
    return kept


def _all_runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], "", ViewType.ACTIVE_ONLY, _PAGE, ["attributes.start_time ASC"], token
        )
        yield from page
        token = page.token
        if not token:
            return


def _all_models(client: MlflowClient, experiment_id: str) -> Iterator[LoggedModel]:
    token = None
    while True:
        page = client.search_logged_models([experiment_id], max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
