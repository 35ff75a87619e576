"""cluster/aws.yaml and cluster.yaml against a stand-in for AWS, by Ray's own code."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster_files.files import OWN, ROOT, filled

TEMPLATE = ROOT / "cluster" / "aws.yaml"
MINE = "198.51.100.7/32"


@pytest.mark.parametrize(
    ("network", "taken"),
    [(MINE, True), ("10.1.0.0/16", True), ("0.0.0.0/0", False), ("10.0.0.0/8", False), ("", False)],
)
def test_who_may_ssh(network: str, taken: bool) -> None:
    text = TEMPLATE.read_text()
    (pattern,) = re.findall(r"AllowedPattern: '(.*)'", text)
    assert bool(re.fullmatch(pattern, network)) is taken
    assert "Default:" not in text  # so CloudFormation refuses the stack until it is given


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """EC2 of an account in which the stack has been made, its outputs, and Ray's configuration."""
    moto = pytest.importorskip("moto", reason="moto stands in for AWS; pip install '.[test]'")
    import boto3

    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))  # for the key pair that Ray makes
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        stacks = boto3.client("cloudformation", region_name="us-east-1")
        stacks.create_stack(
            StackName="raybench",
            TemplateBody=TEMPLATE.read_text(),
            Parameters=[{"ParameterKey": "SshFrom", "ParameterValue": MINE}],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        (stack,) = stacks.describe_stacks(StackName="raybench")["Stacks"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
        yield boto3.client("ec2", region_name="us-east-1"), outputs


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """EC2's operations as they are called, with what they were given."""
    from botocore.client import BaseClient

    real: Any = BaseClient._make_api_call
    found: list[tuple[str, dict[str, Any]]] = []

    def call(client: Any, operation: str, given: dict[str, Any]) -> Any:
        if client.meta.service_model.service_name == "ec2":
            found.append((operation, given))
        return real(client, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    return found


def _allowed(action: str, launching: bool = False, tagged: bool = False) -> bool:
    """Whether the head's role lets it act on an instance, by the conditions that it knows."""
    context = {"ec2:CreateAction": "RunInstances"} if launching else {}
    context |= {"aws:ResourceTag/ray-cluster-name": "raybench"} if tagged else {}

    def holds(condition: dict[str, dict[str, str]]) -> bool:
        assert set(condition) <= {"StringEquals", "Null"}
        equal = condition.get("StringEquals", {}).items() <= context.items()
        absent = condition.get("Null", {}).items()
        return equal and all((key not in context) == (value == "true") for key, value in absent)

    return any(
        any(fnmatch(action, pattern) for pattern in _listed(statement["Action"]))
        and holds(statement.get("Condition", {}))
        for statement in _head_statements()
    )


def _head_statements() -> list[dict[str, Any]]:
    (policy,) = _template()["Resources"]["HeadRole"]["Properties"]["Policies"]
    statements: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    assert all(statement["Effect"] == "Allow" for statement in statements)
    return statements


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _template() -> dict[str, Any]:
    class Loader(yaml.SafeLoader):
        """CloudFormation's short forms as their text."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: f"{suffix} {node.value}")
    template: dict[str, Any] = yaml.load(TEMPLATE.read_text(), Loader)  # noqa: S506
    return template


def test_the_head_ends_and_marks_rays_instances_alone() -> None:
    """Whoever may tag anything may first make it Ray's, and then end it."""
    assert _allowed("ec2:RunInstances")
    assert _allowed("ec2:CreateTags", launching=True)
    for action in ("ec2:CreateTags", "ec2:TerminateInstances"):
        assert _allowed(action, tagged=True)
        assert not _allowed(action)
    for action in ("ec2:DeleteTags", "ec2:StopInstances", "iam:CreateRole", "s3:DeleteBucket"):
        assert not _allowed(action, tagged=True), "Ray calls nothing of the kind"


def test_the_head_passes_no_role_but_the_workers() -> None:
    (passing,) = [one for one in _head_statements() if one["Action"] == "iam:PassRole"]
    assert passing["Resource"] == "GetAtt WorkerRole.Arn"


def _provider(ec2: Any, outputs: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    """What launches nodes for Ray, and the file as Ray has completed it."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    text = filled("cluster.yaml")
    text = text.replace(OWN["sg-0123456789abcdef0"], outputs["SecurityGroup"])
    image = ec2.describe_images()["Images"][0]["ImageId"]
    text = text.replace(OWN["ami-0123456789abcdef0"], image)
    with contextlib.redirect_stdout(io.StringIO()):
        config = prepare_config(yaml.safe_load(text))
        config = AWSNodeProvider.fillout_available_node_types_resources(config)
        validate_config(config)
        config = bootstrap_aws(config)
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    return provider, config


def _launch(provider: Any, config: dict[str, Any], name: str) -> None:
    tags = {"ray-node-name": name, "ray-node-status": "", "ray-node-type": name}
    with contextlib.redirect_stdout(io.StringIO()):
        provider.create_node(dict(config["available_node_types"][name]["node_config"]), tags, 1)


def _launched(ec2: Any, outputs: dict[str, str]) -> dict[str, Any]:
    """By instance type what Ray launches for head and worker."""
    provider, config = _provider(ec2, outputs)
    for name in config["available_node_types"]:
        _launch(provider, config, name)
    assert config["available_node_types"]["gpu"]["resources"]["GPU"] == 1
    assert config["available_node_types"]["head"]["resources"]["CPU"] == 0
    found = ec2.describe_instances()["Reservations"]
    return {one["InstanceType"]: one for each in found for one in each["Instances"]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_ray_launches_what_the_file_says(aws: Any) -> None:
    ec2, outputs = aws
    launched = _launched(ec2, outputs)
    head, worker = launched["m7i.xlarge"], launched["g5.xlarge"]
    assert "InstanceLifecycle" not in head
    assert worker["InstanceLifecycle"] == "spot"
    for node, role in ((head, "raybench-head"), (worker, "raybench-worker")):
        assert [group["GroupId"] for group in node["SecurityGroups"]] == [outputs["SecurityGroup"]]
        assert node["IamInstanceProfile"]["Arn"].endswith(f"/{role}")
        assert node["MetadataOptions"]["HttpTokens"] == "required"
    groups = ec2.describe_security_groups()["SecurityGroups"]
    assert len(groups) == 2  # that of the stack and the account's default: Ray has made none
    allowed = [rule for group in groups for rule in group["IpPermissions"]]
    ranges = [r["CidrIp"] for rule in allowed for r in rule.get("IpRanges", [])]
    assert ranges == [MINE]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_ray_does_nothing_that_the_heads_role_does_not_allow(
    aws: Any, called: list[tuple[str, dict[str, Any]]]
) -> None:
    """A worker's life as the head's autoscaler has it: launched, marked, ended."""
    provider, config = _provider(*aws)
    called.clear()
    _launch(provider, config, "gpu")
    (worker,) = provider.non_terminated_nodes({})
    provider.set_node_tags(worker, {"ray-node-status": "up-to-date"})
    provider.terminate_node(worker)
    done = [(name, given) for name, given in called if not name.startswith("Describe")]
    assert [name for name, _ in done] == ["RunInstances", "CreateTags", "TerminateInstances"]
    (tagged,) = done[0][1]["TagSpecifications"]
    assert tagged["ResourceType"] == "instance", "nothing else may be tagged at the launch"
    assert {"Key": "ray-cluster-name", "Value": "raybench"} in tagged["Tags"]
    assert all(_allowed(f"ec2:{name}", tagged=True) for name, _ in done)
