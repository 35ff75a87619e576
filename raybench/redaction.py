"""Secrets, which are named and never written: found in sweep files, hidden in all that is said.

Messages, logs and tracebacks pass ``redact``. A secret is known by its place (``user:password@`` in
an address, ``signature=`` in its query, ``password:`` in a file, an ``Authorization`` header), by
its shape (keys of AWS, GitHub, Hugging Face; JWT), or by its value, where a variable like
``HF_TOKEN`` holds it. Names count by whole parts: ``token`` and ``hf_token`` are, ``tokenizer`` is
not. Every pattern takes a time linear in the text: no part can give back what another would take.
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
_ORDINARY = frozenset(
    # Passwords of test servers and modes of *_AUTH: hidden by place, since hiding them by value
    # would blank every path and command.
    "raybench mlflow optuna postgres postgresql sqlite python pytest images dataset datasets "
    "backbone backbones resnet resnet18 resnet50 status report sweeps trials ledger tracking "
    "checkpoint checkpoints artifact artifacts results models weights password passwd secret "
    "secrets tokens default changeme localhost server docker github huggingface enabled disabled "
    "required optional always sometimes bearer digest kerberos anonymous".split()
)
_USER_INFO = re.compile(r"(?<=://)[^/\s'\"<>]*@")
_PASSWORD = re.compile(r"://[^:/\s]*:([^@\s]{1,2048}+)@")  # as SQLAlchemy reads it, with slashes
_END = r"(?![^\s'\",;&<>)\]}])"
_KEYS = r"(?:api|access|secret|private|account|storage|auth)[_.-]?key"
_SUFFIX = r"(?:[_-]?(?:id|value|base|old|new|prod|dev|test|read|write|\d{1,3})){0,2}+"
_QUERY = re.compile(
    r"(?i)([?&;](?:[^=&;?\s'\"]{0,64}?(?:token|secret|passw(?:or)?d|credentials?|signature"
    rf"|(?<![a-z])(?:key|pass|pwd|auth|authorization)|{_KEYS}){_SUFFIX}|sig)=)"
    r"(?!\$\{\w+\}(?![^&;\s'\"<>)#]))[^&;\s'\"<>)#]+"
)
_NUMBER = r"-?\d{0,5}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?"
_NO_SECRET = (
    rf"(?:true|false|none|null|str|required|missing|invalid|empty|unset)[.:]?{_END}"
    rf"|\$\{{\w{{1,99}}\}}(?:#|[.:]?{_END})"
)
_EQUALS = r"(?:\s*+=(?!=)\s*+['\"]?+|['\"]\s*+:\s*+['\"])"
# What follows a colon is often prose ("password: authentication failed") or where to get one.
_COLON = r"[ \t]*+:[ \t]*+(?:['\"]|(?!https?://|~/|[a-z-]++[.:!?]?+[ \t]++\S))"
_VALUE = (
    r"(?:(?<=['\"])[^\s'\",;&<>)\]}][^'\"\n]{0,255}+(?=['\"])"  # quoted, with blanks and commas
    r"|[^\s'\",;&<>)\]}]++)"
)
_NAMED = re.compile(
    r"(?i)((?:passwor[dt]|passwd|passphrase|pwd(?!\s*+=\s*+/)|(?:_|ssh)pass|secret"
    rf"|{_KEYS}){_SUFFIX}(?:{_EQUALS}|{_COLON}))(?!{_NO_SECRET}){_VALUE}"
)
_TOKEN = re.compile(  # also a part of a network: "cls_token: torch.Size([1, 1, 192])"
    rf"(?i)(token{_SUFFIX}(?:{_EQUALS}|{_COLON}(?=\S{{16}})))"
    rf"(?!{_NO_SECRET}|{_NUMBER}[.:]?{_END}){_VALUE}"
)
_HEADER = re.compile(
    r"(?i)(\bauthorization['\"]?\s*+[:=]\s*+['\"]?(?:(?:bearer|basic|token)\s++)?"
    r"|\bbearer\s++(?=\S{16}))[^\s'\",]+"
)
_SHAPES = re.compile(  # one behind the other count as one
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[0-9A-Z]{16,}|hf_[A-Za-z0-9]{20,}"
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}"
    r"|eyJ[\w-]{8,2048}+\.[\w-]{4,}+(?:\.[\w-]+){1,3})++"  # JWT and JWE
)
_SECRET_VARIABLE = re.compile(
    r"(?i)^(?!.*_(?:PATH|FILE|DIR)$).*(?:(?:tokens?|secrets?)(?![a-z])"
    rf"|passw(?:or)?d|passphrase|sshpass|{_KEYS})"
)
_PERHAPS_SECRET = re.compile(r"(?i)(?:^|_)(?:pass|pwd|key|auth|credentials?)$")  # or a path
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_logger = logging.getLogger(__name__)
_filled_in: set[str] = set()  # by ``fill_in``, whatever their variables are called


def redact(text: str, environ: Mapping[str, str] | None = None) -> str:
    """``text`` without secrets, fit for people, logs and stores. Twice is the same as once."""
    for value in _known_values(os.environ if environ is None else environ):
        text = text.replace(value, HIDDEN)
    text = _USER_INFO.sub(lambda found: "" if _is_secret(found[0]) else found[0], text)
    for pattern in (_QUERY, _NAMED, _TOKEN, _HEADER):
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return _SHAPES.sub(HIDDEN, text)


def _known_values(environ: Mapping[str, str]) -> list[str]:
    """Secret values of this process, the longest first; also as an address would hold them."""
    found = set(_filled_in)
    for name, value in environ.items():
        if _is_secret_variable(name, value):
            found.add(value)
        found.update(_PASSWORD.findall(value))
    long = {v for v in found if len(v) >= _LEAST and v.lower() not in _ORDINARY}
    return sorted(long | {quote(value, safe="") for value in long}, key=len, reverse=True)


def _is_secret_variable(name: str, value: str) -> bool:
    """By its name, unless it holds a path: to a key, or as ``PWD`` does."""
    if os.path.exists(value):  # noqa: PTH110 - a Path raises where a value is too long for one
        return False
    if _PERHAPS_SECRET.search(name) and (value[:1] != "/" or value.endswith("=")):  # base64
        return True
    return _SECRET_VARIABLE.match(name) is not None


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
