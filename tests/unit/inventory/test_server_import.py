"""What is read from ssh_config, Ansible's JSON and CSV, and what an import would do with it."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from resmon_resources.errors import InventoryInvalid
from resmon_resources.inventory import Server
from resmon_resources.server_import import (
    ImportedServer,
    Parsed,
    Skipped,
    parse_ansible,
    parse_csv,
    parse_ssh_config,
    plan_import,
)

Files = dict[str, list[tuple[str, str]]]


def ssh(text: str, files: Files | None = None) -> Parsed:
    """The servers of an ssh_config called `config`."""
    known = files or {}
    return parse_ssh_config(
        text, "config", read_include=lambda p: known[p], home="/home/me", local_user="me"
    )


def only(parsed: Parsed) -> ImportedServer:
    """The one server."""
    assert len(parsed.servers) == 1, parsed
    return parsed.servers[0]


def by_name(parsed: Parsed) -> dict[str, ImportedServer]:
    return {server.name: server for server in parsed.servers}


def test_the_first_value_that_applies_counts() -> None:
    """Would let back: a default of `Host *` that wins over the server's own line."""
    parsed = ssh(
        """
        # mine
        Host web-1 web-2 *.example.org !old.example.org
            HostName %h.internal
            Port=2200
            User "deploy"   # who
        Host web-*
            User nobody
            IdentityFile ~/.ssh/%n-%r
        Host *
            User me
            Port 22
        host db-1
            hostname 10.0.0.7
        """
    )
    found = by_name(parsed)
    assert list(found) == ["web-1", "web-2", "db-1"]
    assert found["web-2"] == ImportedServer(
        source="config:3",
        name="web-2",
        host="web-2.internal",
        port=2200,
        user_name="deploy",
        identity_file="/home/me/.ssh/web-2-deploy",
    )
    assert (found["db-1"].host, found["db-1"].user_name, found["db-1"].port) == (
        *("10.0.0.7", "me", 22),
    )


def test_negated_patterns_and_brackets() -> None:
    """Would let back: a setting given to the one host that its line excludes."""
    parsed = ssh("Host a[1] b !c*\nUser x\nHost c1 !c1 d\nUser y\nHost c1\nPort 7\n")
    found = by_name(parsed)
    assert list(found) == ["a[1]", "b", "d", "c1"]
    assert (found["c1"].user_name, found["c1"].port) == (None, 7)
    assert found["a[1]"].user_name == "x"


def test_include_stands_where_it_is_written() -> None:
    """Would let back: servers lost that are kept in files of their own, or a setting for all."""
    files = {
        "conf.d/*": [
            ("/home/me/.ssh/conf.d/a", "Host web-1\nPort 2201\n"),
            ("/home/me/.ssh/conf.d/b", "User outer\nHost web-2\nPort 2202\n"),
        ],
        "only-web": [("ow", "User inside\nHost db-1 web-3\nPort 9\n")],
        "never": [("never", "Host lost\nPort 1\n")],
    }
    parsed = ssh(
        "Include conf.d/*\nHost web-*\nInclude only-web\nPort 22\nHost db-1\nHostName x\n"
        "Match exec true\nInclude never\nUser evil\nMatch all\nIdentityFile /k\n",
        files,
    )
    found = by_name(parsed)
    assert list(found) == ["web-1", "web-2", "web-3", "db-1"]
    assert found["web-1"].source == "/home/me/.ssh/conf.d/a:1"
    assert [found[name].port for name in found] == [2201, 2202, 9, None]
    assert [found[name].user_name for name in found] == ["outer"] * 4
    assert found["db-1"].identity_file == "/k"
    assert parsed.notes == ("config:7: Match is not evaluated; its lines are passed over.",)


def test_an_include_that_includes_itself_ends() -> None:
    """Would let back: an import that never ends."""
    with pytest.raises(InventoryInvalid, match=r"loop:1: Include is nested"):
        ssh("Include loop\n", {"loop": [("loop", "Include loop\n")]})


def test_proxy_jump_means_what_the_file_says_about_the_hop() -> None:
    """Would let back: a jump host known to ssh by an alias, and to nobody else."""
    parsed = ssh(
        """
        Host bastion
            HostName b.example.org
            Port 2222
            User jump
        Host inner
            HostName 10.0.0.1
            ProxyJump bastion
        Host deep
            ProxyJump other@inner:23,last
        Host direct
            ProxyJump none
        Host *
            ProxyJump bastion
        """
    )
    found = {name: server.proxy_jump for name, server in by_name(parsed).items()}
    assert found == {
        "bastion": "none",
        "inner": "jump@b.example.org:2222",
        "deep": "jump@b.example.org:2222,other@10.0.0.1:23,last",
        "direct": "none",
    }


def test_what_cannot_be_a_server_is_skipped_with_its_reason() -> None:
    """Would let back: GitHub in the inventory, or a server behind a command that is not run."""
    parsed = ssh(
        "Host github.com\nUser git\nHost odd\nProxyCommand nc -X \"5 %h 'x %p\nHost fine\n"
        "ProxyCommand none\nIdentityFile /a\nIdentityFile /b\n"
    )
    assert [(one.name, one.source) for one in parsed.skipped] == [
        ("github.com", "config:1"),
        ("odd", "config:3"),
    ]
    assert "config:4" in parsed.skipped[1].reason
    assert only(parsed).identity_file == "/a"
    assert parsed.notes == ("config:8: fine has several IdentityFile; the first is imported.",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Host a\nPort x\n", "config:2: 'x' cannot be a port"),
        ("Host a\nPort 70000\n", "config:2: '70000' cannot be a port"),
        ("Host a\nHostName %z\n", "config:2: the token %z"),
        ("Host a\nProxyJump b c\n", "config:2: the jump hosts cannot be used"),
        ("Host a\nProxyJump b\nHost b\nProxyJump c\nHost c\nProxyJump b\n", "in a circle"),
        ('Host "a\n', "config:1: a quotation mark"),
        ("Host\n", "config:1: Host has no value"),
    ],
)
def test_a_wrong_line_is_named(text: str, told: str) -> None:
    """Would let back: an error that has to be searched for in a thousand lines."""
    with pytest.raises(InventoryInvalid) as caught:
        ssh(text)
    assert told in str(caught.value)
    assert str(caught.value).endswith("Nothing was imported.")


def test_an_include_that_cannot_be_read_is_named() -> None:
    """Would let back: a part of the servers missing without a word."""

    def refuse(pattern: str) -> list[tuple[str, str]]:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(InventoryInvalid, match="config:1: Include x cannot be read: Permission"):
        parse_ssh_config("Include x", "config", read_include=refuse, home="/h", local_user="me")


ANSIBLE = {
    "_meta": {
        "hostvars": {
            "web-1": {
                "ansible_host": "10.0.0.1",
                "ansible_port": 2222,
                "ansible_user": "deploy",
                "ansible_ssh_private_key_file": "/keys/a",
                "ansible_ssh_common_args": '-C -o ProxyJump="me@b:23,c" -o X=y',
            },
            "db-1": {"ansible_port": "22", "ansible_ssh_common_args": "-J b"},
            "here": {"ansible_connection": "local"},
            "odd": {"ansible_ssh_common_args": "-o 'ProxyCommand=ssh -W %h:%p b'"},
            "late": {"ansible_host": "{{ lookup('x') }}"},
        }
    },
    "all": {"children": ["ungrouped", "prod"]},
    "prod": {"children": ["web", "db"], "hosts": []},
    "web": {"hosts": ["web-1", "bare"]},
    "db": {"hosts": ["db-1"]},
    "ungrouped": {"hosts": ["here", "odd", "late"]},
}


def test_groups_of_ansible_become_tags() -> None:
    """Would let back: a server without the tags of the groups above its own."""
    parsed = parse_ansible(json.dumps(ANSIBLE), "hosts.json")
    found = by_name(parsed)
    assert list(found) == ["web-1", "bare", "db-1"]
    assert found["web-1"] == ImportedServer(
        source="hosts.json: host web-1",
        name="web-1",
        host="10.0.0.1",
        port=2222,
        user_name="deploy",
        identity_file="/keys/a",
        tags=("prod", "web"),
        proxy_jump="me@b:23,c",
    )
    assert (found["bare"].host, found["bare"].tags) == ("bare", ("prod", "web"))
    assert (found["db-1"].port, found["db-1"].proxy_jump) == (22, "b")
    reasons = {one.name: one.reason for one in parsed.skipped}
    assert set(reasons) == {"here", "odd", "late"}
    assert "local" in reasons["here"]
    assert "ProxyCommand" in reasons["odd"]
    assert "template" in reasons["late"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{\n,", "f:2: this is no JSON"),
        ("[]", "f: this is not what"),
        ('{"g": {"hosts": "a"}}', "f: group g: hosts is no list"),
        ('{"g": {"children": [1]}}', "f: group g: children is no list"),
        ('{"_meta": {"hostvars": {"a": []}}}', "f: host a: its variables"),
        ('{"_meta": {"hostvars": {"a": {"ansible_port": "x"}}}}', "f: host a: 'x' cannot"),
        ('{"_meta": {"hostvars": {"a": {"ansible_ssh_common_args": "-J \'"}}}}', "cannot be read"),
        ('{"_meta": {"hostvars": {"a": {"ansible_ssh_common_args": "-J a/b"}}}}', "jump hosts"),
    ],
)
def test_wrong_json_is_named(text: str, told: str) -> None:
    """Would let back: a traceback of the parser."""
    with pytest.raises(InventoryInvalid) as caught:
        parse_ansible(text, "f")
    assert told in str(caught.value)


def test_csv_with_all_columns() -> None:
    """Would let back: a spreadsheet's byte order mark taken for a part of the first column."""
    parsed = parse_csv(
        "\ufeffName,host,port,user,identity_file,organization,tags,proxy_jump\r\n"
        'web-1,10.0.0.1,2222,me,/k,acme,"web, prod","a,b:23"\r\n\r\n'
        "web-2,,,,,,,\r\n",
        "f.csv",
    )
    assert parsed.servers == (
        ImportedServer(
            source="f.csv:2",
            name="web-1",
            host="10.0.0.1",
            port=2222,
            user_name="me",
            identity_file="/k",
            organization="acme",
            tags=("prod", "web"),
            proxy_jump="a,b:23",
        ),
        ImportedServer(source="f.csv:4", name="web-2", host="web-2"),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f.csv: there is no header"),
        ("name,hots\n", "f.csv:1: unknown column hots"),
        ("host\n", "f.csv:1: the header needs"),
        ("name,name\n", "each column once"),
        ("name,host\na\n", "f.csv:2: 1 fields instead of 2"),
        ("name,host\n,b\n", "f.csv:2: the name is empty"),
        ("name,port\na,0\n", "f.csv:2: '0' cannot be a port"),
        ("name,proxy_jump\na,b c\n", "f.csv:2: the jump hosts"),
        ('name\n"a"b\n', "f.csv:2: this is no CSV"),
    ],
)
def test_a_wrong_row_is_named(text: str, told: str) -> None:
    """Would let back: a column that is misspelt and silently ignored."""
    with pytest.raises(InventoryInvalid) as caught:
        parse_csv(text, "f.csv")
    assert told in str(caught.value)


KNOWN = Server(
    server_id=1,
    name="web-1",
    organization_id=1,
    organization_name="acme",
    transport="ssh",
    host="10.0.0.1",
    port=22,
    user_name=None,
    identity_file=None,
    tags=("kept",),
    state="paused",
    interval_seconds=30,
    changed_at=datetime(2026, 3, 1, tzinfo=UTC),
    proxy_jump="b",
)
STATED = ImportedServer(source="f:1", name="web-1", host="10.0.0.1")


@pytest.mark.parametrize(
    ("change", "action", "detail"),
    [
        (lambda s: s, "unchanged", ""),
        (lambda s: replace(s, name="new", proxy_jump="b", port=23), "added", "10.0.0.1:23 through"),
        (lambda s: replace(s, port=23), "changed", "port 22 -> 23"),
        (lambda s: replace(s, user_name="me"), "changed", "user unset -> me"),
        (lambda s: replace(s, proxy_jump="none"), "changed", "proxy jump b -> none"),
        (lambda s: replace(s, organization="x"), "changed", "organization acme -> x"),
        (lambda s: replace(s, tags=("new", "kept")), "changed", "tag new added"),
        (lambda s: replace(s, tags=("kept",)), "unchanged", ""),
    ],
)
def test_the_plan_says_what_changes(
    change: Callable[[ImportedServer], ImportedServer], action: str, detail: str
) -> None:
    """Would let back: a value reset that the file does not even state."""
    planned = plan_import(Parsed((change(STATED),)), {"web-1": KNOWN})[0]
    assert planned.action == action
    assert planned.detail.startswith(detail)
    if action == "changed":
        assert planned.server is not None
        assert "kept" in planned.server.tags


def test_this_machine_and_what_was_skipped_stay_as_they_are() -> None:
    """Would let back: the local server turned into one that needs SSH."""
    local = replace(KNOWN, transport="local")
    parsed = Parsed((STATED,), (Skipped("f:9", "odd", "because"),))
    actions = [(p.name, p.action) for p in plan_import(parsed, {"web-1": local})]
    assert actions == [("web-1", "skipped"), ("odd", "skipped")]


def test_a_name_stated_twice_is_refused() -> None:
    """Would let back: two machines of one name, of which the last row wins."""
    with pytest.raises(InventoryInvalid, match="f:2: the server web-1 is stated already in f:1"):
        plan_import(Parsed((STATED, replace(STATED, source="f:2"))), {})
