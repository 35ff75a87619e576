"""Downloads against a server that fails, truncates, stalls, lies and changes its mind."""

from __future__ import annotations

import email.message
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from raybench import download as module
from raybench import transfer
from raybench.download import download, recorded_sha256
from raybench.errors import ResourceError
from tests.standin import StandIn, standin_server

BODY = random.Random(0).randbytes(3 << 20)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.bin").write_bytes(BODY)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(module, "_FIRST_WAIT_S", 0.01)
    with standin_server(tmp_path / "www") as running:
        yield running


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "got" / "a.bin"


def refused(server: StandIn, target: Path, url: str | None = None, **known: object) -> str:
    """The words of the failure, after which nothing may stand under the target's name."""
    with pytest.raises(ResourceError) as error:
        download(url or server.url("a.bin"), target, **known)  # type: ignore[arg-type]
    assert not target.exists()
    return str(error.value)


def ranges(server: StandIn) -> list[str | None]:
    return [headers.get("range") for _, headers in server.asked]


def test_a_file_arrives_whole_is_recorded_and_leaves_nothing_else(server, target):
    told: list[str] = []
    assert download(server.url("a.bin"), target, tell=told.append) == SHA256
    assert target.read_bytes() == BODY
    assert recorded_sha256(target) == SHA256
    assert {p.name for p in target.parent.iterdir()} == {"a.bin", "a.bin.sha256", "a.bin.lock"}
    assert any("recorded, not published" in text for text in told)


def test_a_file_that_is_there_is_checked_but_not_asked_for(server, target):
    for _ in range(2):
        assert download(server.url("a.bin"), target, sha256=SHA256.upper(), md5=MD5) == SHA256
    assert server.requests["a.bin"] == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_failures_are_tried_again(server, target, status):
    server.fault("a.bin", statuses=[status] * 4)
    assert download(server.url("a.bin"), target) == SHA256
    assert server.requests["a.bin"] == 5


def test_it_gives_up_after_the_tries(server, target):
    server.fault("a.bin", statuses=[503], forever=True)
    text = refused(server, target, tries=3)
    assert server.requests["a.bin"] == 3
    assert "503" in text and "3 times in a row" in text and str(target) in text


@pytest.mark.parametrize(("status", "hint"), [(401, "log in"), (403, "access"), (404, "")])
def test_a_plain_no_is_final_and_says_what_was_asked(server, target, status, hint):
    server.fault("a.bin", statuses=[status], forever=True)
    text = refused(server, target)
    assert server.requests["a.bin"] == 1
    assert f"{server.url('a.bin')}; the server answered {status}" in text and hint in text
    assert f"save it as {target}" in text


def test_a_truncated_body_is_continued_by_range(server, target):
    server.fault("a.bin", truncate=1_000_000)
    assert download(server.url("a.bin"), target) == SHA256
    assert ranges(server) == [None, "bytes=1000000-"]
    assert server.sent["a.bin"] == len(BODY)


def test_truncation_without_announced_length_is_found_by_the_published_size(server, target):
    server.fault("a.bin", truncate=1_000_000, times=9, length=False)
    assert "size 1000000 instead of 3145728" in refused(server, target, size=len(BODY))


@pytest.mark.parametrize("what", [{"ranges": False}, {"validators": False}])
def test_without_range_or_validators_it_starts_afresh(server, target, what):
    server.fault("a.bin", truncate=1_000_000, **what)
    assert download(server.url("a.bin"), target) == SHA256
    assert server.sent["a.bin"] == 1_000_000 + len(BODY)


def test_without_validators_a_published_hash_allows_to_continue(server, target):
    server.fault("a.bin", truncate=1_000_000, validators=False)
    assert download(server.url("a.bin"), target, md5=MD5) == SHA256
    assert ranges(server) == [None, "bytes=1000000-"]


def test_a_steady_trickle_of_truncations_is_progress_not_failure(server, target):
    server.fault("a.bin", truncate=(1 << 20) + 1, times=2)
    assert download(server.url("a.bin"), target, tries=2) == SHA256
    server.fault("a.bin", truncate=1000, times=9)
    server.requests.clear()
    assert "2 times in a row" in refused(server, target.with_name("b.bin"), tries=2)


def test_a_stall_is_given_up_and_continued(server, target):
    server.fault("a.bin", stall_s=20, stall_after=500_000)
    begun = time.monotonic()
    assert download(server.url("a.bin"), target, stall_s=0.3) == SHA256
    assert time.monotonic() - begun < 5
    assert ranges(server) == [None, "bytes=500000-"]


@pytest.mark.parametrize("known", [{"sha256": "0" * 64}, {"md5": "0" * 32}])
def test_another_hash_leaves_nothing_and_names_both(server, target, known):
    text = refused(server, target, **known)
    ((_, published),) = known.items()
    assert published in text and (SHA256 if "sha256" in known else MD5) in text
    assert {p.name for p in target.parent.iterdir()} == {"a.bin.lock"}


def test_a_wrong_size_is_refused_before_it_is_fetched(server, target):
    text = refused(server, target, size=7)
    assert "announces 3,145,728 bytes instead of 7" in text
    assert not target.with_name("a.bin.part").exists()


def test_a_redirect_is_followed_but_not_out_of_http(server, target, tmp_path):
    server.fault("old", location=server.url("a.bin"))
    assert download(server.url("old"), target, sha256=SHA256) == SHA256
    other = tmp_path / "other.bin"
    server.fault("file", location=f"file://{target}")
    server.fault("ftp", location="ftp://127.0.0.1/a.bin")
    for path in ("file", "ftp"):
        assert "could not be downloaded" in refused(server, other, server.url(path))
    assert "only http and https" in refused(server, other, f"file://{target}")


def test_secrets_of_an_address_are_not_repeated(server, target):
    url = server.url("none").replace("//", "//me:hunter2@") + "?token=hunter2"
    told: list[str] = []
    text = refused(server, target, url, tell=told.append, tries=1)
    assert "hunter2" not in text + "".join(told) and "/none?..." in text


def test_a_changed_file_is_refused_once_recorded(server, target):
    download(server.url("a.bin"), target)
    target.write_bytes(b"changed")
    with pytest.raises(ResourceError, match="has changed or is another file") as error:
        download(server.url("a.bin"), target)
    assert SHA256 in str(error.value) and target.read_bytes() == b"changed"
    target.unlink()
    server.fault("a.bin", body=b"the publisher changed it")
    assert "recorded on first download" in refused(server, target)


def test_a_file_put_there_by_hand_is_recorded(server, target):
    target.parent.mkdir()
    target.write_bytes(BODY)
    assert download(server.url("gone"), target) == SHA256
    assert recorded_sha256(target) == SHA256 and server.requests["gone"] == 0
    target.with_name("a.bin.sha256").write_text("garbage")
    with pytest.raises(ResourceError, match="holds no SHA-256"):
        download(server.url("gone"), target)


def test_without_locks_each_process_has_a_part_of_its_own(server, target, monkeypatch):
    def no_locks(file: object, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    server.fault("a.bin", truncate=1_000_000)
    assert download(server.url("a.bin"), target) == SHA256
    assert server.sent["a.bin"] == len(BODY)
    server.fault("a.bin", truncate=0, times=9)
    refused(server, target.with_name("b.bin"), tries=2)
    assert not list(target.parent.glob("*.part*"))


def test_a_redirect_from_https_to_http_is_refused():
    request = urllib.request.Request("https://a.example/b")
    with pytest.raises(transfer.Refused, match="leads from https to http://c.example/d"):
        transfer._Redirects().redirect_request(request, None, 302, "", {}, "http://c.example/d")


def test_a_server_may_say_how_long_to_wait():
    headers = email.message.Message()
    headers["Retry-After"] = "7"
    busy = urllib.error.HTTPError("http://a.example", 503, "busy", headers, io.BytesIO())
    with pytest.raises(transfer.Transient) as error:
        transfer._judge(busy, 0)
    assert error.value.wait_s == 7


SCRIPT = """
import sys
from pathlib import Path
from raybench.download import download
print(download(sys.argv[1], Path(sys.argv[2]), stall_s=20))
"""


def start(url: str, target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, url, str(target)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def test_two_processes_fetch_once(server, target):
    server.fault("a.bin", stall_s=0.7, stall_after=1000)
    processes = [start(server.url("a.bin"), target) for _ in range(2)]
    for process in processes:
        assert process.communicate(timeout=60)[0].strip() == SHA256
    assert server.requests["a.bin"] == 1


def part_killed_at(server: StandIn, target: Path, size: int) -> Path:
    """A process is killed when it has ``size`` bytes."""
    server.fault("a.bin", stall_s=30, stall_after=size)
    process = start(server.url("a.bin"), target)
    part = target.with_name("a.bin.part")
    deadline = time.monotonic() + 10
    while not part.exists() or part.stat().st_size < size:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not target.exists()
    return part


def test_a_killed_process_is_continued_by_the_next(server, target):
    part_killed_at(server, target, 2_000_000)
    assert download(server.url("a.bin"), target) == SHA256
    assert ranges(server) == [None, "bytes=2000000-"]


def test_halves_of_two_versions_are_never_joined(server, target):
    part_killed_at(server, target, 2_000_000)
    other = random.Random(1).randbytes(len(BODY))
    server.fault("a.bin", body=other)
    assert download(server.url("a.bin"), target) == hashlib.sha256(other).hexdigest()
    assert target.read_bytes() == other


def test_a_damaged_part_is_found_by_the_hash_and_fetched_again(server, target):
    part = part_killed_at(server, target, 2_000_000)
    part.write_bytes(bytes(2_000_000))
    assert download(server.url("a.bin"), target, sha256=SHA256) == SHA256
    assert ranges(server) == [None, "bytes=2000000-", None]


def test_a_whole_part_is_only_renamed(server, target):
    part = part_killed_at(server, target, 2_000_000)
    part.write_bytes(BODY)
    server.mend("a.bin")
    sent = server.sent["a.bin"]
    assert download(server.url("a.bin"), target) == SHA256
    assert server.sent["a.bin"] == sent


def test_a_part_longer_than_the_file_is_thrown_away(server, target):
    part = part_killed_at(server, target, 2_000_000)
    part.write_bytes(BODY + b"more")
    server.mend("a.bin")
    assert download(server.url("a.bin"), target) == SHA256


def test_an_unwritable_place_is_said_in_words(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot be written"):
        download(server.url("a.bin"), tmp_path / "file" / "a.bin")


def test_a_server_that_is_not_there_is_said_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FIRST_WAIT_S", 0.01)
    with pytest.raises(ResourceError, match="was not reached"):
        download("http://127.0.0.1:9/a.bin", tmp_path / "a.bin", tries=2)


def test_offline_by_wish_nothing_is_asked_and_the_way_by_hand_is_told(server, target, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = refused(server, target, server.url("a.bin") + "?signature=abc")
    assert f"HF_HUB_OFFLINE is set, so {server.url('a.bin')}" in text and "abc" not in text
    assert text.endswith(f"By hand: get that file and save it as {target}")
    assert not server.requests and not target.parent.exists()
    target.parent.mkdir()
    target.write_bytes(BODY)
    assert download(server.url("a.bin"), target, sha256=SHA256) == SHA256
    assert not server.requests


@pytest.mark.parametrize(("value", "offline"), [("", False), ("0", False), ("true", True)])
def test_offline_is_read_as_the_hub_s_client_reads_it(value, offline, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert module.is_offline() is offline


def test_a_fault_is_found_before_the_hash_is_recorded(server, target):
    server.fault("a.bin", body=b"<html>")

    def find_fault(path: Path) -> str:
        assert not target.exists() and recorded_sha256(target) is None
        return "is a web page" if path.read_bytes() != BODY else ""

    text = refused(server, target, find_fault=find_fault)
    assert f"asked {server.url('a.bin')}; what came is a web page, and was thrown away" in text
    assert [path.suffix for path in target.parent.iterdir()] == [".lock"]
    server.mend("a.bin")
    assert download(server.url("a.bin"), target, find_fault=find_fault) == SHA256


def test_a_fault_in_a_continued_file_is_a_reason_to_start_afresh(server, target):
    part = part_killed_at(server, target, 2_000_000)
    part.write_bytes(bytes(part.stat().st_size))
    server.mend("a.bin")
    fault = lambda path: "" if path.read_bytes() == BODY else "is damaged"  # noqa: E731
    assert download(server.url("a.bin"), target, find_fault=fault) == SHA256


def test_progress_is_told_now_and_then(server, target, monkeypatch):
    monkeypatch.setattr(module, "_TOLD_EVERY_S", 0.0)
    told: list[str] = []
    download(server.url("a.bin"), target, tell=told.append)
    assert any(" of 3 MB, " in text for text in told)
