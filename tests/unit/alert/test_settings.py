"""Settings of alerts."""

import pytest

from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.settings import load_settings

CANARY = "cAnArY7f3e"


def test_usual_settings_tell_nobody() -> None:
    """Would let back: a heartbeat or a watchdog that nobody asked for."""
    settings = load_settings({})
    assert (settings.heartbeat_url, settings.watchdog_target) == (None, None)
    assert settings.ui_url == "http://127.0.0.1:3000"
    assert settings.templates_path is None


def test_settings_show_no_secret() -> None:
    """Would let back: the token of the heartbeat in a traceback or a log."""
    settings = load_settings(
        {
            "RESMON_HEARTBEAT_URL": f"https://hc.example.org/{CANARY}",
            "RESMON_WATCHDOG_URL": f"slack://{CANARY}",
            "RESMON_UI_URL": "https://resmon.example.org/",
        }
    )
    assert settings.heartbeat_url == f"https://hc.example.org/{CANARY}"
    assert settings.watchdog_target == "env:RESMON_WATCHDOG_URL"
    assert settings.ui_url == "https://resmon.example.org"
    assert CANARY not in repr(settings)


@pytest.mark.parametrize(
    "environment",
    [
        {"RESMON_HEARTBEAT_URL": f"hc.example.org/{CANARY}"},
        {"RESMON_HEARTBEAT_URL": f"ftp://hc.example.org/{CANARY}"},
        {"RESMON_HEARTBEAT_URL": f"https://hc.example.org/{CANARY} x"},
        {"RESMON_HEARTBEAT_URL": f"https://hc.example.org:{CANARY}/"},
        {"RESMON_UI_URL": f"https://me:{CANARY}@resmon.example.org"},
        {"RESMON_UI_URL": "https://"},
        {"RESMON_WATCHDOG_URL": f"slack://{CANARY}", "RESMON_WATCHDOG_URL_FILE": "/run/secrets/w"},
    ],
)
def test_what_cannot_be_used_is_named_and_not_quoted(environment: dict[str, str]) -> None:
    """Would let back: a typo that is found when the first alert is lost, or a token in an error."""
    with pytest.raises(ConfigurationInvalid, match=next(iter(environment))) as caught:
        load_settings(environment)
    assert CANARY not in str(caught.value)
