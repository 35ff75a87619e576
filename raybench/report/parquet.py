"""The sweep as Parquet: every record and every prediction, typed, for pandas, Arrow and DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raybench.analysis.cost import costs_frame
from raybench.analysis.frames import records_frame, trials_frame
from raybench.analysis.whole import Analysis
from raybench.predictions import Predictions
from raybench.records import PairRow, TrialRow
from raybench.report.files import written_aside

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_ROW_GROUP_BYTES = 64 << 20
"""Of predictions; more are never held at once."""
_TEXTS = frozenset(
    "sweep pair backbone dataset subset phase state config failure reason task metric device "
    "precision seen versions".split()
)


def write_parquet(analysis: Analysis, folder: Path) -> tuple[Path, ...]:
    """Writes ``leaderboard``, ``trials``, ``epochs``, ``costs`` and ``predictions.parquet``.

    Predictions have one row per image and final trial that counts; where their files are gone, the
    table is empty.

    Raises:
        HomeError: the folder cannot be written.
    """
    return tuple(
        _write(folder / f"{name}.parquet", schema, tables)
        for name, (schema, tables) in _contents(analysis)
    )


def _contents(analysis: Analysis) -> Iterator[tuple[str, tuple[pa.Schema, Iterable[pa.Table]]]]:
    """By name: the schema and the tables that become row groups, one after the other."""
    snapshot = analysis.snapshot
    for name, frame_of in _FRAMES.items():
        table = _typed(frame_of(snapshot))
        yield name, (table.schema, [table])
    table = _typed(analysis.leaderboard())
    yield "leaderboard", (table.schema, [table])
    yield "predictions", (_prediction_schema(), _row_groups(analysis))


_FRAMES = {"trials": trials_frame, "epochs": records_frame, "costs": costs_frame}


def _write(file: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> Path:
    from pyarrow.parquet import ParquetWriter

    with written_aside(file) as stream, ParquetWriter(stream, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
    return file


def _typed(frame: pd.DataFrame) -> pa.Table:
    """A column that happens to be empty has the type that it would have."""
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False)
    for index, column in enumerate(table.schema):
        if pa.types.is_null(column.type):
            kind = pa.string() if column.name in _TEXTS else pa.float64()
            table = table.set_column(index, column.name, table.column(index).cast(kind))
    return table


# -- predictions -----------------------------------------------------------------------------------


def _prediction_schema() -> pa.Schema:
    import pyarrow as pa

    name = pa.dictionary(pa.int32(), pa.string())
    kinds = dict.fromkeys(("sweep", "pair", "backbone", "dataset", "subset"), name)
    kinds |= {"trial": pa.int32(), "seed": pa.int32(), "fold": pa.int32(), "configs": name}
    kinds |= {"image": pa.string(), "group": pa.string(), "label": pa.int32(), "label_name": name}
    kinds |= {"guess": pa.int32(), "guess_name": name, "probabilities": pa.list_(pa.float32())}
    return pa.schema(list(kinds.items()))


def _row_groups(analysis: Analysis) -> Iterator[pa.Table]:
    """Tables of some tens of megabytes each."""
    import pyarrow as pa

    held: list[pa.Table] = []
    size = 0
    for table in _prediction_tables(analysis):
        held.append(table)
        size += table.nbytes
        if size >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(held).unify_dictionaries()
            held, size = [], 0
    if held:
        yield pa.concat_tables(held).unify_dictionaries()


def _prediction_tables(analysis: Analysis) -> Iterator[pa.Table]:
    """One per final trial that counts."""
    for pair in analysis.snapshot.pairs:
        for trial in pair.final_trials():
            found = analysis.predictions.read(trial)
            if found is not None:
                yield _prediction_table(analysis.snapshot.sweep, pair, trial, found)


def _prediction_table(sweep: str, pair: PairRow, trial: TrialRow, found: Predictions) -> pa.Table:
    import pyarrow as pa

    images, classes = found.probabilities.shape
    schema, guesses = _prediction_schema(), found.probabilities.argmax(axis=1)
    offsets = np.arange(0, images * classes + 1, classes, dtype=np.int32)
    columns: dict[str, Any] = {
        "sweep": _same(sweep, images),
        "pair": _same(pair.id, images),
        "backbone": _same(pair.backbone, images),
        "dataset": _same(pair.dataset, images),
        "subset": _same(pair.subset, images),
        "trial": np.full(images, trial.number),
        "seed": [trial.seed] * images,
        "fold": np.full(images, trial.fold),
        "configs": _same("+".join(trial.configs), images),
        "image": list(found.ids),
        "group": list(found.groups or [None] * images),
        "label": found.labels,
        "label_name": _named(found.labels, found.classes),
        "guess": guesses,
        "guess_name": _named(guesses, found.classes),
        "probabilities": pa.ListArray.from_arrays(offsets, found.probabilities.reshape(-1)),
    }
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, field.type)
        for field, values in zip(schema, columns.values(), strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _same(text: str, count: int) -> pa.Array:
    return _named(np.zeros(count, np.int32), [text])


def _named(codes: Any, names: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    indices = pa.array(codes, pa.int32())
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))
