"""The order of judgement of host keys: revoked, pin, known_hosts, first use."""

import base64
from pathlib import Path

import pytest

from resmon_resources.errors import CollectionError
from resmon_resources.host_keys import HostKey, verify_host_key
from resmon_resources.known_hosts import KnownHosts

A = HostKey("ssh-ed25519", b"key a")
B = HostKey("ssh-ed25519", b"key b")
C = HostKey("ecdsa-sha2-nistp256", b"key c")


def judge(
    shown: HostKey,
    *lines: str,
    folder: Path,
    pinned: HostKey | None = None,
    first_use: bool = False,
) -> tuple[str, list[str]]:
    """What is said of a key: who vouches for it or the cause of the refusal; and what is pinned."""
    path = folder / "known_hosts"
    path.write_text("".join(f"{line}\n" for line in lines))
    seen: list[str] = []
    try:
        said = verify_host_key(
            shown,
            host="db1",
            port=22,
            known_hosts=KnownHosts(path),
            server_name="db-1",
            pinned=None if pinned is None else pinned.text,
            on_first_use=seen.append if first_use else None,
        )
    except CollectionError as error:
        return error.cause, seen
    return said, seen


@pytest.mark.parametrize("first_use", [False, True])
@pytest.mark.parametrize(
    ("shown", "listed", "pinned", "expected"),
    [
        (A, [], A, "pinned"),
        (B, [], A, "host_key_changed"),
        (C, [], A, "host_key_changed"),
        (A, [B], A, "pinned"),
        (B, [B], A, "host_key_changed"),
        (A, [A], None, "known_hosts"),
        (A, [A, C], None, "known_hosts"),
        (B, [A], None, "host_key_changed"),
    ],
)
def test_a_pin_decides_alone_and_known_hosts_without_one(
    tmp_path: Path,
    shown: HostKey,
    listed: list[HostKey],
    pinned: HostKey | None,
    expected: str,
    *,
    first_use: bool,
) -> None:
    """Would let back: a changed key that passes because something else vouches for it, or because
    the mode of first use takes it for a new one."""
    lines = [f"db1 {key.text}" for key in listed]
    said = judge(shown, *lines, folder=tmp_path, pinned=pinned, first_use=first_use)
    assert said == (expected, [])


def test_only_a_server_of_which_nothing_is_known_is_taken_at_first_use(tmp_path: Path) -> None:
    """Would let back: a first use that nobody asked for, or one whose key is not handed on."""
    assert judge(A, folder=tmp_path) == ("host_key_unknown", [])
    assert judge(A, f"db2 {B.text}", folder=tmp_path, first_use=True) == (
        "pinned now, at first use",
        [A.text],
    )


@pytest.mark.parametrize("pinned", [A, None])
def test_a_revoked_key_passes_by_nothing(tmp_path: Path, pinned: HostKey | None) -> None:
    """Would let back: a withdrawn key that is still pinned, or is pinned at first use."""
    said = judge(A, f"@revoked * {A.text}", folder=tmp_path, pinned=pinned, first_use=True)
    assert said == ("host_key_changed", [])


def test_a_refusal_names_both_keys_and_the_remedy(tmp_path: Path) -> None:
    """Would let back: an operator who edits known_hosts, to no effect, because a pin decides."""
    path = tmp_path / "known_hosts"
    path.write_text(f"# managed\ndb1 {B.text}\n")
    with pytest.raises(CollectionError) as caught:
        verify_host_key(
            B,
            host="db1",
            port=22,
            known_hosts=KnownHosts(path),
            server_name="db-1",
            pinned=A.text,
        )
    text = str(caught.value)
    for part in (A.fingerprint, B.fingerprint, "`resmon server trust db-1`"):
        assert part in text
    assert f"{path} has the new key (line 2)" in text
    assert "`resmon server trust db-1 --forget`" in text


def test_what_known_hosts_refuses_can_be_trusted(tmp_path: Path) -> None:
    """Would let back: errors without the shortest way out; a jump host has no such way."""
    path = tmp_path / "known_hosts"
    for line, cause in (("", "host_key_unknown"), (f"db1 {B.text}\n", "host_key_changed")):
        path.write_text(line)
        for name in ("db-1", None):
            with pytest.raises(CollectionError) as caught:
                verify_host_key(
                    A, host="db1", port=22, known_hosts=KnownHosts(path), server_name=name
                )
            assert caught.value.cause == cause
            assert ("resmon server trust" in str(caught.value)) == (name is not None)


def test_the_text_of_a_key_is_read_back() -> None:
    """Would let back: a pin that no key can match."""
    assert HostKey.parse(A.text) == A
    encoded = base64.b64encode(b"key a").decode()
    assert A.text == f"ssh-ed25519 {encoded}"
    for text in ("", "ssh-ed25519", "ssh-ed25519 !!", f"a b {encoded}"):
        with pytest.raises(ValueError, match="not a host key"):
            HostKey.parse(text)
