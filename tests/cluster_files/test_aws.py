"""cluster/aws.yaml and cluster.yaml against a stand-in for AWS, by Ray's own code."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
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


def _launched(ec2: Any, outputs: dict[str, str]) -> dict[str, Any]:
    """By instance type what Ray launches for head and worker."""
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
        for name, kind in config["available_node_types"].items():
            tags = {"ray-node-name": name, "ray-node-status": "", "ray-node-type": name}
            provider.create_node(dict(kind["node_config"]), tags, 1)
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
