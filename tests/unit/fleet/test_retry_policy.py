"""When a server is tried again."""

from resmon_resources.fleet import RetryPolicy


def test_quick_retries_then_ever_slower_up_to_the_ceiling() -> None:
    """Without a ceiling a server that was down for a day stays away for another."""
    policy = RetryPolicy()
    delays = [policy.delay(failures, "refused") for failures in range(1, 12)]
    assert delays == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600]
    assert policy.delay(10_000, "timeout") == 600


def test_the_third_failure_is_final() -> None:
    """Two retries: a single lost packet must not make a server an error."""
    policy = RetryPolicy()
    assert [policy.is_final(failures, "timeout") for failures in (1, 2, 3, 4)] == [
        *(False, False, True, True),
    ]


def test_refused_logins_and_host_keys_are_final_and_slow() -> None:
    """Five refused logins in ten minutes are a ban by fail2ban's defaults."""
    policy = RetryPolicy()
    for cause in ("auth_failed", "host_key_changed", "host_key_unknown"):
        assert policy.is_final(1, cause)
    attempts, at = 0, 0.0
    while at < 600:
        attempts += 1
        at += policy.delay(attempts, "auth_failed") * (1 - policy.jitter)
    assert attempts < 5


def test_delays_are_spread() -> None:
    """A fleet that lost its network must not come back in one instant."""
    policy = RetryPolicy()
    spread = [policy.spread(100) for _ in range(200)]
    assert all(75 <= delay <= 125 for delay in spread)
    assert max(spread) - min(spread) > 10
