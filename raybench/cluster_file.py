"""What is wrong with a file for ``ray up``: left undone, open to others, unlike what was tested.

Ray checks such a file by a schema only, and fills in what is missing with defaults that serve its
dashboard on 0.0.0.0, open port 22 to the world and install a nightly wheel (ray 2.60,
``autoscaler/aws/defaults.yaml``, ``_private/aws/config.py``). Nothing here asks AWS or a node.
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import yaml

from raybench.exposure import is_loopback
from raybench.redaction import redact

_COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
_WIDEST = 16  # bits of a network that is still somebody's own
# Well-formed, and nobody's: what stands behind !SET in the shipped files.
_EXAMPLES = ("sg-0123456789abcdef0", "ami-0123456789abcdef0", "203.0.113.", "s3://my-bucket/")
_IDS = {
    "ImageId": (re.compile(r"ami-[0-9a-f]{8,17}"), "an image (ami-...)"),
    "SecurityGroupIds": (re.compile(r"sg-[0-9a-f]{8,17}"), "a security group (sg-...)"),
}


@dataclass(frozen=True)
class ClusterFile:
    """A file as read. ``left``: line and text of each example that nobody has replaced."""

    path: Path
    data: dict[str, Any]
    left: tuple[tuple[int, str], ...]

    @property
    def commands(self) -> list[str]:
        return [text for key in _COMMANDS for text in self.data.get(key) or () if text]

    @property
    def provider(self) -> dict[str, Any]:
        return _mapping(self.data.get("provider"))

    @property
    def node_configs(self) -> dict[str, dict[str, Any]]:
        types = _mapping(self.data.get("available_node_types"))
        return {name: _mapping(_mapping(kind).get("node_config")) for name, kind in types.items()}

    @property
    def mounts(self) -> dict[str, Path]:
        """Places on the nodes, and what goes there; relative to the file, where ``ray up`` runs."""
        found = _mapping(self.data.get("file_mounts"))
        return {to: self.path.parent / Path(str(what)).expanduser() for to, what in found.items()}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def cluster_mistakes(path: Path) -> list[str]:
    """Every mistake in the file at once, a sentence each; empty: ``ray up`` may have it."""
    try:
        file = read_cluster_file(path)
    except OSError as error:
        return [f"{path}: cannot be read: {error.strerror or error}"]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return [f"{path}: no valid YAML: {' '.join(str(error).split())}"]
    found = [_unset(line, text) for line, text in file.left]
    found += schema_mistakes(file.data)
    if found and not file.left:
        return found  # of the wrong shape: the rest would stumble over it
    checks = (_examples, _nodes, _network, _start, _packages, _token, _secrets, _mounts)
    return found + [mistake for check in checks for mistake in check(file)]


def read_cluster_file(path: Path) -> ClusterFile:
    """Its data, examples included.

    Raises:
        OSError: it cannot be read. yaml.YAMLError: it is no YAML.
    """
    text = path.read_text(encoding="utf-8")
    loader = _Loader(text)
    try:
        data = loader.get_single_data()
    finally:
        loader.dispose()
    lines = text.splitlines()
    left = tuple((n, lines[n - 1].strip()) for n in sorted(loader.left))
    return ClusterFile(path.absolute(), data if isinstance(data, dict) else {}, left)


class _Loader(yaml.SafeLoader):
    """As ``ray up`` reads it, but for ``!SET``, at which that stops."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.left: set[int] = set()


def _example(loader: _Loader, node: yaml.Node) -> Any:
    loader.left.add(node.start_mark.line + 1)
    plain = copy.copy(node)
    plain.tag = loader.resolve(type(node), node.value, (True, False))  # type: ignore[no-untyped-call]
    return loader.construct_object(plain, deep=True)


_Loader.add_constructor("!SET", _example)


def _unset(line: int, text: str) -> str:
    return f"line {line}: still an example: {text!r}; put your own value and delete the !SET"


def schema_mistakes(data: dict[str, Any]) -> list[str]:
    """Where the file is not what Ray's own schema asks for."""
    import jsonschema  # type: ignore[import-untyped]

    spec = importlib.util.find_spec("ray")
    assert spec is not None and spec.origin is not None  # raybench needs it; not imported: seconds
    schema = json.loads((Path(spec.origin).parent / "autoscaler/ray-schema.json").read_text())
    errors = jsonschema.Draft7Validator(schema).iter_errors(data)
    return [f"{'.'.join(map(str, e.absolute_path)) or 'file'}: {e.message[:200]}" for e in errors]


def _nodes(file: ClusterFile) -> Iterator[str]:
    """What Ray demands beyond its schema, and what AWS would refuse minutes later."""
    if file.provider.get("type") == "local":
        for key in ("head_ip", "worker_ips"):
            if not file.provider.get(key):
                yield f"provider.{key} is missing"
        return
    if file.data.get("head_node_type") not in file.node_configs:
        yield "head_node_type has to be one of available_node_types"
    for name, config in file.node_configs.items():
        for key, (form, words) in _IDS.items():
            given = config.get(key)
            for value in given if isinstance(given, list) else [given]:
                if file.provider.get("type") == "aws" and not form.fullmatch(str(value)):
                    yield f"{name}: {key} {value!r} is not {words}"


def _examples(file: ClusterFile) -> Iterator[str]:
    """The tag is gone, the example still there."""
    if file.left:
        return
    text = json.dumps(file.data)
    for example in _EXAMPLES:
        if example in text:
            yield f"{example!r} is an example that belongs to nobody; put your own value"


def _network(file: ClusterFile) -> Iterator[str]:
    """Who may reach the nodes."""
    text = json.dumps(file.provider.get("security_group"))
    if "0.0.0.0/0" in text or "::/0" in text:
        yield "provider.security_group lets in the whole internet; name your own network"
    if file.provider.get("type") != "aws":
        return
    for name, config in file.node_configs.items():
        if not config.get("SecurityGroupIds") and "NetworkInterfaces" not in config:
            yield (
                f"{name}: without SecurityGroupIds Ray makes a group of its own, which opens port "
                "22 to the whole internet; name the one that cluster/aws.yaml makes"
            )
    given = _mapping(file.data.get("metadata")).get("ssh_from")
    try:
        network = ip_network(str(given))
    except ValueError as error:
        yield f"metadata.ssh_from: {error}; who may ssh, such as 198.51.100.7/32"
        return
    if network.prefixlen < (_WIDEST if network.version == 4 else 2 * _WIDEST):
        yield f"metadata.ssh_from {network} is nobody's own network; name yours"


def _start(file: ClusterFile) -> Iterator[str]:
    """How Ray is started: Ray's own commands are neither private nor anybody's choice."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        if not file.data.get(key):
            yield f"{key} is missing: Ray's own end every Ray there, and ask for no token"
    for text in file.commands:
        for host in re.findall(r"--(?:dashboard-)?host[= ]+['\"]?([^\s'\";]+)", text):
            if not is_loopback(host):
                yield f"{text!r} serves on {host}; serve on 127.0.0.1 and use a tunnel"
        if re.search(r"(?:^|[;&|]\s*)ray stop\b", text.strip()):
            yield f"{text!r} ends every Ray of that user; cluster/node.sh ends its own"


def _packages(file: ClusterFile) -> Iterator[str]:
    """What is installed there: what was tested, and on both sides of the tunnel the same Ray."""
    if not file.data.get("setup_commands") and file.provider.get("type") != "local":
        yield "setup_commands is missing: Ray's own install a nightly wheel"
    images = json.dumps(file.data.get("docker"))
    for text in [*file.commands, images]:
        if re.search(r"ray-wheels|\.dev\d|rayproject/ray\S*:(?:nightly|latest)", text):
            yield f"{_short(text)} takes a nightly build of Ray; name a release"
        if "pip install" in text and not re.search(r"\s(?:-c|--constraint)[\s=]", text):
            yield f"{_short(text)} installs what an index has today; add -c constraints.txt"
    pins = _pins(file)
    here = importlib.metadata.version("ray")
    tested = pins.get("ray")
    if tested not in (None, here):
        yield f"constraints.txt has ray {tested}, this machine {here}; both sides need the same"
    for text in file.commands:
        for name, version in re.findall(r"\b(ray)(?:\[[\w,]*\])?==([\w.]+)", text):
            if tested not in (None, version):
                yield f"{_short(text)} installs {name} {version}, constraints.txt has {tested}"


def _pins(file: ClusterFile) -> dict[str, str]:
    places = [what for what in file.mounts.values() if what.name == "constraints.txt"]
    text = "\n".join(place.read_text(encoding="utf-8") for place in places if place.is_file())
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE))


def _token(file: ClusterFile) -> Iterator[str]:
    """Whoever has Ray's token runs programs there; without one, whoever reaches a port."""
    modes = {m for text in file.commands for m in re.findall(r"RAY_AUTH_MODE=['\"]?(\w+)", text)}
    if modes != {"token"}:
        yield "RAY_AUTH_MODE=token has to stand in the environment of every node's ray start"
    tokens = [what for to, what in file.mounts.items() if to.endswith(".ray/auth_token")]
    if not tokens:
        yield "file_mounts gives the nodes no token: add ~/.ray/auth_token: ~/.ray/auth_token"
    for token in tokens:
        if not token.is_file():
            yield f"there is no token at {token}; 'ray get-auth-token --generate' makes one"
        elif token.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield f"{token} can be read by others; chmod 600 {token}"


def _secrets(file: ClusterFile) -> Iterator[str]:
    """The file is copied to the head and often into a repository."""
    for text in file.commands:
        if redact(text) != text:
            yield f"{_short(redact(text))} holds a secret; use a role, or a file of mode 0600"


def _mounts(file: ClusterFile) -> Iterator[str]:
    for to, what in file.mounts.items():
        if not to.endswith(".ray/auth_token") and not what.exists():
            yield f"file_mounts: there is no {what}, which should go to {to}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 80 else f"{line[:77]}...")
