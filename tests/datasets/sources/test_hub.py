"""Hub data sets through the real ``load_dataset``, from a stand-in hub on this machine."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import raybench
from raybench.datasets import check_dataset, count_dataset
from raybench.datasets.sources.hub_columns import hub_samples
from raybench.datasets.sources.open import quiet
from raybench.errors import DataError
from raybench.spec import ColumnsSpec, DatasetSpec
from tests.datasets.sources.hub_standin import COMMIT, StandInHub, standin_hub

datasets = pytest.importorskip("datasets", reason="the extra hf is not installed")

# The libraries read HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE once, on import: so, a process each.
PROGRAM = """
import json, sys
from pathlib import Path
from raybench.datasets.sources.samples import content_sha256
from raybench.datasets.sources.open import fingerprint, open_source
from raybench.errors import RaybenchError
from raybench.spec import DatasetSpec
told = []
answers = []
for text in json.loads(sys.argv[1]):
    spec, folder = DatasetSpec(name="mine", source=text), Path(sys.argv[2])
    try:
        facts, images = fingerprint(spec, folder)
        source = open_source(spec, images, folder, told.append)
        answers.append({
            "facts": facts,
            "classes": source.classes,
            "samples": [[s.id, s.split, s.label, content_sha256(s.read())] for s in source.samples],
        })
    except RaybenchError as error:
        answers.append(f"{type(error).__name__}: {error}")
print(json.dumps({"answers": answers, "told": told}))
"""
Ask = Callable[..., dict[str, Any]]


def picture(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 5, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def table(labels: list[int], start: int = 0, names: tuple[str, ...] = ("cat", "dog")) -> Any:
    images = [{"bytes": picture(start + i), "path": None} for i in range(len(labels))]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    )
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)


def parquet(content: Any) -> bytes:
    buffer = io.BytesIO()
    content.to_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    with standin_hub() as hub:
        hub.add(
            "org/pets",
            {
                "README.md": b"# pets",
                "data/train-00000-of-00001.parquet": parquet(table([0, 1, 0, 1])),
                "data/validation-00000-of-00001.parquet": parquet(table([0, 1], 50)),
                "data/test-00000-of-00001.parquet": parquet(table([1, 0], 90)),
            },
        )
        configs = "".join(
            f"- config_name: {name}\n  data_files: {name}/train.parquet\n" for name in ("a", "b")
        )
        hub.add(
            "org/two",
            {
                "README.md": f"---\nconfigs:\n{configs}---\n".encode(),
                "a/train.parquet": parquet(table([0, 1])),
                "b/train.parquet": parquet(table([1, 0], 100)),
            },
        )
        hub.add("org/closed", {"README.md": b"#"})
        hub.gated.add("org/closed")
        hub.add("org/program", {"README.md": b"#", "program.py": b"raise SystemExit"})
        yield hub


@pytest.fixture
def ask(hub: StandInHub, tmp_path: Path) -> Ask:
    """Open sources in a fresh process whose hub is the stand-in, with a cache of its own."""

    def run(*texts: str, **env: str) -> dict[str, Any]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        package = str(Path(raybench.__file__).parents[1])  # this one, installed or not
        given = {
            "PYTHONPATH": package,
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "hf"),
            **env,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(texts), str(tmp_path / "downloads")],
            env={**kept, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **given},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]

    return run


@pytest.mark.slow
def test_a_hub_set_is_read_then_offline_from_the_cache(ask, hub, tmp_path):
    (tmp_path / "org" / "pets").mkdir(parents=True)  # a folder of that name is not what is meant
    first = ask("hf:org/pets")["answers"][0]
    assert first["facts"][1] == COMMIT and first["classes"] == ["cat", "dog"]
    splits = [split for _, split, _, _ in first["samples"]]
    assert splits == ["test"] * 2 + ["train"] * 4 + ["val"] * 2
    labels = {id: label for id, _, label, _ in first["samples"]}
    assert labels["train/0000001"] == 1 and labels["test/0000000"] == 1
    before = sum(hub.requests.values())
    assert ask("hf:org/pets", HF_HUB_OFFLINE="1")["answers"] == [first]
    assert sum(hub.requests.values()) == before


@pytest.mark.slow
def test_without_network_and_pin_the_hubs_own_cache_knows_the_commit(ask, tmp_path):
    first = ask("hf:org/pets")["answers"][0]
    (tmp_path / "downloads" / "revision.json").unlink()
    refs = tmp_path / "hf" / "hub" / "datasets--org--pets" / "refs"
    refs.mkdir(exist_ok=True)
    (refs / "main").write_text(COMMIT)
    (refs / "other").write_text("f" * 40)
    texts = ("hf:org/pets", "hf:org/pets@other", "hf:org/pets@none")
    known, other, unknown = ask(*texts, HF_HUB_OFFLINE="1")["answers"]
    assert known == first
    assert f"at commit {'f' * 40} is not in the cache" in other and COMMIT in other
    assert "is not there" in unknown


@pytest.mark.slow
def test_the_commit_stays_though_the_branch_moves(ask, hub):
    pinned = ask("hf:org/two/b")["answers"][0]
    assert pinned["classes"] == ["cat", "dog"]
    assert {split for _, split, _, _ in pinned["samples"]} == {None}
    hub.commits["org/two"] = "e" * 40
    try:
        again, moved = ask("hf:org/two/b", "hf:org/two/b@main")["answers"]
    finally:
        hub.commits["org/two"] = COMMIT
    assert again == pinned and moved["facts"][1] == "e" * 40


def test_what_cannot_be_had_is_said_in_words(ask, hub):
    texts = ("hf:org/two", "hf:org/two/c", "hf:org/nothing", "hf:org/closed", "hf:org/program")
    two, no_config, nothing, closed, program = ask(*texts)["answers"]
    assert two.startswith("DataError") and "hf:org/two/CONFIG" in two and "'a'" in two
    assert no_config.startswith("DataError") and "'a'" in no_config
    assert nothing.startswith("ResourceError: there is no data set 'org/nothing'")
    assert closed.startswith("ResourceError: 'org/closed' is gated") and "HF_TOKEN" in closed
    assert program.startswith("DataError") and "never run" in program
    unknown = ask("hf:org/pets@v9", HF_TOKEN="hf_secret")["answers"][0]
    assert unknown.startswith("ResourceError: 'org/pets' has no revision 'v9'")
    assert "hf_secret" in hub.tokens


def test_an_absent_hub_is_said_in_words(ask):
    answer = ask("hf:org/pets", HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_ETAG_TIMEOUT="1")
    assert answer["answers"][0].startswith("ResourceError: hf:org/pets cannot be fetched")


def samples_of(tables: dict[str, Any], **keys: Any) -> Any:
    return hub_samples(tables, DatasetSpec(name="mine", source="hf:o/n", **keys), quiet)


def test_validation_is_the_test_split_where_there_is_no_other():
    two = samples_of({"train": table([0, 1]), "validation": table([1, 0])})
    assert {s.split for s in two.samples} == {"train", "test"}
    kept_back = {"train": table([0, 1]), "valid": table([1, 0]), "test": table([-1, -1])}
    assert {s.split for s in samples_of(kept_back).samples} == {"train", "test"}


def test_splits_and_labels_that_cannot_be_used_are_named():
    with pytest.raises(DataError, match="'train', 'extra'; only train, validation and test"):
        samples_of({"train": table([0, 1]), "extra": table([0, 1])})
    with pytest.raises(DataError, match="one of each is needed"):
        samples_of({"test": table([0, 1])})
    with pytest.raises(DataError, match="1 images of split 'train' have no label in 'label'"):
        samples_of({"train": table([0, 1, -1])})


def test_columns_are_found_by_type_or_given():
    two = table([0, 1]).add_column("kind", ["x", "y"]).add_column("who", [7, 8])
    source = samples_of({"train": two}, columns=ColumnsSpec(label="kind", group="who"))
    assert source.classes == ("x", "y") and {s.group for s in source.samples} == {"7", "8"}
    with pytest.raises(DataError, match="no column 'gone'; it has 'image', 'label'"):
        samples_of({"train": table([0, 1])}, columns=ColumnsSpec(label="gone"))
    twice = two.cast_column("kind", datasets.ClassLabel(names=["x", "y"]))
    with pytest.raises(DataError, match="2 label columns .* say which with `columns: {label"):
        samples_of({"train": twice})
    many = table([0, 1]).remove_columns("label").add_column("label", [[0], [0, 1]])
    with pytest.raises(DataError, match="several labels per image are not supported"):
        samples_of({"train": many}, columns=ColumnsSpec(label="label"))


def test_pixels_stay_encoded_until_read():
    source = samples_of({"train": table([0, 1], 30)})
    assert source.samples[1].read() == picture(31)


def test_checks_need_no_network():
    spec = DatasetSpec(name="mine", source="hf:org/pets@v1", columns=ColumnsSpec(label="kind"))
    assert check_dataset(spec) == [] and count_dataset(spec) is None
    both = DatasetSpec(name="mine", source="hf:pets", path="here")
    assert len(check_dataset(both)) == 2
    (mistake,) = check_dataset(DatasetSpec(name="mine", source="hf:a/b", group_by="(a)"))
    assert mistake.startswith("'group_by' needs a `path:`")
