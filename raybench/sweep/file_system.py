"""Which file system a path lies on, as far as SQLite and leases have to know: is it a network's?"""

from __future__ import annotations

import re
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs ncpfs 9p virtiofs afs ceph lustre gpfs beegfs orangefs pvfs2 panfs "
    "glusterfs ocfs2 gfs2 wekafs vboxsf prl_fs acfs".split()
)
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.ntfs", "fuse.ntfs-3g", "fuse.exfat"})


def network_type(path: Path, mountinfo: Path | None = None) -> str | None:
    """The type of the network file system that ``path`` lies on; None on a local disk.

    What is unknown (no Linux, FUSE of whatever kind) counts as what does no harm: a system without
    a list of mounts as local, FUSE as a network's.
    """
    try:
        lines = (mountinfo or MOUNTINFO).read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    kind = _type_of(path.expanduser().resolve(), lines)
    return kind if _is_network(kind) else None


def _is_network(kind: str) -> bool:
    return kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def _type_of(path: Path, lines: list[str]) -> str:
    """That of the longest mount point above; the last of several at one point covers the others."""
    found, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(_unescape(fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= found:
            found, kind = len(point.parts), after.split(" ")[0]
    return kind


def _unescape(text: str) -> str:
    r"""The kernel writes a blank as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
