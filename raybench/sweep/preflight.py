"""Before the first trial: every data set decoded, every split cut, every model built once.

A mistake found here costs seconds; found by a trial it costs its slot, an hour in. All mistakes
come at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from raybench.datasets.manifest import Manifest, differences
from raybench.errors import DataError, RaybenchError, ResourceError, UserInputError
from raybench.plan import Pair, Plan
from raybench.records import SweepSnapshot
from raybench.settings import Settings
from raybench.spec import BackboneSpec
from raybench.sweep.adoption import done_pairs
from raybench.sweep.check_data import DatasetCheck, Facts, check_dataset

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Preflight:
    """What was found, to be kept in the ledger.

    Attributes:
        facts: by pair id: classes, images per split, digests, parameters, weights' SHA-256.
        manifests: by data set: what the sweep runs on.
    """

    facts: Mapping[str, Facts]
    manifests: Mapping[str, Manifest]


class _Problems:
    """Everything wrong so far; what the user can mend in the input comes before what is missing."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self.missing: list[str] = []

    def add(self, error: RaybenchError) -> None:
        if isinstance(error, UserInputError):
            self.mistakes += error.mistakes
        else:
            self.missing += error.sentences

    def raise_all(self) -> None:
        if self.mistakes:
            raise DataError([*self.mistakes, *self.missing])
        if self.missing:
            raise ResourceError(self.missing)


def check_everything(
    plan: Plan,
    settings: Settings,
    snapshot: SweepSnapshot,
    tell: Tell,
    read_manifest: Callable[[str], Manifest | None] = lambda digest: None,
    accept_leaks: bool = False,
    leak_words: str = "taken all the same",
) -> Preflight:
    """Data, weights and models of every pair.

    Pairs that are done need no weights, and models that an earlier attempt has built are not built
    again.

    ``snapshot`` is what the ledger knows already; ``tell`` gets a line for everything that takes
    time; ``read_manifest`` finds an earlier attempt's by digest, to name what has changed since;
    with ``accept_leaks`` leaks across splits are told, in ``leak_words``, and not refused.

    Raises:
        DataError: unreadable images, impossible splits, leaks, changed data or weights, models that
            cannot be built.
        ResourceError: weights or data that cannot be had here.
    """
    known = {pair.id: pair.facts for pair in snapshot.pairs}
    open_pairs = _open_pairs(plan, snapshot)
    problems = _Problems()
    accepted = _accepted_leaks(snapshot)

    def accepts(name: str, check: DatasetCheck) -> bool:
        return accept_leaks or not check.leaks or (name, check.badge) in accepted

    checks = _check_data(plan, settings, tell, accepts, leak_words, problems)
    facts = {p.id: dict(checks[p.dataset.name].facts.get(p.subset, {})) for p in plan.pairs}
    problems.mistakes += _changed_data(plan, facts, known, checks, read_manifest)
    weights = _resolve_weights(open_pairs, settings, tell, problems)
    for pair in plan.pairs:
        facts[pair.id] |= weights.get(_key(pair.backbone), _known_weights(known.get(pair.id, {})))
    problems.mistakes += _changed_weights(facts, known)
    problems.raise_all()
    for pair_id, found in _check_models(plan, settings, facts, known, tell, problems).items():
        facts[pair_id] |= found
    problems.raise_all()
    manifests = {name: check.manifest for name, check in checks.items() if check.manifest}
    return Preflight(facts, manifests)


def _key(backbone: BackboneSpec) -> str:
    return backbone.model_dump_json()


def _open_pairs(plan: Plan, snapshot: SweepSnapshot) -> list[Pair]:
    done = done_pairs(plan, snapshot)
    return [pair for pair in plan.pairs if pair.id not in done]


def _accepted_leaks(snapshot: SweepSnapshot) -> set[tuple[str, str]]:
    """What an earlier attempt was told to take, so that the same command goes on as it is."""
    return {(pair.dataset, str(pair.facts.get("leaks", ""))) for pair in snapshot.pairs}


def _check_data(
    plan: Plan,
    settings: Settings,
    tell: Tell,
    accepts: Callable[[str, DatasetCheck], bool],
    leak_words: str,
    problems: _Problems,
) -> dict[str, DatasetCheck]:
    checks = {}
    for dataset in plan.spec.datasets:
        tell(f"data: {dataset.name}")
        try:
            check = check_dataset(plan.spec, dataset, settings.cache_dir, tell)
        except DataError as error:
            problems.mistakes += [f"{dataset.name}: {mistake}" for mistake in error.mistakes]
            check = DatasetCheck()
        except ResourceError as error:
            problems.add(error)
            check = DatasetCheck()
        checks[dataset.name] = check
        problems.mistakes += check.mistakes
        sentences = [f"{dataset.name}: {leak}" for leak in check.leaks]
        if not accepts(dataset.name, check):
            problems.mistakes += sentences
            continue
        for sentence in sentences:
            tell(f"{leak_words}: {sentence}")
    return checks


def _changed_data(
    plan: Plan,
    facts: Mapping[str, Facts],
    known: Mapping[str, Mapping[str, Any]],
    checks: Mapping[str, DatasetCheck],
    read_manifest: Callable[[str], Manifest | None],
) -> list[str]:
    """Results on other images under one name would be compared as if they were the same."""
    changed = []
    for pair in plan.pairs:
        before, now = known.get(pair.id, {}), facts[pair.id]
        words = [
            f"{word} have changed since this sweep's first run ({str(before[key])[:12]} -> "
            f"{str(now[key])[:12]})"
            for key, word in (("data_digest", "images"), ("split_digest", "splits"))
            if before.get(key) and now and before[key] != now[key]
        ]
        if words:
            earlier = read_manifest(str(before.get("manifest_digest", "")))
            current = checks[pair.dataset.name].manifest
            named = differences(earlier, current) if earlier and current else []
            changed.append(
                f"{pair.id}: the {words[0]}; put the data back, give the data set another name, or "
                "use another --home" + "".join(f"; {sentence}" for sentence in named)
            )
    return changed


def _resolve_weights(
    pairs: Iterable[Pair], settings: Settings, tell: Tell, problems: _Problems
) -> dict[str, Facts]:
    """SHA-256 of the weights file of every backbone that loads one; fetched where need be."""
    from raybench.backbones.resolve import resolve_all

    specs = {_key(pair.backbone): pair.backbone for pair in pairs}
    try:
        resolved = resolve_all(specs.values(), settings.weights_dir, tell)
    except (DataError, ResourceError) as error:
        problems.add(error)
        return {}
    return {
        key: {"weights_sha256": found.sha256, "weights_file": found.path.name}
        for key, found in resolved.items()
    }


def _known_weights(facts: Mapping[str, Any]) -> Facts:
    return {key: facts[key] for key in ("weights_sha256", "weights_file") if key in facts}


def _changed_weights(
    facts: Mapping[str, Facts], known: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    changed = []
    for pair_id, now in facts.items():
        before, after = (str(f.get("weights_sha256", "")) for f in (known.get(pair_id, {}), now))
        if before and after and before != after:
            changed.append(
                f"{pair_id}: the weights file has changed since this sweep's first run "
                f"({before[:12]} -> {after[:12]}); put the old one back, or use another --home"
            )
    return changed


def _check_models(
    plan: Plan,
    settings: Settings,
    facts: Mapping[str, Facts],
    known: Mapping[str, Mapping[str, Any]],
    tell: Tell,
    problems: _Problems,
) -> dict[str, Facts]:
    """Build each backbone once, with its weights, unless an earlier attempt has."""
    found: dict[str, Facts] = {}
    by_backbone: dict[str, Facts] = {}
    for pair in plan.pairs:
        if "parameters" in known.get(pair.id, {}):
            found[pair.id] = {"parameters": known[pair.id]["parameters"]}
            continue
        if pair.backbone.name.startswith("python:"):
            continue  # the user's code: what it throws is that trial's failure
        key = _key(pair.backbone)
        if key not in by_backbone:
            tell(f"model: {pair.title}")
            classes = int(facts[pair.id]["classes"])
            by_backbone[key] = _model_facts(plan, settings, pair.backbone, classes, problems)
        found[pair.id] = by_backbone[key]
    return found


def _model_facts(
    plan: Plan, settings: Settings, backbone: BackboneSpec, classes: int, problems: _Problems
) -> Facts:
    """Weights loaded and one image pushed through, on the CPU."""
    from raybench.backbones.build import build_backbone

    recipe = plan.spec.recipe
    try:
        built = build_backbone(
            backbone,
            classes,
            recipe.image_size,
            recipe.drop_path,
            weights_dir=settings.weights_dir,
        )
    except (DataError, ResourceError) as error:
        problems.add(error)
        return {}
    return {"parameters": int(built.facts["parameters"])}
