"""The text of ProxyJump: what is read from it, what is written, what is refused."""

import pytest

from resmon_resources.proxy_jump import Hop, format_proxy_jump, parse_proxy_jump


@pytest.mark.parametrize(
    ("text", "hops"),
    [
        ("none", ()),
        ("None", ()),
        ("bastion", (Hop("bastion"),)),
        ("me@bastion:2222", (Hop("bastion", 2222, "me"),)),
        ("a, ssh://b:22", (Hop("a"), Hop("b", 22))),
        ("[fe80::1%eth0]:2222", (Hop("fe80::1%eth0", 2222),)),
        ("me@[::1]", (Hop("::1", None, "me"),)),
        ("ssh://me@b.example.org:23/", (Hop("b.example.org", 23, "me"),)),
    ],
)
def test_hops_are_read_in_their_order(text: str, hops: tuple[Hop, ...]) -> None:
    """Would let back: hops passed in another order, or a port taken for a part of the name."""
    assert parse_proxy_jump(text) == hops
    assert parse_proxy_jump(format_proxy_jump(hops)) == tuple(
        Hop(hop.host, None if hop.port == 22 else hop.port, hop.user_name) for hop in hops
    )


@pytest.mark.parametrize("text", ["", ",", "a,", "a b", "::1", "@a", "a:ssh", "a:", "a@b@c", "a/b"])
def test_what_is_no_jump_host_is_refused(text: str) -> None:
    """Would let back: half of a chain used, which leads to another machine."""
    with pytest.raises(ValueError, match="is not"):
        parse_proxy_jump(text)
