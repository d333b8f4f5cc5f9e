"""known_hosts: what a line means, and the strict check."""

import base64
import hashlib
import hmac
import logging
from pathlib import Path

import pytest

from resmon_resources.errors import CollectionError
from resmon_resources.known_hosts import KnownHosts, fingerprint, host_name_in_file

ED25519 = "ssh-ed25519"
KEY_A, KEY_B = b"key a", b"key b"


def b64(blob: bytes) -> str:
    """Base64 as in the file."""
    return base64.b64encode(blob).decode()


def hashed(name: str, salt: bytes = b"0123456789abcdefghij") -> str:
    """Host field as `HashKnownHosts yes` writes it (sshd(8))."""
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{b64(salt)}|{b64(digest)}"


def known_hosts(tmp_path: Path, *lines: str) -> KnownHosts:
    """A file with these lines."""
    path = tmp_path / "known_hosts"
    path.write_text("".join(f"{line}\n" for line in lines))
    return KnownHosts(path)


def verdict(known: KnownHosts, host: str, *, port: int = 22, blob: bytes = KEY_A) -> str:
    """`ok` or the cause of the refusal."""
    try:
        known.verify(host, port, key_type=ED25519, key_blob=blob)
    except CollectionError as error:
        return error.cause
    return "ok"


@pytest.mark.parametrize(
    ("hosts", "host", "port", "expected"),
    [
        ("db1", "db1", 22, "ok"),
        ("db1", "DB1", 22, "ok"),
        ("db1,10.0.0.1", "10.0.0.1", 22, "ok"),
        ("db1", "db2", 22, "host_key_unknown"),
        ("[db1]:2222", "db1", 2222, "ok"),
        ("[db1]:2222", "db1", 22, "host_key_unknown"),
        ("db1", "db1", 2222, "ok"),
        ("*.example.org", "a.example.org", 22, "ok"),
        ("*.example.org", "example.org", 22, "host_key_unknown"),
        ("*.example.org,!b.example.org", "b.example.org", 22, "host_key_unknown"),
        ("*.example.org,!b.example.org", "a.example.org", 22, "ok"),
        ("!b.example.org", "a.example.org", 22, "host_key_unknown"),
        ("db?", "db7", 22, "ok"),
        ("db?", "db77", 22, "host_key_unknown"),
        ("[*]:2222", "db1", 2222, "ok"),
        (hashed("db1"), "db1", 22, "ok"),
        (hashed("db1"), "db2", 22, "host_key_unknown"),
        (hashed("[db1]:2222"), "db1", 2222, "ok"),
        ("::1", "::1", 22, "ok"),
        ("[::1]:2222", "::1", 2222, "ok"),
    ],
)
def test_which_host_a_line_is_for(
    tmp_path: Path, hosts: str, host: str, port: int, expected: str
) -> None:
    """Each form of sshd(8) that is not understood makes known servers unknown."""
    known = known_hosts(tmp_path, f"{hosts} {ED25519} {b64(KEY_A)} a comment")
    assert verdict(known, host, port=port) == expected


def test_another_key_is_a_changed_key(tmp_path: Path) -> None:
    """A changed key must not pass, nor read as unknown: it may be an attack."""
    known = known_hosts(tmp_path, f"db1 {ED25519} {b64(KEY_A)}")
    assert verdict(known, "db1", blob=KEY_B) == "host_key_changed"
    with pytest.raises(CollectionError) as caught:
        known.verify("db1", 22, key_type=ED25519, key_blob=KEY_B)
    text = str(caught.value)
    assert fingerprint(KEY_A) in text
    assert fingerprint(KEY_B) in text
    assert f"ssh-keygen -R 'db1' -f {known.path}" in text


def test_the_bare_name_accuses_nobody_on_another_port(tmp_path: Path) -> None:
    """Two containers behind one address have two keys; the second is unknown, not changed."""
    known = known_hosts(tmp_path, f"db1 {ED25519} {b64(KEY_A)}")
    assert verdict(known, "db1", port=2222, blob=KEY_B) == "host_key_unknown"


def test_several_keys_of_a_host_are_all_good(tmp_path: Path) -> None:
    """ssh-keyscan writes a line per type; the first one must not hide the others."""
    known = known_hosts(
        tmp_path,
        f"db1 {ED25519} {b64(KEY_A)}",
        f"{hashed('db1')} ecdsa-sha2-nistp256 {b64(KEY_B)}",
        f"* ssh-rsa {b64(b'key c')}",
    )
    assert verdict(known, "db1", blob=KEY_B) == "ok"
    assert verdict(known, "db1", blob=KEY_A) == "ok"
    assert known.key_types("db1", 22) == (ED25519, "ecdsa-sha2-nistp256", "ssh-rsa")
    assert known.key_types("other", 22) == ("ssh-rsa",)


def test_a_revoked_key_is_refused_wherever_it_is_listed(tmp_path: Path) -> None:
    """A withdrawn key that is also listed as good must not pass."""
    known = known_hosts(
        tmp_path, f"db1 {ED25519} {b64(KEY_A)}", f"@revoked * {ED25519} {b64(KEY_A)}"
    )
    with pytest.raises(CollectionError, match="revoked") as caught:
        known.verify("db1", 22, key_type=ED25519, key_blob=KEY_A)
    assert caught.value.cause == "host_key_changed"
    assert known.key_types("db2", 22) == ()


def test_lines_that_cannot_be_used_are_told_and_hide_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One damaged line must not make the whole fleet unknown."""
    known = known_hosts(
        tmp_path,
        "# a comment",
        "",
        f"@cert-authority *.example.org {ED25519} {b64(KEY_B)}",
        f"@what db1 {ED25519} {b64(KEY_B)}",
        "db1",
        f"db1 {ED25519} not-base64!",
        f"db1 {ED25519} ''",
        f"|1|nonsense {ED25519} {b64(KEY_B)}",
        f"|1|a|b|c {ED25519} {b64(KEY_B)}",
        f"db1 {ED25519} {b64(KEY_A)}",
    )
    with caplog.at_level(logging.WARNING):
        assert verdict(known, "db1") == "ok"
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        f"line {number}" for number in (3, 4, 5, 6, 7, 8, 9)
    ]


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A key added while the collector runs must count without a restart."""
    known = KnownHosts(tmp_path / "known_hosts")
    assert verdict(known, "db1") == "host_key_unknown"
    known.path.write_text(f"db1 {ED25519} {b64(KEY_A)}\n")
    assert verdict(known, "db1") == "ok"
    known.path.write_text(f"db1 {ED25519} {b64(KEY_B)}  \n")
    assert verdict(known, "db1") == "host_key_changed"
    known.path.unlink()
    assert verdict(known, "db1") == "host_key_unknown"


def test_an_unreadable_file_knows_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be read must never mean: accept."""
    with caplog.at_level(logging.WARNING):
        assert verdict(KnownHosts(tmp_path), "db1") == "host_key_unknown"
    assert "Could not read" in caplog.text


def test_the_fingerprint_is_that_of_ssh_keygen() -> None:
    """A person compares it by eye with `ssh-keygen -l`."""
    # A key from ssh-keygen -t ed25519, and what ssh-keygen -lf printed for it.
    blob = base64.b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
    assert fingerprint(blob) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


def test_names_in_the_file() -> None:
    """ssh writes the port in brackets, except for 22."""
    assert host_name_in_file("Db1", 22) == "db1"
    assert host_name_in_file("::1", 2200) == "[::1]:2200"


def test_hundreds_of_hashed_hosts_are_found(tmp_path: Path) -> None:
    """Trying every line at every question made a fleet of 1,000 wait for seconds."""
    names = [f"host{n}" for n in range(300)]
    known = known_hosts(tmp_path, *(f"{hashed(name)} {ED25519} {b64(KEY_A)}" for name in names))
    assert [verdict(known, name) for name in names] == ["ok"] * 300
