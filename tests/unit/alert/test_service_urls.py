"""Where URLs come from, and that nothing secret of them is shown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.service_urls import (
    ERROR_CHARACTERS,
    parse_target,
    read_urls,
    readers_problem,
    without_secrets,
)

CANARY = "cAnArY-7f3e"
URLS = [
    f"mailtos://user:{CANARY}@smtp.example.org?to=ops@example.org",
    f"slack://{CANARY}/B0001/{CANARY}x/#ops",
    f"jsons://user:{CANARY}@hooks.example.org/v1/{CANARY}?key={CANARY}",
    f"tgram://12345:{CANARY}/-100",
    f"https://hooks.slack.com/services/T1/B1/{CANARY}",
    f"json://user:p%40{CANARY}%2F1@localhost/a%20{CANARY}",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        "could not reach {} today",
        "HTTPConnectionPool(host='x', port=1): Max retries exceeded with url: {} (Caused by y)",
    ],
)
def test_no_secret_of_a_url_is_shown(url: str, frame: str) -> None:
    """Would let back: passwords and tokens in alert.deliveries.last_error and in logs."""
    _, _, rest = url.partition("://")
    parts = [url, rest, rest.partition("/")[2], rest.upper(), f"user p@{CANARY}/1"]
    for part in parts:
        assert CANARY.lower() not in without_secrets(frame.format(part), [url]).lower()


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=4))
def test_any_token_is_taken_out(token: str) -> None:
    """Would let back: a secret that is shown because of its characters or its case."""
    shown = without_secrets(f"refused: {token} is wrong", [f"slack://{token}/b"])
    assert token.lower() not in shown.lower() or token.lower() in "refused: *** is wrong"


def test_a_short_password_is_taken_out_too() -> None:
    """Would let back: a password of three characters in an error."""
    assert "xyz" not in without_secrets("login xyz failed", ["mailto://me:xyz@smtp.example.org"])


def test_what_helps_stays() -> None:
    """Would let back: errors of which nothing is left but stars."""
    text = "Connection from here to smtp.example.org refused, format text, error=535"
    url = "mailtos://u:secret1@smtp.example.org?from=a@b.example&to=c@d.example&format=text"
    assert without_secrets(text, [url]) == text


def test_other_urls_and_long_answers_are_cut() -> None:
    """Would let back: a service that answers with its own secret URL, or with a page."""
    text = without_secrets("see https://other.example/secret " + "x" * 5000, [])
    assert "secret" not in text
    assert len(text) == ERROR_CHARACTERS


@pytest.mark.parametrize(
    "text", [f"slack://{CANARY}/b", f"mailto://u:{CANARY}@x", "ops", "env:", ""]
)
def test_an_address_in_place_of_its_hiding_place_is_refused(text: str) -> None:
    """Would let back: secrets in the table of routes, or in the message that refuses them."""
    with pytest.raises(ConfigurationInvalid, match="env:NAME") as caught:
        parse_target(text)
    assert CANARY not in str(caught.value)


def test_urls_come_from_variables_and_files(tmp_path: Path) -> None:
    """Would let back: remarks and several URLs in a line that are taken for one address."""
    path = tmp_path / "ops urls"
    path.write_text("# mine\njson://a/b,c\n\n  json://d , mailto://e?to=f,g\n")
    path.chmod(0o600)
    target = parse_target(f"file:{path}")
    assert read_urls(target, {}) == ("json://a/b,c", "json://d", "mailto://e?to=f,g")
    assert read_urls(parse_target("env:OPS"), {"OPS": "json://a json://b"}) == (
        "json://a",
        "json://b",
    )
    assert readers_problem(target) is None
    path.chmod(0o644)
    assert "chmod 600" in str(readers_problem(target))


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("env:OPS_URLS", "OPS_URLS is not set"),
        ("env:EMPTY", "EMPTY is not set"),
        ("env:WRONG", "place 1 is not a URL"),
        ("file:/nowhere/at/all", "/nowhere/at/all"),
    ],
)
def test_what_is_missing_is_named(target: str, told: str) -> None:
    """Would let back: a route that fails without saying which variable or file is missing."""
    with pytest.raises(ConfigurationInvalid, match=told) as caught:
        read_urls(parse_target(target), {"EMPTY": " ", "WRONG": CANARY})
    assert CANARY not in str(caught.value)
