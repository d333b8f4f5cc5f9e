"""Servers read from other programs' files: ssh_config, Ansible inventories, CSV; and the plan.

Belongs here: parsing and deciding what an import would do. Pure: files come in as text, or through
a function that reads them, and nothing is written. ssh_config is parsed here because paramiko's
parser knows no Include, forgets line numbers, and runs the commands of `Match exec`.

A value that a file does not state is None and leaves the inventory as it is; tags are only added.
"""

import csv
import fnmatch
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from resmon_resources.errors import InventoryInvalid
from resmon_resources.inventory import Server
from resmon_resources.proxy_jump import Hop, format_proxy_jump, parse_proxy_jump

CSV_COLUMNS = (
    *("name", "host", "port", "user", "identity_file", "organization", "tags", "proxy_jump"),
)
"""Columns of a CSV file; only `name` is needed."""

MAXIMUM_INCLUDES = 16
"""Depth of Include, as in OpenSSH."""

_MAXIMUM_HOPS = 8
_MAXIMUM_PORT = 65535
_WILDCARDS = frozenset("*?!")
_GROUPS_OF_ALL = frozenset({"all", "ungrouped"})
_SSH_CONNECTIONS = frozenset({"ssh", "smart", "paramiko", "paramiko_ssh"})

IncludeReader = Callable[[str], Sequence[tuple[str, str]]]
"""Include pattern -> (path, text) of each file, sorted; raises InventoryInvalid or OSError."""


@dataclass(frozen=True, slots=True)
class ImportedServer:
    """One server as a file states it.

    Attributes:
        source: file and line (or row, or host), for messages.
        name: name of the server.
        host: name or address.
        port: port of sshd.
        user_name: login name.
        identity_file: private key file.
        organization: its organization.
        tags: tags to add.
        proxy_jump: jump hosts; `none` means that there shall be none.
    """

    source: str
    name: str
    host: str
    port: int | None = None
    user_name: str | None = None
    identity_file: str | None = None
    organization: str | None = None
    tags: tuple[str, ...] = ()
    proxy_jump: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that a file states and no server is made of."""

    source: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file says.

    Attributes:
        servers: in the order of the file.
        skipped: what cannot become a server, and why.
        notes: what else was passed over, for the person who imports.
    """

    servers: tuple[ImportedServer, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedServer:
    """What an import does with one server.

    Attributes:
        action: what it does.
        name: name of the server.
        source: where the file states it.
        detail: what changes, or why it is skipped.
        server: as stated; None for what is skipped.
    """

    action: Literal["added", "changed", "unchanged", "skipped"]
    name: str
    source: str
    detail: str
    server: ImportedServer | None = None


def plan_import(parsed: Parsed, existing: Mapping[str, Server]) -> list[PlannedServer]:
    """What importing these servers into this inventory does, in the order of the file.

    Raises:
        InventoryInvalid: a name is stated twice.
    """
    seen: dict[str, ImportedServer] = {}
    planned = []
    for server in parsed.servers:
        if server.name in seen:
            msg = (
                f"{server.source}: the server {server.name} is stated already in "
                f"{seen[server.name].source}. Names are unique; remove one of the two."
            )
            raise InventoryInvalid(msg)
        seen[server.name] = server
        planned.append(_plan_one(server, existing.get(server.name)))
    skipped = (PlannedServer("skipped", s.name, s.source, s.reason) for s in parsed.skipped)
    return [*planned, *skipped]


def _plan_one(server: ImportedServer, known: Server | None) -> PlannedServer:
    """What happens to one server."""
    if known is None:
        return PlannedServer("added", server.name, server.source, _title(server), server)
    if known.transport == "local":
        reason = "is the machine Resmon runs on, read without SSH"
        return PlannedServer("skipped", server.name, server.source, reason)
    pairs = [
        ("host", known.host, server.host),
        ("port", known.port, server.port),
        ("user", known.user_name, server.user_name),
        ("identity file", known.identity_file, server.identity_file),
        ("organization", known.organization_name, server.organization),
        ("proxy jump", known.proxy_jump or "none", server.proxy_jump),
    ]
    changes = [
        f"{label} {before or 'unset'} -> {after}"
        for label, before, after in pairs
        if after is not None and before != after
    ]
    added = sorted(set(server.tags) - set(known.tags))
    changes += [f"tag {tag} added" for tag in added]
    if not changes:
        return PlannedServer("unchanged", server.name, server.source, "", server)
    every_tag = tuple(sorted({*known.tags, *server.tags}))
    return PlannedServer(
        "changed",
        server.name,
        server.source,
        ", ".join(changes),
        replace(server, tags=every_tag),
    )


def _title(server: ImportedServer) -> str:
    """`user@host:port through jump`."""
    hop = str(Hop(server.host, server.port, server.user_name))
    if server.proxy_jump in {None, "none"}:
        return hop
    return f"{hop} through {server.proxy_jump}"


def _invalid(source: str, what: str) -> InventoryInvalid:
    """Error of a line."""
    return InventoryInvalid(f"{source}: {what} Nothing was imported.")


def _port(text: object, source: str) -> int | None:
    """A port; None when nothing is stated."""
    if text is None or str(text).strip() == "":
        return None
    digits = str(text).strip()
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) <= _MAXIMUM_PORT:
        raise _invalid(source, f"{digits!r} cannot be a port: 1 to {_MAXIMUM_PORT}.")
    return int(digits)


def _hops(text: str, source: str) -> tuple[Hop, ...]:
    """Jump hosts of a text."""
    try:
        return parse_proxy_jump(text)
    except ValueError as error:
        raise _invalid(source, f"the jump hosts cannot be used: {error}.") from error


# ssh_config.


_Conditions = tuple[tuple[str, ...], ...]
"""Patterns of the Host lines that a line stands under; all must match, an empty one never does."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """One line of ssh_config, with the Host lines that it stands under."""

    conditions: _Conditions
    key: str
    value: str
    source: str

    def holds_for(self, name: str) -> bool:
        """Whether every Host line above it accepts the name."""
        return all(_matches(patterns, name) for patterns in self.conditions)


@dataclass(slots=True)
class _SshConfig:
    """The lines of ssh_config, files that it includes among them."""

    settings: list[_Setting] = field(default_factory=list)
    names: dict[str, _Setting] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def first(self, name: str, *keys: str) -> _Setting | None:
        """The setting that counts for a name: the first that applies, as in OpenSSH."""
        for setting in self.settings:
            if setting.key in keys and setting.holds_for(name):
                return setting
        return None

    def value(self, name: str, key: str) -> str | None:
        """The value that counts for a name."""
        setting = self.first(name, key)
        return None if setting is None else setting.value


def parse_ssh_config(
    text: str, path: str, *, read_include: IncludeReader, home: str, local_user: str
) -> Parsed:
    """Servers of an ssh_config file (ssh_config(5)): the names of Host lines without wildcards.

    Args:
        text: the file.
        path: its name, for messages.
        read_include: reads the files of an Include pattern.
        home: home directory, for %d and ~.
        local_user: the user who imports, for %u and %r.

    Raises:
        InventoryInvalid: a line that cannot be used; names file and line.
    """
    config = _SshConfig()
    _read_ssh_config(config, text, path, conditions=(), depth=0, read_include=read_include)
    servers: list[ImportedServer] = []
    skipped: list[Skipped] = []
    for name, stated in config.names.items():
        reason = _why_skipped(config, name)
        if reason is not None:
            skipped.append(Skipped(stated.source, name, reason))
            continue
        identity = config.first(name, "identityfile")
        servers.append(
            ImportedServer(
                source=stated.source,
                name=name,
                host=_host_of(config, name),
                port=_port_of(config, name),
                user_name=config.value(name, "user"),
                identity_file=_identity_file_of(config, name, identity, home, local_user),
                proxy_jump=_jump_of(config, name),
            )
        )
    return Parsed(tuple(servers), tuple(skipped), tuple(config.notes))


def _read_ssh_config(
    config: _SshConfig,
    text: str,
    path: str,
    *,
    conditions: _Conditions,
    depth: int,
    read_include: IncludeReader,
) -> None:
    """Add the lines of one file; what is included stands under the Host line of its Include."""
    outer = conditions
    for number, line in enumerate(text.splitlines(), start=1):
        source = f"{path}:{number}"
        words = _words(line, source)
        if not words:
            continue
        key, values = words[0].lower(), tuple(words[1:])
        if not values:
            raise _invalid(source, f"{words[0]} has no value.")
        if key == "host":
            conditions = (*outer, values)
            _note_names(config, conditions, source)
        elif key == "match":
            is_for_all = [value.lower() for value in values] == ["all"]
            conditions = outer if is_for_all else (*outer, ())
            if not is_for_all:
                remark = f"{source}: Match is not evaluated; its lines are passed over."
                config.notes.append(remark)
        elif key == "include":
            for name, included in _included(values, source, depth, read_include):
                _read_ssh_config(
                    config,
                    included,
                    name,
                    conditions=conditions,
                    depth=depth + 1,
                    read_include=read_include,
                )
        else:
            config.settings.append(_Setting(conditions, key, " ".join(values), source))


def _note_names(config: _SshConfig, conditions: _Conditions, source: str) -> None:
    """Remember the names of a Host line that are no patterns, at their first mention."""
    for name in conditions[-1]:
        setting = _Setting(conditions, "host", name, source)
        if not _WILDCARDS & set(name) and setting.holds_for(name):
            config.names.setdefault(name, setting)


def _included(
    patterns: Sequence[str], source: str, depth: int, read_include: IncludeReader
) -> list[tuple[str, str]]:
    """Path and text of the files of an Include line."""
    if depth >= MAXIMUM_INCLUDES:
        raise _invalid(source, f"Include is nested deeper than {MAXIMUM_INCLUDES} files.")
    found: list[tuple[str, str]] = []
    for pattern in patterns:
        try:
            found += read_include(pattern)
        except OSError as error:
            what = f"Include {pattern} cannot be read: {error.strerror or error}."
            raise _invalid(source, what) from error
    return found


def _words(line: str, source: str) -> list[str]:
    """Keyword and arguments: `Key value`, `Key=value`, double quotes, # comments."""
    stripped = line.strip()
    if not stripped or stripped.startswith("#"):
        return []
    found = re.fullmatch(r'"?(\w+)"?(?:\s*=\s*|\s+|(?="))(.*)', stripped)
    if found is None:
        return [stripped]
    if found[1].lower() in {"proxycommand", "localcommand", "remotecommand", "knownhostscommand"}:
        return [found[1], found[2]]
    reader = shlex.shlex(found[2], posix=True, punctuation_chars=False)
    reader.whitespace_split = True
    reader.quotes = '"'
    reader.escape = ""
    reader.commenters = ""
    try:
        words = list(reader)
    except ValueError as error:
        raise _invalid(source, "a quotation mark is not closed.") from error
    comment = next((i for i, word in enumerate(words) if word.startswith("#")), len(words))
    return [found[1], *words[:comment]]


def _matches(patterns: Sequence[str], name: str) -> bool:
    """Whether some pattern accepts the name and none refuses it; only * and ? are special."""
    accepted = False
    for pattern in patterns:
        bare = pattern.removeprefix("!").replace("[", "[[]")
        if fnmatch.fnmatchcase(name, bare):
            if pattern.startswith("!"):
                return False
            accepted = True
    return accepted


def _why_skipped(config: _SshConfig, name: str) -> str | None:
    """Why a Host line makes no server."""
    if config.value(name, "user") == "git":
        return "logs in as git: a repository, no server to measure"
    way = config.first(name, "proxyjump", "proxycommand")
    if way is not None and way.key == "proxycommand" and way.value.lower() != "none":
        return f"ProxyCommand ({way.source}) is not run; write it as ProxyJump"
    return None


def _host_of(config: _SshConfig, name: str) -> str:
    """HostName with %h and %% replaced, or the name itself."""
    setting = config.first(name, "hostname")
    if setting is None:
        return name
    return _expand(setting, {"h": name, "n": name})


def _port_of(config: _SshConfig, name: str) -> int | None:
    """Port, when it is stated."""
    setting = config.first(name, "port")
    return None if setting is None else _port(setting.value, setting.source)


def _identity_file_of(
    config: _SshConfig, name: str, setting: _Setting | None, home: str, local_user: str
) -> str | None:
    """The first IdentityFile, its tokens replaced."""
    if setting is None or setting.value.lower() == "none":
        return None
    others = [
        other
        for other in config.settings
        if other.key == "identityfile" and other is not setting and other.holds_for(name)
    ]
    if others:
        config.notes.append(
            f"{others[0].source}: {name} has several IdentityFile; the first is imported."
        )
    path = _expand(
        setting,
        {
            "d": home,
            "h": _host_of(config, name),
            "n": name,
            "p": str(_port_of(config, name) or 22),
            "r": config.value(name, "user") or local_user,
            "u": local_user,
        },
    )
    return f"{home}{path[1:]}" if path == "~" or path.startswith("~/") else path


def _expand(setting: _Setting, tokens: Mapping[str, str]) -> str:
    """The value with its %-tokens replaced."""

    def replacement(found: re.Match[str]) -> str:
        letter = found[1]
        if letter == "%":
            return "%"
        if letter not in tokens:
            raise _invalid(setting.source, f"the token %{letter} cannot be replaced here.")
        return tokens[letter]

    return re.sub(r"%(.?)", replacement, setting.value)


def _jump_of(config: _SshConfig, name: str) -> str | None:
    """ProxyJump, each hop with what the file says about it."""
    setting = config.first(name, "proxyjump")
    if setting is None:
        return None
    return format_proxy_jump(_resolved_hops(config, name, setting, depth=0))


def _resolved_hops(
    config: _SshConfig, name: str, setting: _Setting, *, depth: int
) -> tuple[Hop, ...]:
    """Hops with host, port and user of their own Host lines; before the first, its own jumps."""
    if depth > _MAXIMUM_HOPS:
        raise _invalid(setting.source, f"the ProxyJump of {name} leads in a circle.")
    tokens = {
        "h": _host_of(config, name),
        "n": name,
        "p": str(_port_of(config, name) or 22),
        "r": config.value(name, "user") or "",
    }
    resolved: list[Hop] = []
    for hop in _hops(_expand(setting, tokens), setting.source):
        found = Hop(
            _host_of(config, hop.host),
            hop.port or _port_of(config, hop.host),
            hop.user_name or config.value(hop.host, "user"),
        )
        is_itself = hop.host == name or (
            found.host == tokens["h"] and (found.port or 22) == int(tokens["p"])
        )
        if is_itself:
            continue  # `Host *` with a ProxyJump holds for the jump host too; ssh goes direct
        earlier = config.first(hop.host, "proxyjump")
        if not resolved and earlier is not None:
            resolved += _resolved_hops(config, hop.host, earlier, depth=depth + 1)
        resolved.append(found)
    return tuple(resolved)


# Ansible.


def parse_ansible(text: str, path: str) -> Parsed:
    """Servers of what `ansible-inventory --list` prints; their groups become tags.

    Raises:
        InventoryInvalid: it is no such JSON, or a value cannot be used; names line or host.
    """
    try:
        inventory = json.loads(text)
    except json.JSONDecodeError as error:
        what = (
            f"this is no JSON ({error.msg}); it should be what `ansible-inventory --list` prints."
        )
        source = f"{path}:{error.lineno}"
        raise _invalid(source, what) from error
    if not isinstance(inventory, dict) or not isinstance(inventory.get("_meta", {}), dict):
        raise _invalid(path, "this is not what `ansible-inventory --list` prints.")
    variables = inventory.get("_meta", {}).get("hostvars", {})
    groups = {name: group for name, group in inventory.items() if isinstance(group, dict)}
    tags = _tags_of_hosts(groups, path)
    names = dict.fromkeys([*tags, *variables])
    servers: list[ImportedServer] = []
    skipped: list[Skipped] = []
    for name in names:
        source = f"{path}: host {name}"
        of_host = variables.get(name, {})
        if not isinstance(of_host, dict):
            raise _invalid(source, "its variables are no mapping.")
        reason = _why_not_ssh(of_host)
        if reason is not None:
            skipped.append(Skipped(source, name, reason))
            continue
        jump, problem = _ansible_jump(of_host, source)
        if problem is not None:
            skipped.append(Skipped(source, name, problem))
            continue
        servers.append(
            ImportedServer(
                source=source,
                name=name,
                host=str(of_host.get("ansible_host") or name),
                port=_port(of_host.get("ansible_port"), source),
                user_name=_text(of_host.get("ansible_user")),
                identity_file=_text(of_host.get("ansible_ssh_private_key_file")),
                tags=tuple(sorted(tags.get(name, ()))),
                proxy_jump=jump,
            )
        )
    return Parsed(tuple(servers), tuple(skipped))


def _tags_of_hosts(groups: Mapping[str, Mapping[str, Any]], path: str) -> dict[str, set[str]]:
    """Host -> its groups and those above them; `all` and `ungrouped` are none."""
    # The values are whatever the JSON holds, which is why they are Any.
    parents: dict[str, set[str]] = {}
    for name, group in groups.items():
        for child in _names_in(group, "children", f"{path}: group {name}"):
            parents.setdefault(child, set()).add(name)
    tags: dict[str, set[str]] = {}
    for name, group in groups.items():
        above, waiting = {name}, [name]
        while waiting:
            for parent in parents.get(waiting.pop(), set()) - above:
                above.add(parent)
                waiting.append(parent)
        for host in _names_in(group, "hosts", f"{path}: group {name}"):
            tags.setdefault(host, set()).update(above - _GROUPS_OF_ALL)
    return tags


def _names_in(group: Mapping[str, Any], key: str, source: str) -> list[str]:
    """A list of names of a group; missing is empty."""
    names = group.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _invalid(source, f"{key} is no list of names.")
    return names


def _text(value: object) -> str | None:
    """A variable as text; empty is not stated."""
    return None if value is None or value == "" else str(value)


def _why_not_ssh(variables: Mapping[str, Any]) -> str | None:
    """Why a host of Ansible makes no server."""
    connection = str(variables.get("ansible_connection") or "ssh")
    if connection.rpartition(".")[2] not in _SSH_CONNECTIONS:
        return f"ansible_connection is {connection}, not ssh"
    names = ("host", "port", "user", "ssh_private_key_file", "ssh_common_args")
    for key in (f"ansible_{name}" for name in names):
        if "{{" in str(variables.get(key, "")):
            return f"{key} is a template, which only Ansible can fill"
    return None


def _ansible_jump(variables: Mapping[str, Any], source: str) -> tuple[str | None, str | None]:
    """Jump hosts of ansible_ssh_common_args, or why the host must be skipped."""
    text = _text(variables.get("ansible_ssh_common_args"))
    if text is None:
        return None, None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _invalid(source, f"ansible_ssh_common_args cannot be read: {error}.") from error
    while words:
        word = words.pop(0)
        if word in {"-J", "-o"} and words:
            word += words.pop(0)
        key, _, value = word.removeprefix("-o").replace("=", " ", 1).strip().partition(" ")
        if word.startswith("-J"):
            key, value = "proxyjump", word[2:]
        if key.lower() == "proxyjump":
            return format_proxy_jump(_hops(value.strip(), source)), None
        if key.lower() == "proxycommand" and value.strip().lower() != "none":
            return None, "ProxyCommand is not run; write it as ProxyJump"
    return None, None


# CSV.


def parse_csv(text: str, path: str) -> Parsed:
    """Servers of a CSV file with a header; empty fields are not stated, `host` is the name then.

    Raises:
        InventoryInvalid: an unknown column or a value that cannot be used; names file and line.
    """
    reader = csv.reader(text.removeprefix("\ufeff").splitlines(keepends=True), strict=True)
    servers: list[ImportedServer] = []
    header: list[str] | None = None
    try:
        for row in reader:
            source = f"{path}:{reader.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = _csv_header(row, source)
                continue
            if len(row) != len(header):
                what = (
                    f"{len(row)} fields instead of {len(header)}; a field with commas stands in "
                    "quotation marks."
                )
                raise _invalid(source, what)
            servers.append(_csv_server(dict(zip(header, row, strict=True)), source))
    except csv.Error as error:
        source = f"{path}:{reader.line_num}"
        raise _invalid(source, f"this is no CSV: {error}.") from error
    if header is None:
        raise _invalid(path, f"there is no header; columns: {', '.join(CSV_COLUMNS)}.")
    return Parsed(tuple(servers))


def _csv_header(row: Sequence[str], source: str) -> list[str]:
    """The columns, checked."""
    header = [cell.strip().lower() for cell in row]
    unknown = [name or "(empty)" for name in header if name not in CSV_COLUMNS]
    if unknown:
        what = f"unknown column {', '.join(unknown)}; there are: {', '.join(CSV_COLUMNS)}."
        raise _invalid(source, what)
    if "name" not in header or len(set(header)) != len(header):
        raise _invalid(source, "the header needs the column name, and each column once.")
    return header


def _csv_server(row: Mapping[str, str], source: str) -> ImportedServer:
    """One row."""
    stated = {key: cell.strip() or None for key, cell in row.items()}
    name = stated["name"]
    if name is None:
        raise _invalid(source, "the name is empty.")
    jump = stated.get("proxy_jump")
    return ImportedServer(
        source=source,
        name=name,
        host=stated.get("host") or name,
        port=_port(stated.get("port"), source),
        user_name=stated.get("user"),
        identity_file=stated.get("identity_file"),
        organization=stated.get("organization"),
        tags=tuple(sorted(set(re.split(r"[\s,;]+", stated.get("tags") or "")) - {""})),
        proxy_jump=None if jump is None else format_proxy_jump(_hops(jump, source)),
    )
