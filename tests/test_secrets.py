"""Risk "secrets in logs": a canary in every place that takes a secret is found nowhere later."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from raybench import cli, redaction, transfer
from raybench.backbones.resolve import resolve_weights
from raybench.errors import ResourceError
from raybench.spec import BackboneSpec
from tests.canary import CANARY, SEEN, URL, Place, Store, enter, prepare, told
from tests.specs import tiny_data, write_sweep


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    """The port of a store that wants a password and a signature."""
    import timm
    from safetensors.torch import save

    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        server.content = save(timm.create_model("test_resnet").state_dict())  # type: ignore[attr-defined]
        server.seen = SEEN  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def used(tmp_path_factory, store) -> Iterator[Place]:
    """A home after a run, half of which has failed, and every command that reads it."""
    place = prepare(tmp_path_factory.mktemp("used"), store)
    assert place.command("--debug", "run", "tiny.yaml", "--home", "home", "--inline") == 1
    with pytest.MonkeyPatch.context() as patch:
        enter(place, patch)
        for arguments in (
            ("status",),
            ("status", "--json"),
            ("report", "--html", "r.html", "--csv", "csv", "--json"),
            ("report",),
            ("sync",),
            ("doctor",),
            ("doctor", "--json"),
            ("plan", "tiny.yaml"),
            ("run", "tiny.yaml", "--inline", "--no-tracking"),
        ):
            told(place, *arguments, "--home", "home")
        yield place


@pytest.mark.slow
def test_a_run_and_all_that_reads_it_leave_the_canary_nowhere(used):
    assert used.leaks() == []


@pytest.mark.slow
def test_the_run_has_used_the_secrets_and_told_what_failed(used):
    assert (used.home / "mlflow.db").exists() and (used.folder / "r.html").exists()
    (weights,) = (used.folder / "torch").rglob("*-w.safetensors")
    assert weights.stat().st_size > 10_000
    text = "".join(used.said)
    assert "RuntimeError: cannot ask https://store.example/w?sig=***" in text
    content = (used.home / "ledger.db").read_bytes() + (used.home / "mlflow.db").read_bytes()
    assert b"${CANARY_PASSWORD}" in content and b"password=***" in content


@pytest.mark.slow
def test_mlflows_store_and_artefacts_are_their_owners_too(used):
    """Beside ``test_modes``, which runs without MLflow."""
    open_to_others = [p for p in used.home.rglob("*") if p.stat().st_mode & 0o077]
    ours = "serving.py"  # MLflow copies it with the mode that it has in the package
    state = [p for p in open_to_others if "cache" not in p.relative_to(used.home).parts]
    assert [p for p in state if p.name != ours] == []


@pytest.fixture
def place(tmp_path, store, monkeypatch) -> Place:
    found = prepare(tmp_path, store)
    enter(found, monkeypatch)
    return found


POSTGRES = [
    f"postgresql://me:{CANARY}@127.0.0.1:9/x",
    f"postgresql://me@127.0.0.1:9/x?password={CANARY}",
    f"postgresql+nosuch://me:{CANARY}/{CANARY}@host/x",
    f"nonsense://me:{CANARY}@host/x",
    f"sqlite://me:{CANARY}@/",
    f"sqlite:///x.db?password={CANARY}",
    f"no url {CANARY}",
]


@pytest.mark.parametrize("url", POSTGRES)
@pytest.mark.parametrize("verb", ["status", "doctor", "sync", "run"])
def test_a_ledger_out_of_reach(place, monkeypatch, verb, url):
    monkeypatch.setenv("RAYBENCH_LEDGER_URL", url)
    more = ("tiny.yaml", "--inline") if verb == "run" else ()
    assert told(place, verb, *more, "--home", "home") == 3
    assert place.leaks() == [] and "ledger" in place.said[0].lower()


@pytest.mark.parametrize("variable", ["RAYBENCH_TRACKING_URI", "MLFLOW_TRACKING_URI"])
def test_a_tracking_server_out_of_reach(place, monkeypatch, finished_home, variable):
    shutil.copytree(finished_home, place.home)
    monkeypatch.setattr("raybench.tracking.sync.time.sleep", lambda seconds: None)
    monkeypatch.setenv(variable, f"http://me:{CANARY}@127.0.0.1:9/?token={CANARY}")
    assert told(place, "sync", "--home", "home") == 3
    told(place, "doctor", "--home", "home")
    assert place.leaks() == [] and "http://127.0.0.1:9" in place.said[0] + place.said[2]


@pytest.mark.parametrize(
    "weights",
    [
        URL.replace("w.safetensors", "gone.pt"),
        URL.replace("${CANARY_X}", "1"),
        URL.replace("${CANARY_X}", "${CANARY_UNSET}"),
        URL.replace("127.0.0.1:%d", "127.0.0.1:9"),
        "https://me:${CANARY_PASSWORD}@store.invalid/w.pt?sig=${CANARY_SIGNATURE}",
        "s3://${CANARY_PASSWORD}@bucket/w.pt?sig=${CANARY_SIGNATURE}",
    ],
)
def test_weights_that_cannot_be_had(place, monkeypatch, weights):
    monkeypatch.setattr("raybench.download.time.sleep", lambda seconds: None)
    url = weights % place.port if "%d" in weights else weights
    backbones = [{"name": "timm:test_resnet", "weights": url}]
    write_sweep(place.folder / "tiny.yaml", tiny_data(backbones=backbones))
    assert told(place, "fetch", "tiny.yaml", "--home", "home") == 3
    assert place.leaks() == []
    if "UNSET" in url:
        assert "the variable CANARY_UNSET in its address is not set" in place.said[0]


@pytest.mark.slow
def test_a_hub_out_of_reach(place):
    place.command(
        "fetch", "tiny.yaml", "--home", "home",
        "--set", "backbones.0.weights=pretrained", "--set", "backbones.0.name=timm:resnet18",
        HF_ENDPOINT=f"http://me:{CANARY}@127.0.0.1:9",
    )  # fmt: skip
    assert "does not answer" in place.said[0] and place.leaks() == []


IN_CLEAR = [
    f"https://me:{CANARY}@host/w.pt",
    f"https://{CANARY}@host/w.pt",
    f"https://host/w.pt?X-Amz-Signature={CANARY}",
    f"https://host/w.pt?id=1&token={CANARY}",
    f"https://me:${{X}}{CANARY}@host/w.pt",
    f"s3://host/w.pt?sig={CANARY}",
]


@pytest.mark.parametrize("url", IN_CLEAR)
@pytest.mark.parametrize("key", ["weights", "description", "--set", "dataset"])
def test_a_secret_in_a_sweep_file_is_refused_without_being_repeated(place, url, key):
    data, more = tiny_data(), ()
    if key == "weights":
        data = tiny_data(backbones=[{"name": "timm:test_resnet", "weights": url}])
    elif key == "description":
        data["description"] = f"after {url} of last year"
    elif key == "dataset":
        data = tiny_data(datasets=[{"name": "x", "path": url}])
    else:
        more = ("--set", f"backbones.0.weights='{url}'")
    write_sweep(place.folder / "tiny.yaml", data)
    assert (
        told(place, "validate", "tiny.yaml", *more) == told(place, "run", "tiny.yaml", *more) == 2
    )
    (place.folder / "tiny.yaml").unlink()
    assert place.leaks() == []
    assert "put it into an environment variable" in place.said[0] and "${ITS_NAME}" in place.said[0]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://host/${X}/w.pt", "before the @ and behind the ? only"),
        ("https://${X}.host/w.pt", "before the @ and behind the ? only"),
        ("http://host/w.pt", "http is not safe on its way"),
    ],
)
def test_where_a_variable_may_stand(place, url, words):
    data = tiny_data(backbones=[{"name": "timm:test_resnet", "weights": url}])
    write_sweep(place.folder / "tiny.yaml", data)
    assert told(place, "validate", "tiny.yaml") == 2 and words in place.said[0]


def test_an_exception_of_anybodys(place, monkeypatch):
    def broken(arguments: object) -> int:
        try:
            raise KeyError(f"https://me:{CANARY}@host")
        except KeyError as error:
            raise OSError(
                f"Authorization: Bearer {CANARY}; {{'api_key': '{CANARY}-long-enough'}}"
            ) from error

    monkeypatch.setitem(cli._VERBS, "validate", broken)
    assert told(place, "validate", "x") == 3
    assert place.leaks() == [] and "Bearer ***" in place.said[0] and "Traceback" in place.said[1]


@pytest.fixture
def redacted_logs() -> Iterator[None]:
    factory, hook = logging.getLogRecordFactory(), threading.excepthook
    redaction.redact_logs()
    yield
    logging.setLogRecordFactory(factory)
    threading.excepthook = hook


def test_logs_of_any_library_and_threads_that_die(redacted_logs, caplog):
    url = f"http://me:{CANARY}@host/"
    logging.getLogger("urllib3.connectionpool").warning("retrying %s (token=%s)", url, CANARY)
    try:
        raise ConnectionError(url)
    except ConnectionError:
        logging.getLogger("mlflow").exception("failed")
    thread = threading.Thread(target=lambda: int(f"password={CANARY}"), name="t")
    thread.start()
    thread.join()
    assert CANARY not in caplog.text and "retrying http://host/ (token=***)" in caplog.text
    assert "ConnectionError: http://host/" in caplog.text and "thread t ended" in caplog.text
    logging.getLogger("x").warning("%d arguments", 2)
    assert caplog.records[-1].args == (2,)  # what holds no secret is not touched


def test_the_secret_reaches_its_server_and_no_other(place, monkeypatch, tmp_path):
    found = resolve_weights(
        BackboneSpec(name="timm:test_resnet", weights=URL % place.port), None, place.said.append
    )
    assert found is not None and found.path.is_file()
    monkeypatch.setenv("CANARY_PASSWORD", "wrong-password")
    spec = BackboneSpec(name="timm:test_resnet", weights=URL % place.port + "&y=1")
    with pytest.raises(ResourceError, match="401 .*log in or give a token") as error:
        resolve_weights(spec, None, place.said.append)
    place.said.append(str(error.value))
    assert place.leaks() == [] and "wrong-password" not in "".join(place.said)


def test_a_password_does_not_follow_a_redirect(store, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    url = f"http://me:{CANARY}@127.0.0.1:{store}/moved"
    with pytest.raises(transfer.Refused, match="401"):
        with transfer.open_url(url, 0, None, 10):
            raise AssertionError("never here")
    assert SEEN[-1] == ("/elsewhere", None)


@pytest.mark.ray
def test_a_private_rays_logs_hold_no_canary(tmp_path, store):
    place = prepare(tmp_path, store)
    scratch = Path(tempfile.mkdtemp(prefix="r"))  # a socket's path must be short
    ray: Mapping[str, Any] = {"RAY_TMPDIR": str(scratch), "RAY_AUTH_TOKEN": CANARY}
    try:
        code = place.command("run", "tiny.yaml", "--home", "home", "--num-cpus", "2", **ray)
        assert code == 1 and list(scratch.rglob("raylet.out"))
        assert place.leaks() == [] and place.leaks(scratch) == []
    finally:
        shutil.rmtree(scratch)
