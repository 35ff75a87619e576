"""Images with one class each: named sets, folders and tables, split, decoded once and cached.

Nothing heavy is imported here: ``plan`` and ``validate`` stand on these names. The images
themselves come from ``raybench.datasets.task.load_task``.
"""

from raybench.datasets.cards import CARDS, DatasetCard, dataset_names, nearest_names
from raybench.datasets.folders import DatasetCounts, check_dataset, count_dataset

__all__ = [
    "CARDS",
    "DatasetCard",
    "DatasetCounts",
    "check_dataset",
    "count_dataset",
    "dataset_names",
    "nearest_names",
]
