"""Secrets by place, by shape and by value; and what is none stays as it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raybench import redaction
from raybench.errors import DataError, ResourceError
from raybench.redaction import fill_in, redact, secret_in, texts_in

C = "cAnArY7b1e55ed"


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        (f"http://me:{C}@host/x", "http://host/x"),
        (f"postgresql+psycopg://me:{C}@h@host:5/x", "postgresql+psycopg://host:5/x"),
        (f"see 'https://{C}@host', then", "see 'https://host', then"),
        (f"https://h/w?X-Amz-Signature={C}&a=1#x", "https://h/w?X-Amz-Signature=***&a=1#x"),
        (f"https://h/w?sig={C}", "https://h/w?sig=***"),
        (f"https://h/w?a=1;apikey={C})", "https://h/w?a=1;apikey=***)"),
        (f"password={C}, user=me", "password=***, user=me"),
        (f"HF_TOKEN='{C}'", "HF_TOKEN='***'"),
        (f'{{"client_secret": "{C}"}}', '{"client_secret": "***"}'),
        (f"api_key = {C}-{C}", "api_key = ***"),
        (f"Authorization: Bearer {C}", "Authorization: Bearer ***"),
        (f"{{'authorization': 'Basic {C}'}}", "{'authorization': 'Basic ***'}"),
        (f"sent bearer {C}-{C}", "sent bearer ***"),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
        ("hf_" + "aB3" * 10, "***"),
        ("github_pat_" + "aB3" * 12, "***"),
    ],
)
def test_by_place_and_shape(text, fit):
    assert redact(text, {}) == fit and redact(fit, {}) == fit


@pytest.mark.parametrize(
    "text",
    [
        "write key=value, e.g. recipe.epochs=5",
        "space.lr: got 0; must be above 0",
        "global_pool='token', class_token=True, num_reg_tokens=4",
        "it answered 401: HF_TOKEN is missing or gives no access",
        "set RAY_AUTH_MODE=token, and put the token into ~/.ray/auth_token (chmod 600)",
        "https://host/a@b/c?download=true",
        "https://${USER}:${TOKEN}@host/w.pt?sig=${SIGNATURE}&y=1",
        "https://me:${TOKEN}@host/w.pt",
        "timm:hf-hub:org/name@v1.0",
        "--set backbones.0.name=timm:resnet18",
        "unexpected KeyError: 'trial'",
        "sorted by primary_key=id",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text, {}) == text


@pytest.mark.parametrize(
    ("environ", "text", "fit"),
    [
        ({"MY_TOKEN": C}, f"said {C} twice {C}", "said *** twice ***"),
        ({"db_password": C}, C, "***"),
        ({"AWS_SECRET_ACCESS_KEY": "a/b+c=d/e"}, "x a%2Fb%2Bc%3Dd%2Fe y", "x *** y"),
        ({"LEDGER": f"postgresql://me:{C}/x@host/y"}, f"login {C}/x failed", "login *** failed"),
        ({"https_proxy": f"http://me:{C}@p:8"}, f"proxy refused {C}", "proxy refused ***"),
        ({"A_TOKEN": "abcdef", "B_TOKEN": "abcdefgh"}, "abcdefgh", "***"),
        ({"MY_TOKEN": "short"}, "short", "short"),
        ({"RAY_AUTH_TOKEN_PATH": "/home/me/token"}, "/home/me/token", "/home/me/token"),
        ({"TOKENIZERS_PARALLELISM": "sometimes"}, "sometimes", "sometimes"),
        ({"HOME": "/home/me"}, "/home/me", "/home/me"),
    ],
)
def test_by_value(environ, text, fit):
    assert redact(text, environ) == fit


@given(st.text(), st.sampled_from(["{}", "http://{}@h", "token={}", "?sig={}&", "Bearer {}"]))
def test_any_text_can_be_redacted_and_twice_is_once(text, place):
    once = redact(place.format(text), {})
    assert redact(once, {}) == once


@pytest.mark.parametrize("text", ["a" * 200_000, "a." * 100_000, "?a" * 100_000, "://" * 60_000])
def test_long_texts_take_no_time(text):
    started = time.process_time()
    redact(text + "token=x")
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://h/w.pt", ""),
        ("https://me:${P}@h/w", ""),
        ("https://${T}@h/w?sig=${S}&b=${C}", ""),
        ("https://h/w?${QUERY}", ""),
        ("timm:hf-hub:a/b@main", ""),
        ("mail me@host about the token", ""),
        ("https://u:p@h/w", "a password or token before the @"),
        ("https://t@h/w", "a password or token before the @"),
        ("https://u:${P}x@h/w", "a password or token before the @"),
        ("https://h/w?sig=x", "a signature, key or token in the query"),
        ("https://h/w?id=1&X-Goog-Signature=x", "a signature, key or token in the query"),
        ("https://h/w?sig=${S}x", "a signature, key or token in the query"),
        ("hf_" + "a" * 30, "an access token"),
    ],
)
def test_what_a_sweep_file_may_hold(text, words):
    assert secret_in(text) == words


def test_variables_are_filled_in_and_hidden_from_then_on(monkeypatch):
    monkeypatch.setattr(redaction, "_filled_in", set())
    assert fill_in("https://me:${A}@h/w?x=${B}", {"A": C, "B": "1"}) == f"https://me:{C}@h/w?x=1"
    assert redact(f"{C} 1", {}) == "*** 1"
    with pytest.raises(KeyError, match="GONE"):
        fill_in("${GONE}", {})


def test_our_errors_hold_no_secret_wherever_they_are_caught():
    error = DataError([f"http://me:{C}@host", f"password={C}"])
    assert error.mistakes == ("http://host", "password=***") and C not in str(error)
    assert ResourceError(f"token={C}").sentences == ("token=***",)


def test_every_text_of_a_file_with_its_place():
    data = {"a": "x", "b": [1, {"c": "y"}], "d": {"e": ("z",)}, "f": None}
    assert list(texts_in(data)) == [(("a",), "x"), (("b", 1, "c"), "y"), (("d", "e", 0), "z")]
