"""Secrets, which are named and never written: found in sweep files, hidden in all that is said.

Messages, logs and tracebacks pass ``redact``. A secret is known by its place (``user:password@`` in
an address, ``signature=`` in its query, an ``Authorization`` header), by its shape (keys of AWS,
GitHub, Hugging Face), or by its value, where a variable like ``HF_TOKEN`` holds it.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import traceback
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

Place = tuple[str | int, ...]
HIDDEN = "***"
_LEAST = 6  # characters; shorter values would hide ordinary words
_USER_INFO = re.compile(r"(?<=://)[^/\s'\"<>]*@")
_PASSWORD = re.compile(r"://[^:/\s]*:([^@\s]+)@")  # as SQLAlchemy reads it, slashes included
_QUERY = re.compile(
    r"(?i)([?&;](?:[^=&;\s'\"]{0,64}(?:token|secret|passw|signature|credential|auth|key)"
    r"[^=&;\s'\"]{0,64}|sig|pwd)=)(?!\$\{\w+\}(?![^&;\s'\"<>)#]))[^&;\s'\"<>)#]+"
)
_BECOMES = r"\s*=\s*['\"]?|['\"]\s*:\s*['\"]"
_ASSIGNED = re.compile(
    r"(?i)(?<![?&;])\b([\w.-]{0,64}(?:token|secret|passwor[dt]|passwd|pwd)\w{0,64}"
    rf"(?:{_BECOMES}))(?!(?:true|false|none|null|[\d.]+)\b)[^\s'\",;&<>)\]}}]+"
)
_KEY = re.compile(rf"(?i)\b([\w.-]{{0,64}}key\w{{0,64}}(?:{_BECOMES}))[^\s'\",;&<>)\]}}]{{16,}}")
_HEADER = re.compile(
    r"(?i)(\bauthorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|token)\s+)?"
    r"|\bbearer\s+(?=\S{16}))[^\s'\",]+"
)
_SHAPES = re.compile(
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{30,}"
    r"|github_pat_\w{30,}|glpat-[\w-]{20,})"
)
_SECRET_VARIABLE = re.compile(
    r"(?i)^(?!TOKENIZERS_)(?!.*_(?:PATH|FILE|DIR)$)"
    r".*(?:token|secret|passw(?:or)?d|passphrase|api_?key|access_?key|private_?key)"
)
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_logger = logging.getLogger(__name__)
_filled_in: set[str] = set()  # by ``fill_in``, whatever their variables are called


def redact(text: str, environ: Mapping[str, str] | None = None) -> str:
    """``text`` without secrets, fit for people, logs and stores. Twice is the same as once."""
    for value in _known_values(os.environ if environ is None else environ):
        text = text.replace(value, HIDDEN)
    text = _USER_INFO.sub(lambda found: "" if _is_secret(found[0]) else found[0], text)
    for pattern in (_QUERY, _ASSIGNED, _KEY, _HEADER):
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return _SHAPES.sub(HIDDEN, text)


def _known_values(environ: Mapping[str, str]) -> list[str]:
    """Secret values of this process, the longest first; also as an address would hold them."""
    found = set(_filled_in)
    for name, value in environ.items():
        if _SECRET_VARIABLE.match(name):
            found.add(value)
        found.update(_PASSWORD.findall(value))
    long = {value for value in found if len(value) >= _LEAST}
    return sorted(long | {quote(value, safe="") for value in long}, key=len, reverse=True)


def secret_in(text: str) -> str:
    """What is secret in a value of a sweep file, in words; empty where nothing is.

    ``${NAME}`` in place of a secret is none.
    """
    if any(map(_is_secret, _USER_INFO.findall(text))):
        return "a password or token before the @"
    if _QUERY.search(text):
        return "a signature, key or token in the query"
    return "an access token" if _SHAPES.search(text) else ""


def _is_secret(user_info: str) -> bool:
    """Whether ``user:password@`` or ``token@`` holds more than names of variables."""
    user, colon, password = user_info.removesuffix("@").partition(":")
    return VARIABLE.sub("", password if colon else user) != ""


def fill_in(url: str, environ: Mapping[str, str] | None = None) -> str:
    """``url`` with every ``${NAME}`` replaced by that variable; ``redact`` hides it from then on.

    Raises:
        KeyError: names the variable that is not set.
    """
    env = os.environ if environ is None else environ
    values = {name: env[name] for name in VARIABLE.findall(url)}
    _filled_in.update(value for value in values.values() if len(value) >= _LEAST)
    return VARIABLE.sub(lambda found: values[found[1]], url)


def texts_in(value: object, path: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every text in plain data, with the path of its key."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from texts_in(below, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, below in enumerate(value):
            yield from texts_in(below, (*path, index))


def redacted_traceback(error: BaseException) -> str:
    return redact("".join(traceback.format_exception(error)))


def redact_logs() -> None:
    """Every log record and every thread's last words of this process, whoever writes them.

    A record is changed where it is made, since handlers are many: those of MLflow, Optuna and Ray.
    """
    before = logging.getLogRecordFactory()
    if getattr(before, "redacts", False):
        return

    def make(*args: Any, **options: Any) -> logging.LogRecord:
        record = before(*args, **options)
        _redact_record(record)
        return record

    make.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make)
    threading.excepthook = _tell_of_thread


def _redact_record(record: logging.LogRecord) -> None:
    try:
        said = record.getMessage()
    except Exception:  # noqa: BLE001 - somebody's arguments do not fit; the handler reports it
        return
    fit = redact(said)
    if fit != said:
        record.msg, record.args = fit, None
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = redacted_traceback(record.exc_info[1]).rstrip()


def _tell_of_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is not None and what.exc_type is not SystemExit:
        name = "?" if what.thread is None else what.thread.name
        _logger.error("thread %s ended", name, exc_info=what.exc_value)
