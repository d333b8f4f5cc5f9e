"""RESMON_HOST_KEYS: strict unless first use is asked for by its name."""

import pytest

from resmon_resources.errors import ConfigurationInvalid
from resmon_resources.settings import load_settings


@pytest.mark.parametrize(
    ("text", "expected"), [("", False), ("known_hosts", False), ("first-use", True)]
)
def test_the_mode_is_strict_unless_first_use_is_asked_for(text: str, *, expected: bool) -> None:
    """Would let back: an empty variable that opens the door."""
    assert load_settings({"RESMON_HOST_KEYS": text}).trusts_first_use is expected
    assert not load_settings({}).trusts_first_use


@pytest.mark.parametrize("text", ["no", "ignore", "FIRST-USE", "first_use", "accept-new"])
def test_another_word_is_refused_with_those_allowed(text: str) -> None:
    """Would let back: a misspelt mode taken for one of the two."""
    with pytest.raises(ConfigurationInvalid, match=r"known_hosts .* or first-use") as caught:
        load_settings({"RESMON_HOST_KEYS": text})
    assert repr(text) in str(caught.value)
