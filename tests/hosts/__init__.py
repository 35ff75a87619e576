"""Several hosts on one machine, for tests of clusters: as root on Linux, without containers.

    with cluster(["laptop", "head", "worker1"]) as hosts:
        hosts["head"].run("hostname", "-i")
        hosts.unplug("worker1")

A host is a network namespace with one cable to a common switch (itself a bridge in a namespace of
its own, so that nothing is added to this machine's network), and pid, mount, uts and ipc
namespaces around one process, its init. It has its own address, name, /proc, /tmp, /dev/shm, /run
and home; the rest of the file system, with the venv and this repository, is everybody's.

``ray up``, ``ray down`` and ``ray stop`` kill every Ray process that they can see: which is why
they run in here, where they see their own host's.

init      the first process of a host: makes it, and everything in it dies with it
host      run commands, find and kill processes inside
network   switch, cables, addresses
cluster   hosts by name; removed by their own handles, also those of a test that was killed
ssh       keys, an sshd per host
elastic   a Ray in a host whose autoscaler starts nodes as processes
"""

from tests.hosts.cluster import Cluster, cluster, why_not
from tests.hosts.host import Host

__all__ = ["Cluster", "Host", "cluster", "why_not"]
