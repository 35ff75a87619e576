"""Label names of a pair, in the order of its model's outputs."""

from __future__ import annotations

import json

from raybench.datasets.cache.build import folder_name
from raybench.datasets.cache.files import META
from raybench.errors import HomeError
from raybench.export.choice import Chosen


def class_names(chosen: Chosen) -> tuple[str, ...]:
    """As the predictions file has them, or the decoded cache where that file is of before.

    Raises:
        HomeError: nothing names them any more.
    """
    kept = chosen.analysis.predictions.read(chosen.trial)
    numbered = tuple(str(number) for number in range(int(chosen.pair.facts["classes"])))
    if kept is not None and kept.classes != numbered:
        return kept.classes
    cached = _cached_names(chosen)
    if cached or kept is not None:
        return cached or numbered
    raise HomeError(
        f"the label names of {chosen.pair.id} are not known: its predictions and the decoded "
        f"images below {chosen.home.cache_dir} are gone; run 'raybench fetch' with the sweep file "
        "to have the images decoded again"
    )


def _cached_names(chosen: Chosen) -> tuple[str, ...]:
    pair, recipe = chosen.pair, chosen.recipe
    digest = str(pair.facts["data_digest"])
    name = folder_name(pair.dataset, recipe["image_size"], recipe["crop"], digest)
    try:
        meta = json.loads((chosen.home.cache_dir / name / META).read_bytes())
    except (OSError, ValueError):
        return ()
    return tuple(meta["classes"]) if meta["digest"] == digest else ()
