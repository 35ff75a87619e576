"""Which variables of a laptop a job gets."""

from __future__ import annotations

import pytest

from raybench.cluster.settings import is_elsewhere, is_secret, job_variables
from raybench.errors import ResourceError

STOPPING = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "600"}


def test_a_job_drains_however_it_is_stopped() -> None:
    assert job_variables({}) == STOPPING


def test_what_names_another_place_travels() -> None:
    env = {
        "RAYBENCH_LEDGER_URL": "postgresql://me@db.lab/raybench",
        "RAYBENCH_TRACKING_URI": "http://10.0.0.5:5000",
        "RAYBENCH_STORAGE": "s3://bucket/prefix",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "http://10.0.0.5:9000",
        "HF_TOKEN": "hf_" + "x" * 30,
        "RAYBENCH_CACHE": "/fast/disk",
        "PATH": "/usr/bin",
    }
    told: list[str] = []
    given = job_variables(env, told.append)
    assert given == STOPPING | {k: env[k] for k in list(env)[:5]}
    assert told == []


def test_what_names_a_place_of_this_machine_stays_and_is_told() -> None:
    env = {
        "RAYBENCH_LEDGER_URL": "postgresql://me@127.0.0.1:5433/raybench",
        "RAYBENCH_TRACKING_URI": "sqlite:////home/me/mlflow.db",
        "RAYBENCH_STORAGE": "/home/me/store",
        "AWS_REGION": "eu-central-1",
    }
    told: list[str] = []
    assert job_variables(env, told.append) == STOPPING
    assert len(told) == 3 and all("of this machine" in sentence for sentence in told)


@pytest.mark.parametrize(
    ("place", "elsewhere"),
    [
        ("postgresql:///raybench?host=/var/run/postgresql", False),
        ("http://localhost:5000", False),
        ("http://[::1]:5000", False),
        ("file:///data", False),
        ("relative/path", False),
        ("gs://bucket", True),
        ("https://mlflow.lab", True),
    ],
)
def test_where_a_place_is(place: str, elsewhere: bool) -> None:
    assert is_elsewhere(place) is elsewhere


@pytest.mark.parametrize(
    "url", ["postgresql://me:pa55word@db.lab/r", "https://user:token123@mlflow.lab"]
)
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ResourceError) as caught:
        job_variables({"RAYBENCH_LEDGER_URL": url, "RAYBENCH_TRACKING_URI": url})
    said = str(caught.value)
    assert len(caught.value.sentences) == 2 and "environment of 'ray start'" in said
    assert "pa55word" not in said and "token123" not in said


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HF_TOKEN", "abcdefghijkl", True),
        ("AWS_SECRET_ACCESS_KEY", "abcdefghijkl", True),
        ("MY_PASSWORD", "abcdefghijkl", True),
        ("ANYTHING", "hf_" + "x" * 30, True),
        ("HF_TOKEN", "${HF_TOKEN}", False),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("MODE", "fast", False),
    ],
)
def test_secrets_are_known_by_name_or_shape(name: str, value: str, secret: bool) -> None:
    assert is_secret(name, value) is secret
