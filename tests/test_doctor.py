"""What works here, what does not, what to do: findings, never exceptions."""

from __future__ import annotations

import json
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from raybench import doctor
from raybench.cli import main
from raybench.doctor import Finding, examine, examine_cluster_file
from raybench.settings import resolve_settings

SUBJECTS = {
    "packages", "device", "ray", "token", "dashboard", "home", "ledger", "tracking", "mlflow",
    "hub", "disk",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path_factory):
    def refuse(*args: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("nobody")))
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def findings(home, **environ: str) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(resolve_settings(home, environ))}


def test_a_fresh_home(tmp_path):
    found = findings(tmp_path / "a" / "b")
    assert set(found) == SUBJECTS
    assert {name for name, finding in found.items() if not finding.ok} <= {"hub", "disk", "device"}
    assert "will be created" in found["home"].text and found["ledger"].text == "none yet"
    assert not (tmp_path / "a").exists()


def test_a_home_in_use(finished_home):
    found = findings(finished_home)
    assert found["home"].ok and found["ledger"].text == "sound; sweeps: tiny"


def test_a_damaged_ledger(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"rubbish" * 1000)
    found = findings(tmp_path)["ledger"]
    assert not found.ok and "damaged" in found.text


def test_a_file_where_the_home_should_be(tmp_path):
    (tmp_path / "file").touch()
    assert not findings(tmp_path / "file")["home"].ok


def test_no_hub(monkeypatch, tmp_path):
    found = findings(tmp_path)["hub"]
    assert not found.ok and "give weights as local files" in found.text
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert findings(tmp_path)["hub"].ok


def test_a_ray_that_does_not_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    found = findings(tmp_path)["ray"]
    assert not found.ok and "10.0.0.1:6379 does not answer" in found.text


def test_a_tracking_server_that_does_not_answer(tmp_path):
    found = findings(tmp_path, RAYBENCH_TRACKING_URI="nonsense://u:secret@host")["tracking"]
    assert not found.ok and "secret" not in found.text and "raybench sync" in found.text


def test_a_full_disk(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage(1, 1, 1_000_000))
    found = findings(tmp_path)["disk"]
    assert not found.ok and "0.0 GB free" in found.text


def test_a_token_that_others_can_read(monkeypatch, tmp_path):
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.touch(mode=0o644)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = findings(tmp_path / "home")["token"]
    assert not found.ok and found.essential and f"chmod 600 {token}" in found.text
    token.chmod(0o600)
    assert findings(tmp_path / "home")["token"].ok


def test_a_ray_without_tokens(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    found = findings(tmp_path)["token"]
    assert not found.ok and not found.essential and "unset it" in found.text


def test_a_home_that_everybody_may_enter(tmp_path):
    tmp_path.chmod(0o755)
    found = findings(tmp_path)["home"]
    assert not found.ok and not found.essential and f"chmod o-rwx {tmp_path}" in found.text
    tmp_path.chmod(0o750)
    assert findings(tmp_path)["home"].ok


def test_what_is_open_becomes_a_finding(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "open_dashboard", lambda addresses: ("open wide", True))
    monkeypatch.setattr(doctor, "open_mlflow", lambda addresses: "open " + addresses[0])
    monkeypatch.setattr(doctor, "unsafe_versions", lambda installed: ["ray 2.9 has known holes"])
    found = findings(tmp_path, RAYBENCH_TRACKING_URI="http://10.0.0.1:5000")
    assert found["dashboard"] == Finding("dashboard", False, "open wide")
    assert found["mlflow"].text == "open http://10.0.0.1:5000" and not found["mlflow"].ok
    assert not found["packages"].ok and found["packages"].text == "ray 2.9 has known holes"


def test_a_cluster_file_instead_of_this_machine(capsys):
    """Every placeholder at once, as user input (exit 2), not as this machine's fault (exit 3)."""
    shipped = str(Path(__file__).parents[1] / "cluster.yaml")
    assert main(["doctor", "--cluster", shipped]) == 2
    said = capsys.readouterr().out.splitlines()
    assert len(said) >= 4 and all(line.startswith("BAD cluster") for line in said)
    assert main(["doctor", "--cluster", shipped, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)[0]["subject"] == "cluster"
    assert examine_cluster_file(Path("none.yaml"))[0].ok is False
