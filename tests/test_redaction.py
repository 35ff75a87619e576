"""Secrets by place, by shape and by value; and what is none stays as it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raybench import redaction
from raybench.errors import DataError, ResourceError
from raybench.redaction import fill_in, redact, secret_in, texts_in

C = "cAnArY7b1e55ed"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w-5N_XgL0n3I9PlFUP0THsR8"


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
        (f"password: {C}", "password: ***"),
        ("password: hunter2secret", "password: ***"),
        ("password: hunter\nuser: me", "password: ***\nuser: me"),
        ("  db_password: 'two words, and more'  # mine", "  db_password: '***'  # mine"),
        ('passphrase="two words, and more"', 'passphrase="***"'),
        ("login with password: hunter2 for me", "login with password: *** for me"),
        ("api_key: sk-1234", "api_key: ***"),
        (f"curl -H 'X-Api-Key: {C}' h", "curl -H 'X-Api-Key: ***' h"),
        (f"> X-Auth-Token: {C}-{C}", "> X-Auth-Token: ***"),
        (f"hf_token: {C}{C}", "hf_token: ***"),
        ("password=12345", "password=***"),
        ("password=none-of-yours", "password=***"),
        ("DB_PASS=short SMTP_PASS='x'", "DB_PASS=*** SMTP_PASS='***'"),
        ("SSHPASS=hunter ssh host", "SSHPASS=*** ssh host"),
        ("Server=h;Uid=me;Pwd=hunter;", "Server=h;Uid=me;Pwd=***;"),
        ("PGPASSWORD=a dbpassword=b", "PGPASSWORD=*** dbpassword=***"),
        ("AccountName=me;AccountKey=aB/c+d==;E=x", "AccountName=me;AccountKey=***;E=x"),
        ("SECRET_KEY_BASE=abc accessToken=abc", "SECRET_KEY_BASE=*** accessToken=***"),
        ("token_2=abc TOKEN_PROD=abc", "token_2=*** TOKEN_PROD=***"),
        (
            "https://h/w?AWSAccessKeyId=A&Signature=B&y=1",
            "https://h/w?AWSAccessKeyId=***&Signature=***&y=1",
        ),
        (
            "https://h/w?X-Amz-Security-Token=A&key=B",
            "https://h/w?X-Amz-Security-Token=***&key=***",
        ),
        ("https://h/w?subscription-key=A&auth=B", "https://h/w?subscription-key=***&auth=***"),
        (f"it said {JWT}", "it said ***"),
        ("AKIAABCDEFGHIJKLMNOPhf_" + "aB3" * 10, "***"),
        ("ftp://h/w?oauthSignature=A&pass=B", "ftp://h/w?oauthSignature=***&pass=***"),
        (f"jwt_{JWT}, expired", "jwt_***, expired"),
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
        "https://me:${TOKEN}@host/w.pt?token=${TOKEN}#x",
        "timm:hf-hub:org/name@v1.0",
        "--set backbones.0.name=timm:resnet18",
        "unexpected KeyError: 'trial'",
        "sorted by primary_key=id",
        "tokenizer=bert, tokens=7, token_count=5, token_type=bearer, token_mixer=attention",
        "column key='patient_identifier'",
        "unexpected key = timm:convnext_tiny.fb_in22k",
        "monkey_species=macaque, keyboard_layout='international_querty'",
        "cls_token=0.0213456, reg_token=1.5e-3, mask_token=64",
        "size mismatch for cls_token: copying a param with shape torch.Size([1, 1, 384])",
        "dist_token: torch.Size([1, 1, 192])",
        "if token == expected:",
        'Missing key(s) in state_dict: "cls_token", "pos_embed"',
        "FATAL:  password authentication failed for user",
        "password: authentication failed",
        "api_key: required",
        "the token: put it into ~/.ray/auth_token",
        "token: https://huggingface.co/settings/tokens",
        "token: ~/.ray/auth_token/of/this/cluster",
        "password: ${PGPASSWORD}, token=${HF_TOKEN}",
        "PWD=/home/me/work",
        "the Ray dashboard at 10.0.0.1:8265 asks for no token: whoever reaches it runs code",
        "a secretary=anna passes=3 bypass=left compass: north-east",
        "https://host/a?tokenizer=bert&monkey=7&author=anna&design=flat",
        "sweep 'retina' goes on: 12 of 40 pairs done, 3 failed, 25 waiting",
        "datasets.0.path: /data/retina has 5 classes, 1203 images; key 'label' is missing",
        "trial 7 (a1b2c3) out of memory at batch 64: peak_memory_gb=11.8, retried with 32",
        "/mnt/lab/raybench-home/checkpoints/retina/vit_small-9f3c/a2/best.safetensors",
        "val/balanced_accuracy=0.9132 val/macro_auroc=0.987 loss=1.2e-05 epoch=5",
        "timm:vit_base_patch16_clip_224.laion2b_ft_in12k_in1k",
        "timm:eva02_large_patch14_448.mim_m38m_ft_in22k_in1k",
        "hf:facebook/dinov2-base@f9e44c814b77203eaa57a6bdbbd535f21ede1415",
        "raybench run sweep.yaml --set recipe.epochs=5 --home /data/home --num-cpus 8",
        "raybench report retina --home raybench-home --html report.html",
        "sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "split_hash: e3b0c44298fc1c149afbf4c8996fb924, cache key e3b0c44298fc1c14",
        "eyJ is how a JWT begins; v1.10.3; convhf_abcdefghijklmnopqrst",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text, {}) == text


SECRET_NAMES = """MYSQL_PWD DB_PASS SMTP_PASS SSHPASS AZURE_STORAGE_KEY OPENAI_KEY REDIS_AUTH
    CREDENTIALS X_CREDENTIAL PASS KEY HF_TOKEN GITHUBTOKEN API_TOKENS SECRET CLIENT_SECRETS apiKey
    PGPASSWORD RESTIC_PASSWORD_OLD SSH_PASSPHRASE AWS_ACCESS_KEY_ID STORAGE_ACCOUNTKEY""".split()
OTHER_NAMES = """TOKENIZER TOKENIZERS_PARALLELISM RAY_AUTH_MODE KEYBOARD MONKEY AUTHOR COMPASS
    SECRETARY PASSES GIT_AUTHOR_NAME KEY_COLUMN DB_PASSWORD_FILE SECRETS_DIR""".split()


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
        *(({name: C}, f"said {C}", "said ***") for name in SECRET_NAMES),
        *(({name: C}, f"said {C}", f"said {C}") for name in OTHER_NAMES),
        ({"BLOB_KEY": "/b+c/d=="}, "/b+c/d==", "***"),
        ({"AWS_SECRET_ACCESS_KEY": "/b/c/d/e"}, "/b/c/d/e", "***"),
        ({"PWD": "/nowhere/at/all"}, "in /nowhere/at/all/x", "in /nowhere/at/all/x"),
        ({"SSL_KEY": "/nowhere/a.key"}, "/nowhere/a.key", "/nowhere/a.key"),
        ({"MY_SECRET": __file__}, __file__, __file__),
        ({"MY_TOKEN": "x" * 9999}, "x" * 9999, "***"),
        *(
            ({"DB_PASSWORD": word}, f"{word} /home/{word}/x", f"{word} /home/{word}/x")
            for word in ["raybench", "mlflow", "optuna", "postgres", "password", "localhost"]
        ),
        ({"X": "postgresql://raybench:raybench@h"}, "raybench run x.yaml", "raybench run x.yaml"),
        (
            {"DB_PASSWORD": "postgres"},
            "http://me:postgres@h password=postgres",
            "http://h password=***",
        ),
        ({"REDIS_AUTH": "Disabled"}, "Disabled", "Disabled"),
    ],
)
def test_by_value(environ, text, fit):
    assert redact(text, environ) == fit


PIECES = (
    "password secret token_2 api_key X-Api-Key _pass sshpass pwd Authorization Bearer basic "
    "?sig ?key &token ;auth :// http:// me:pw@ @ = == : ; & ? ' \" , ) ] } < > # / . - _ *** ${X} "
    "none 12 1.5 hunter2 AKIAABCDEFGHIJKLMNOP hf_ ghp_ glpat- github_pat_ "
    "eyJhbGciOiJI eyJ abcdefghijklmnopqrst"
).split()
TEXTS = st.lists(st.sampled_from([*PIECES, " ", "\t", "\n", JWT]) | st.text(max_size=3)).map(
    "".join
)


@given(TEXTS)
@settings(max_examples=500)
def test_any_text_can_be_redacted_and_twice_is_once(text):
    once = redact(text, {})
    assert redact(once, {}) == once


@given(
    st.text("aB3-_+/!%", min_size=6, max_size=40),
    st.sampled_from(["http://me:{}@h", "password={}", "secret: '{}'", "?sig={}&", "api_key: {}3"]),
    TEXTS,
)
def test_a_secret_in_its_place_is_gone_whatever_follows(secret, place, rest):
    if secret.strip("-_") and "/" not in secret:
        assert secret not in redact(place.format(secret), {}).replace("***", "")
        assert redact(place.format(secret) + "\n" + rest, {}).count(secret) <= rest.count(secret)


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "a.", "?a", "://", "://a:", "token", "token_1", "password ", "password: ", "?token"),
        *("api_", "_key", "api_api", "secret='", "password: a ", "eyJ", "-eyJ", "eyJaaaaaaaa."),
        *("authorization: ", "bearer ", "hf_", "ghp_", "&a;", "'\": '", "${A}", "token: -", "-1.e"),
        *('password="a', "secret_id_id", "token=1", " ", "\n", "="),
    ],
)
@pytest.mark.parametrize("start", ["", "token", "password=", "secret: ", "authorization: "])
def test_long_texts_take_no_time(start, piece):
    text = start + piece * (40_000 // len(piece))
    started = time.process_time()
    redact(text, {"X": text})
    assert time.process_time() - started < 0.5


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
