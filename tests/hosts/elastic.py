"""A Ray in one host whose head can run nothing, and whose autoscaler starts nodes as processes.

The provider is Ray's own for tests, ``fake_multinode``. By that name Ray would look for its example
file, which is not in the wheel; as an ``external`` provider it needs none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ray.autoscaler
import yaml

from tests.hosts.host import Host

# The provider tells its nodes by these ids, and must know the head's before it starts.
_HEAD_ID = "f" * 51 + "00000"
_HEAD_TYPE = "ray.head.default"
_PORT = 6379
_STORE_BYTES = 80_000_000  # the least that Ray takes


def start_elastic_ray(
    host: Host,
    worker: dict[str, float],
    most: int = 2,
    idle_s: float = 600,
    options: tuple[str, ...] = (),
    environ: dict[str, str] | None = None,
) -> str:
    """``ray start --head --autoscaling-config``; the address of a cluster without CPUs and GPUs.

    Args:
        host: where all nodes run. worker: a node's resources, such as ``{"CPU": 1, "GPU": 1}``.
        most: nodes at once. idle_s: how long a node without work is kept.
        options: further ones of ``ray start``. environ: of the head, and so of all nodes.
    """
    text = json.dumps(_configuration(host, worker, most, idle_s))
    host.path("/root/autoscaling.yaml").write_text(text)
    command = ["ray", "start", "--head", f"--port={_PORT}", f"--node-ip-address={host.address}"]
    command += ["--num-cpus=0", "--num-gpus=0", f"--object-store-memory={_STORE_BYTES}"]
    command += ["--autoscaling-config=/root/autoscaling.yaml", "--dashboard-host=127.0.0.1"]
    host.run(*command, *options, environ=_ENVIRON | (environ or {}))
    return f"{host.address}:{_PORT}"


def _configuration(host: Host, worker: dict[str, float], most: int, idle_s: float) -> Any:
    node = {"resources": worker | {"object_store_memory": _STORE_BYTES}, "node_config": {}}
    defaults = Path(ray.autoscaler.__file__).parent / "local" / "defaults.yaml"
    return {
        **yaml.safe_load(defaults.read_text()),
        "cluster_name": "elastic",
        "max_workers": most,
        "idle_timeout_minutes": idle_s / 60,
        "upscaling_speed": 10.0,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": f"{host.address}:{_PORT}",
            "head_node_id": _HEAD_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,  # there is nothing to install
        },
        "available_node_types": {
            _HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": node | {"min_workers": 0, "max_workers": most},
        },
        "head_node_type": _HEAD_TYPE,
    }


_ENVIRON = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
    "RAY_NODE_TYPE_NAME": _HEAD_TYPE,
    "RAY_USAGE_STATS_ENABLED": "0",
}
