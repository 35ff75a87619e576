"""A small lab: a laptop, a head and two workers brought up by the real ``ray up``, an object store.

``cluster-local.yaml`` is taken as it is shipped; only addresses, user, key, the Python (a link to
ours), logical GPUs and the settings are the lab's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.hosts.cluster import Cluster, cluster
from tests.hosts.host import Host
from tests.hosts.servers import BUCKET, start_object_store, start_postgres
from tests.hosts.ssh import KEY, start_ssh

WORKERS = ("worker1", "worker2")
LEDGER, TRACKING = (f"{{}}:///{name}?host=/run/postgresql" for name in ("raybench", "mlflow"))
STORAGE = f"s3://{BUCKET}/lab"
_REPOSITORY = Path(__file__).resolve().parents[2]
_LIMITS = "--num-cpus={cpus} --num-gpus={gpus} --object-store-memory=80000000"
# A minute passes until Ray's own defaults hold a silent node for dead; ten seconds do for a test.
_IMPATIENT = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}
_UNTIL = """
import sys, time, ray
ray.init("auto", log_to_driver=False)
def alive():
    return sum(node["Alive"] and "GPU" in node["Resources"] for node in ray.nodes())
while alive() != int(sys.argv[1]):
    time.sleep(0.2)
"""


class Lab:
    """A running cluster, as its user on the laptop sees it.

    Attributes:
        hosts: laptop, head, worker1, worker2, store.
    """

    def __init__(self, hosts: Cluster) -> None:
        self.hosts = hosts
        self.laptop, self.head = hosts["laptop"], hosts["head"]

    def raybench(
        self, *words: str, code: int = 0, timeout_s: float = 60, token: str | None = None
    ) -> str:
        """Run it on the laptop; what it says on both streams."""
        environ = {} if token is None else {"RAY_AUTH_TOKEN": token}
        done = self.laptop.run(
            "raybench", *words, environ=environ, timeout_s=timeout_s, check=False
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def on_head(self, *command: str, timeout_s: float = 60) -> str:
        """Run a command on the head, in the environment of its Ray."""
        settings = 'set -a; . ~/raybench/env; exec "$@"'
        return self.head.run("bash", "-c", settings, "bash", *command, timeout_s=timeout_s).stdout

    def until_workers(self, count: int) -> None:
        """Wait until Ray holds so many for alive."""
        self.on_head("python", "-W", "ignore", "-c", _UNTIL, str(count), timeout_s=120)

    def query(self, statement: str) -> str:
        """What the ledger's database answers, one line per row."""
        psql = ("psql", "--host=/run/postgresql", "--no-align", "--tuples-only", "raybench")
        return self.on_head(*psql, "--command", statement).strip()

    def trials_on(self, worker: str) -> list[int]:
        """Processes there that have been made to run trials."""
        return self.hosts[worker].processes("ray::TrialActor")


@contextmanager
def lab() -> Iterator[Lab]:
    """PostgreSQL and MLflow's server on the head, artefacts and checkpoints in the object store."""
    with cluster(["laptop", "head", *WORKERS, "store"]) as hosts:
        start_ssh(hosts.values())
        start_postgres(hosts["head"], ("raybench", "mlflow"))
        settings = _settings(start_object_store(hosts["store"]))
        for name in ("head", *WORKERS):
            venv = hosts[name].path("/root/raybench/venv")
            venv.parent.mkdir()
            venv.symlink_to(sys.prefix)
        laptop = hosts["laptop"]
        laptop.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        laptop.run("ray", "get-auth-token", "--generate")
        laptop.path("/root/lab.yaml").write_text(_cluster_file(hosts, settings))
        up = ("ray", "up", "-y", "--no-config-cache", "/root/lab.yaml")
        laptop.run("env", f"--chdir={_REPOSITORY}", *up, timeout_s=150)
        _open_tunnel(laptop)
        found = Lab(hosts)
        found.until_workers(len(WORKERS))
        yield found


def _settings(store: Mapping[str, str]) -> dict[str, str]:
    return {
        **store,
        **_IMPATIENT,
        "RAY_AUTH_MODE": "token",
        "RAYBENCH_HOME": "/root/raybench-home",
        "RAYBENCH_CACHE": "/root/cache",
        "RAYBENCH_LEDGER_URL": LEDGER.format("postgresql"),
        "RAYBENCH_STORAGE": STORAGE,
        "RAYBENCH_TRACKING_URI": "http://127.0.0.1:5000",
        "RAYBENCH_MLFLOW_STORE": TRACKING.format("postgresql+psycopg2"),
    }


def _cluster_file(hosts: Cluster, settings: Mapping[str, str]) -> str:
    """The shipped one with the lab's values; whatever is not found where it was is an error."""
    text = (_REPOSITORY / "cluster-local.yaml").read_text()
    workers = ", ".join(hosts[name].address for name in WORKERS)
    for shipped, ours in {
        "!SET 10.0.0.1": hosts["head"].address,
        "!SET [10.0.0.2, 10.0.0.3]": f"[{workers}]",
        "!SET ubuntu": "root",
        "!SET ~/.ssh/id_ed25519": KEY,
        "--num-cpus=0 --num-gpus=0": _LIMITS.format(cpus=0, gpus=0),
        "node.sh start worker": f"node.sh start worker {_LIMITS.format(cpus=2, gpus=1)}",
    }.items():
        assert shipped in text, f"cluster-local.yaml has no '{shipped}' any more"
        text = text.replace(shipped, ours)
    text = text.replace("!SET ", "")
    assert text.count("    END\n") == 1, "the settings of cluster-local.yaml end elsewhere now"
    lines = [line for line in text.splitlines() if line.strip().partition("=")[0] not in settings]
    end = lines.index("    END")
    lines[end:end] = [f"    {name}='{value}'" for name, value in settings.items()]
    return "\n".join([*lines, ""])


def _open_tunnel(laptop: Host) -> None:
    """As errors and docs/cluster.md tell to."""
    forward = ("-o", "StrictHostKeyChecking=no", "-L", "8265:127.0.0.1:8265", "root@head")
    laptop.start("ssh", "-N", "-i", KEY, *forward, log="tunnel.txt")
    listening = ("ss", "--no-header", "-tln", "sport = :8265")
    laptop.until(lambda: bool(laptop.run(*listening).stdout), "its tunnel")
