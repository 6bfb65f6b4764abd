"""Options: three places, one order, and no word that is silently dropped."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.node.options import Address, parse_address
from tools.errors import CommandError, Exit
from tools.options import (
    check_variables,
    from_file,
    from_flags,
    node_options,
    node_settings,
    variable_of,
)


def a_file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mesh.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("flag", "variable", "in_file", "wins"),
    [
        ("f:1", "v:2", "t:3", Address("f", 1)),
        (None, "v:2", "t:3", Address("v", 2)),
        (None, None, "t:3", Address("t", 3)),
        (None, None, None, Address("127.0.0.1", 9092)),
    ],
)
def test_flags_win_over_variables_over_the_file(
    tmp_path: Path, flag: str | None, variable: str | None, in_file: str | None, wins: Address
) -> None:
    """The same option in all three places has the value of the strongest of them."""
    file = a_file(tmp_path, f'listen = "{in_file}"' if in_file else "")
    environment = {"MESH_LISTEN": variable} if variable else {}
    assert node_options(node_settings({"listen": flag}, [], environment, file)).listen == wins


def test_kafka_names_come_from_all_places_too(tmp_path: Path) -> None:
    """-o, a variable and the file each set a Kafka name, in the same order of strength."""
    file = a_file(
        tmp_path,
        'num.partitions = 2\n"log.retention.ms" = 5\n[log]\nsegment.bytes = 1048576\n'
        "[auto]\ncreate.topics.enable = false\n",
    )
    environment = {"MESH_NUM_PARTITIONS": "3", "MESH_LOG_RETENTION_MS": "6"}
    settings = node_settings({}, ["num.partitions=4"], environment, file)
    assert node_options(settings).config == {
        "num.partitions": "4",
        "log.retention.ms": "6",
        "log.segment.bytes": "1048576",
        "auto.create.topics.enable": "false",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('datta = "x"', ["datta", "did you mean data?"]),
        ("log.retention.mss = 1", ["log.retention.mss", "log.retention.ms"]),
        ('"log.dirs" = "x"', ["log.dirs", "did you mean data?"]),
        ("data = [\nx", ["not TOML", "line 2"]),
        ("data = 2020-01-01", ["data", "date"]),
        ('listen = "nowhere"', ["mesh.toml: listen", "no port"]),
        ('durability = "tape"', ["mesh.toml: durability", "disk, memory"]),
        ("num.partitions = 0", ["mesh.toml: num.partitions", "'0'"]),
    ],
)
def test_wrong_files_are_named_with_their_key(tmp_path: Path, text: str, told: list[str]) -> None:
    """A wrong key or value of the file is told with the file, the key and what would do."""
    with pytest.raises(CommandError) as caught:
        node_options(from_file(a_file(tmp_path, text)))
    assert caught.value.status == Exit.USAGE
    for words in told:
        assert words in f"{caught.value.wrong} {caught.value.do}"


def test_unreadable_files_are_told(tmp_path: Path) -> None:
    """A config file that is missing, a directory or no text is a usage error, not a trace."""
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing", tmp_path, garbage):
        with pytest.raises(CommandError, match=r"config file .*"):
            from_file(str(path))


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("num.partitions", "NAME=VALUE"),
        ("num.partition=1", "num.partitions"),
        ("broker.rack=a", "rack"),
        ("node.id=7", "node.id"),
    ],
)
def test_wrong_assignments_are_named(assignment: str, told: str) -> None:
    """-o without a value or with an unknown name says what would do."""
    with pytest.raises(CommandError) as caught:
        from_flags({}, [assignment])
    assert told in f"{caught.value.wrong} {caught.value.do}"


def test_every_setting_has_a_variable() -> None:
    """Known variables pass, whatever else the environment holds; one unknown does not."""
    known = {variable_of(name): "x" for name in ("data", "log-level", "log.retention.ms")}
    check_variables({**known, "PATH": "/bin", "MESH_BOOTSTRAP": "h:1"})
    with pytest.raises(CommandError, match="MESH_LOG_RETENTION_MSS"):
        check_variables({**known, "MESH_LOG_RETENTION_MSS": "1"})


def test_wildcards_must_be_advertised_as_something() -> None:
    """Listening on all interfaces needs a host that clients can connect to."""
    with pytest.raises(CommandError, match=r"0\.0\.0\.0"):
        node_options(from_flags({"listen": "0.0.0.0:9092"}, []))
    told = node_options(from_flags({"listen": "0.0.0.0:9092", "advertise": "broker"}, []))
    assert told.advertise == Address("broker", 0)


@pytest.mark.parametrize(
    "flags", [{"rack": ""}, {"rack": "a\nb"}, {"rack": "r" * 250}, {"data": ""}, {"data": "a\0b"}]
)
def test_values_that_cannot_be_are_refused(flags: dict[str, str | None]) -> None:
    """Empty, unprintable and endless values are named before the node starts."""
    with pytest.raises(CommandError) as caught:
        node_options(from_flags(flags, []))
    assert caught.value.wrong.startswith(f"--{next(iter(flags))}")


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":9092", "host:65536", "host:-1", "host:1:2", "::1:9092", "[::1]",
     "ho st:1", "host:0x10", "host:١", "[]:1", "host:" + "9" * 5000],
)  # fmt: skip
def test_bad_addresses_are_refused(text: str) -> None:
    """Anything but HOST:PORT with a port from 0 to 65535 is a ValueError for people."""
    with pytest.raises(ValueError, match=r"no port|no valid|without brackets"):
        parse_address(text)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_addresses_are_read_as_they_are_written(host: object, port: int) -> None:
    """What an address prints is parsed to the same address, IPv4 or IPv6."""
    address = Address(str(host), port)
    assert parse_address(str(address)) == address
    assert parse_address(str(address).rpartition(":")[0], default_port=port) == address


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert 0 <= address.port <= 65535
    assert address.host


@pytest.mark.parametrize(
    ("flags", "admin"),
    [
        ({}, Address("127.0.0.1", 9094)),
        ({"listen": "127.0.0.2:9192"}, Address("127.0.0.2", 9194)),
        ({"listen": "[::1]:9192"}, Address("::1", 9194)),
        ({"listen": "127.0.0.1:0"}, Address("127.0.0.1", 0)),
        ({"listen": "10.0.0.7:9092"}, Address("127.0.0.1", 9094)),
        ({"listen": "0.0.0.0:9092", "advertise": "b"}, Address("127.0.0.1", 9094)),
        ({"listen": "h:65534", "admin-listen": "0.0.0.0:1"}, Address("0.0.0.0", 1)),
    ],
)
def test_the_admin_port_follows_the_client_port_on_loopback(
    flags: dict[str, str | None], admin: Address
) -> None:
    """Two ports after the client's, never reachable from elsewhere unless somebody says so."""
    assert node_options(node_settings(flags, [], {}, None)).admin_listen == admin


def test_without_a_port_left_the_admin_port_must_be_said() -> None:
    """The last client ports leave no room after them."""
    with pytest.raises(CommandError, match="admin port") as caught:
        node_options(node_settings({"listen": "h:65534"}, [], {}, None))
    assert caught.value.status == Exit.USAGE
    assert "--admin-listen" in str(caught.value.do)


@pytest.mark.parametrize(
    ("flags", "peer"),
    [
        ({}, Address("127.0.0.1", 9093)),
        ({"listen": "10.0.0.7:9192"}, Address("127.0.0.1", 9193)),
        ({"listen": "10.0.0.7:9192", "insecure-peers": "true"}, Address("10.0.0.7", 9193)),
        ({"peer-listen": "127.0.0.2:7"}, Address("127.0.0.2", 7)),
        ({"peer-listen": "10.0.0.7:7", "insecure-peers": "true"}, Address("10.0.0.7", 7)),
    ],
)
def test_the_peer_port_follows_the_client_port_on_loopback(
    flags: dict[str, str | None], peer: Address
) -> None:
    """One port after the client's, never reachable from elsewhere unless somebody says so."""
    assert node_options(node_settings(flags, [], {}, None)).peer_listen == peer


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"peer-listen": "10.0.0.7:7"}, "may not be at 10.0.0.7:7"),
        ({"peer-listen": "0.0.0.0:7", "insecure-peers": "true"}, "cannot reach 0.0.0.0"),
        ({"listen": "h:65535", "admin-listen": "h:1"}, "no port is left for the peer port"),
        ({"join": " , "}, "names the peer address"),
        ({"join": "a:1,b"}, "has no port"),
        ({"weight": "-1"}, "a weight is a whole number"),
        ({"weight": "10001"}, "a weight is at most"),
        ({"host": ""}, "a host is 1 to 200"),
        ({"node-id": "0"}, "a node id is a number from 1"),
        ({"node-id": "2147483648"}, "a node id is a number from 1"),
        ({"profile": "moon"}, "it is one of local, lan, wan"),
    ],
)
def test_what_a_member_may_not_be_told(flags: dict[str, str | None], words: str) -> None:
    """Each wrong option of membership is refused by name, before anything is done."""
    with pytest.raises(CommandError, match=words) as caught:
        node_options(node_settings(flags, [], {}, None))
    assert caught.value.status == Exit.USAGE


def test_members_to_join_may_be_many() -> None:
    """Addresses are given one after the other, or with commas between them."""
    told = node_options(node_settings({"join": "a:1, b:2"}, [], {}, None))
    assert told.join == (Address("a", 1), Address("b", 2))
