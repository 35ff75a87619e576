"""Each thing that makes a cluster open, unlike the tested one, or impossible, is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raybench.cluster_file import cluster_mistakes
from tests.cluster_files.conftest import WriteFile
from tests.cluster_files.files import filled, text_of

START = "~/raybench/node.sh start worker"
AWS = [
    ("region: us-east-1", "region: null", "provider.region: None is not of type 'string'"),
    ("max_workers: 8            #", "max_wokers: 8 #", "'max_wokers' was unexpected"),
    ("head_node_type: head", "head_node_type: hed", "head_node_type has to be one of"),
    ("sg-0a1b2c3d4e5f60718", "my-group", "'my-group' is not a security group (sg-...)"),
    ("ami-0a1b2c3d4e5f60718", "latest", "'latest' is not an image (ami-...)"),
    ("sg-0a1b2c3d4e5f60718", "sg-0123456789abcdef0", "is an example that belongs to nobody"),
    ("s3://lab-results/", "s3://my-bucket/", "is an example that belongs to nobody"),
    ("      SecurityGroupIds: [*group]\n", "", "opens port 22 to the whole internet"),
    ("198.51.100.7/32", "0.0.0.0/0", "0.0.0.0/0 is nobody's own network"),
    ("198.51.100.7/32", "everybody", "metadata.ssh_from: 'everybody'"),
    ("198.51.100.7/32", "2001:db8::/16", "metadata.ssh_from"),
    (
        "cache_stopped_nodes: false",
        "security_group: {IpPermissions: [{IpRanges: [{CidrIp: 0.0.0.0/0}]}]}",
        "provider.security_group lets in the whole internet",
    ),
    (START, "ray start --dashboard-host=0.0.0.0", "serves on 0.0.0.0"),
    (START, "mlflow server --host 10.0.0.1 &", "serves on 10.0.0.1"),
    (START, "ray stop; ray start", "ends every Ray of that user"),
    (f"worker_start_ray_commands:\n  - {START}\n", "", "worker_start_ray_commands is missing"),
    (START, "pip install -c x ray==2.9.0", "installs ray 2.9.0, constraints.txt has"),
    (START, "pip install 'ray[default]'", "add -c constraints.txt"),
    (START, "pip install -c x https://h/ray-3.0.0.dev0-cp311.whl", "nightly build"),
    ("max_workers: 8   ", "docker: {image: 'rayproject/ray:nightly'}\nmax_workers: 8", "nightly"),
    ("  ~/.ray/auth_token: ~/.ray/auth_token\n", "", "gives the nodes no token"),
    ("~/.ray/auth_token: ~/.ray/auth_token", "~/.ray/auth_token: ~/none", "there is no token at"),
    ("RAY_AUTH_MODE=token\n", "", "RAY_AUTH_MODE=token has to stand"),
    ("RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled", "RAY_AUTH_MODE=token has to stand"),
    ("postgresql+psycopg2:///raybench", "postgresql://me:hunter22@db/raybench", "holds a secret"),
    ("pyproject.toml: pyproject.toml", "pyproject.toml: pyprojekt.toml", "there is no "),
]
LOCAL = [
    ("  head_ip: 10.0.0.1\n", "", "provider.head_ip is missing"),
    ("worker_ips: [10.0.0.2, 10.0.0.3]", "worker_ips: 10.0.0.2", "is not of type 'array'"),
    ("type: local", "kind: local", "'type' is a required property"),
]


@pytest.mark.parametrize(("old", "new", "words"), AWS)
def test_mistakes_on_aws(old: str, new: str, words: str, write_file: WriteFile) -> None:
    _check("cluster.yaml", old, new, words, write_file)


@pytest.mark.parametrize(("old", "new", "words"), LOCAL)
def test_mistakes_on_own_machines(old: str, new: str, words: str, write_file: WriteFile) -> None:
    _check("cluster-local.yaml", old, new, words, write_file)


def _check(name: str, old: str, new: str, words: str, write_file: WriteFile) -> None:
    text = filled(name)
    assert old in text
    told = cluster_mistakes(write_file(text.replace(old, new)))
    assert [mistake for mistake in told if words in mistake], told
    assert not [mistake for mistake in told if "hunter22" in mistake]


def test_missing_setup_commands(write_file: WriteFile) -> None:
    text = filled("cluster.yaml")
    begin, end = text.index("setup_commands:\n"), text.index("\nhead_setup_commands:")
    told = cluster_mistakes(write_file(text[:begin] + text[end:]))
    assert any("Ray's own install a nightly wheel" in mistake for mistake in told)


def test_mistakes_are_told_beside_examples(write_file: WriteFile) -> None:
    told = cluster_mistakes(write_file(text_of("cluster.yaml").replace(START, "ray stop")))
    assert sum("still an example" in mistake for mistake in told) == 5
    assert any("ends every Ray" in mistake for mistake in told)


def test_token_that_others_can_read(write_file: WriteFile) -> None:
    file = write_file(filled("cluster.yaml"))
    token = Path(os.environ["HOME"], ".ray", "auth_token")
    token.chmod(0o644)
    assert cluster_mistakes(file) == [f"{token} can be read by others; chmod 600 {token}"]


def test_another_ray_than_here(write_file: WriteFile) -> None:
    file = write_file(filled("cluster.yaml"))
    constraints = file.parent / "constraints.txt"
    constraints.unlink()
    constraints.write_text("ray==2.59.0\n")
    (mistake,) = cluster_mistakes(file)
    assert mistake.startswith("constraints.txt has ray 2.59.0, this machine ")


@pytest.mark.parametrize("text", ["", "- a list", "cluster_name: [", "just words", "\0"])
def test_anything_else_is_refused_in_words(text: str, write_file: WriteFile) -> None:
    assert cluster_mistakes(write_file(text))


def test_no_such_file(tmp_path: Path) -> None:
    (mistake,) = cluster_mistakes(tmp_path / "none.yaml")
    assert "cannot be read" in mistake
