"""Options of a node from three places: flags win over `MESH_…` variables, variables over the file.

Kafka-named settings are declared in `mesh.model.config`; the few others stand in `NODE_SETTINGS`.
Here they are only merged and named: every value keeps where it came from, for the error text.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn, cast

from mesh.node.options import (
    DEFAULT_LISTEN,
    WILDCARD_HOSTS,
    Address,
    Durability,
    NodeOptions,
    default_admin,
    default_peer,
    is_loopback,
    parse_address,
)
from tools import logs
from tools.errors import CommandError, Exit, nearest

NODE_SETTINGS = frozenset(
    {
        "data",
        "listen",
        "admin-listen",
        "peer-listen",
        "join",
        "node-id",
        "insecure-peers",
        "cluster-key-file",
        "profile",
        "advertise",
        "rack",
        "host",
        "weight",
        "durability",
        "log-level",
        "log-format",
    }
)
"""Settings of a node that Kafka has no name for; each is also a flag and a key of the file."""

OTHER_VARIABLES = frozenset({"MESH_CONFIG", "MESH_BOOTSTRAP", "MESH_ADMIN"})
"""Variables that stand for a flag but not for a key of the file."""

OURS_FOR_KAFKAS = {
    "log.dirs": "data",
    "listeners": "listen",
    "advertised.listeners": "advertise",
    "broker.rack": "rack",
}
"""What people who know Kafka may write, and what it is called here."""

DOMAIN_CHARACTERS_MAX = 200
"""Of a rack or a host; gossip carries 256 bytes of each."""
WEIGHT_MAX = 10_000
NODE_ID_MAX = 2**31 - 1
PROFILES = ("local", "lan", "wan")


class Setting(NamedTuple):
    """A value as it was written, and where."""

    value: str
    origin: str
    """`--listen`, `MESH_LISTEN`, or the file and its key."""


Settings = Mapping[str, Setting]


def variable_of(name: str) -> str:
    """Return the variable of a setting: `log.retention.ms` → `MESH_LOG_RETENTION_MS`."""
    return "MESH_" + name.upper().replace(".", "_").replace("-", "_")


def broker_config_names() -> frozenset[str]:
    """Return the Kafka names that a node takes; facts such as its id are not for asking."""
    from mesh.model.config import BROKER_SETTINGS  # only needed when somebody configures one

    return frozenset(name for name, row in BROKER_SETTINGS.items() if not row.fact)


def _unknown(what: str, name: str, known: Iterable[str]) -> NoReturn:
    guess = OURS_FOR_KAFKAS.get(name) or nearest(name, frozenset(known))
    raise CommandError(
        f"{what} is not known",
        status=Exit.USAGE,
        do=f"did you mean {guess}?"
        if guess
        else "remove it; `mesh node --help` tells what there is",
    )


def check_variables(environment: Mapping[str, str]) -> None:
    """Raise CommandError if a `MESH_…` variable means nothing to any command."""
    plain = {variable_of(name) for name in NODE_SETTINGS} | OTHER_VARIABLES
    for variable in sorted(environment):
        if not variable.startswith("MESH_") or variable in plain:
            continue
        known = plain | {variable_of(name) for name in broker_config_names()}
        if variable not in known:
            _unknown(f"the variable {variable}", variable, known)


def from_variables(environment: Mapping[str, str]) -> Settings:
    """Return the settings that the environment holds; `check_variables` has passed."""
    found = {v for v in environment if v.startswith("MESH_")} - OTHER_VARIABLES
    names = {variable_of(name): name for name in NODE_SETTINGS}
    if not found <= names.keys():
        names |= {variable_of(name): name for name in broker_config_names()}
    return {names[v]: Setting(environment[v], v) for v in found if v in names}


def from_file(path: str) -> Settings:
    """Return the settings of a TOML file; tables and dotted keys are one and the same.

    Raises:
        CommandError: it cannot be read, is not TOML, or holds a key that nothing knows.
    """
    import tomllib  # 4 ms that most starts can do without

    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        wrong = f"the config file {path} cannot be read: {error.strerror}"
        raise CommandError(wrong, status=Exit.USAGE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        wrong = f"the config file {path} is not TOML: {error}"
        raise CommandError(wrong, status=Exit.USAGE) from error
    settings: dict[str, Setting] = {}
    for name, value in _flatten(document):
        if name not in NODE_SETTINGS and name not in broker_config_names():
            _unknown(f"{path}: the key {name}", name, NODE_SETTINGS | broker_config_names())
        settings[name] = Setting(_as_text(path, name, value), f"{path}: {name}")
    return settings


def _flatten(table: Mapping[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _as_text(path: str, name: str, value: object) -> str:
    """Return a TOML value the way Kafka writes it in a properties file."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case list():
            return ",".join(_as_text(path, name, item) for item in cast("list[object]", value))
        case _:
            wrong = f"{path}: the key {name} holds a {type(value).__name__}, not a plain value"
            raise CommandError(wrong, status=Exit.USAGE)


def from_flags(flags: Mapping[str, str | None], assignments: Sequence[str]) -> Settings:
    """Return the settings of the command line: named flags, and `-o name=value` for Kafka's.

    Raises:
        CommandError: an assignment without `=`, or of a name that nothing knows.
    """
    settings = {n: Setting(v, f"--{n}") for n, v in flags.items() if v is not None}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            wrong = f"-o {assignment} has no value; write -o NAME=VALUE"
            raise CommandError(wrong, status=Exit.USAGE)
        if name not in broker_config_names():
            _unknown(f"-o {name}", name, broker_config_names())
        settings[name] = Setting(value, f"-o {name}")
    return settings


def node_settings(
    flags: Mapping[str, str | None],
    assignments: Sequence[str],
    environment: Mapping[str, str],
    config_file: str | None,
) -> Settings:
    """Merge the three places."""
    in_file = from_file(config_file) if config_file else {}
    return {**in_file, **from_variables(environment), **from_flags(flags, assignments)}


def node_options(settings: Settings) -> NodeOptions:
    """Check every value and return what the node is told.

    Raises:
        CommandError: a value is wrong; the text names where it was written.
    """
    listen = _address(settings.get("listen")) or DEFAULT_LISTEN
    admin_listen = _address(settings.get("admin-listen"))
    if admin_listen is None:
        try:
            admin_listen = default_admin(listen)
        except ValueError as error:
            do = "say with --admin-listen HOST:PORT where it is to be"
            raise CommandError(f"--listen {listen}: {error}", status=Exit.USAGE, do=do) from error
    insecure = chosen(settings, "insecure-peers", ("true", "false"), "false") == "true"
    key_file = settings.get("cluster-key-file")
    if key_file and (not key_file.value or "\0" in key_file.value):
        _wrong(key_file, "a file needs a name")
    peer_listen = _peer_listen(settings, listen, guarded=insecure or key_file is not None)
    advertise = _address(settings.get("advertise"), default_port=0)
    told = advertise or listen
    if told.host in WILDCARD_HOSTS:
        raise CommandError(
            f"clients cannot connect to {told.host}, which only means all of our own interfaces",
            status=Exit.USAGE,
            do="say with --advertise HOST what clients are told",
        )
    rack, host = _domain(settings, "rack"), _domain(settings, "host")
    data = settings.get("data")
    if data and (not data.value or "\0" in data.value):
        _wrong(data, "a directory needs a name")
    config = {n: s for n, s in settings.items() if n not in NODE_SETTINGS}
    durability = cast("Durability", chosen(settings, "durability", ("disk", "memory"), "disk"))
    if config:
        _check_broker_configs(config, durability)
    return NodeOptions(
        data_directory=data.value if data else "./mesh-data",
        listen=listen,
        admin_listen=admin_listen,
        advertise=advertise,
        peer_listen=peer_listen,
        join=_join(settings.get("join")),
        node_id=_node_id(settings.get("node-id")),
        cluster_key_file=key_file.value if key_file else None,
        insecure_peers=insecure,
        profile=chosen(settings, "profile", PROFILES, "") or None,
        rack=rack,
        host=host,
        weight=_weight(settings.get("weight")),
        durability=durability,
        config={name: setting.value for name, setting in config.items()},
    )


def _peer_listen(settings: Settings, listen: Address, *, guarded: bool) -> Address:
    found = _address(settings.get("peer-listen"))
    if found is None:
        try:
            found = default_peer(listen, guarded=guarded)
        except ValueError as error:
            do = "say with --peer-listen HOST:PORT where it is to be"
            raise CommandError(f"--listen {listen}: {error}", status=Exit.USAGE, do=do) from error
    if not guarded and not is_loopback(found.host):
        raise CommandError(
            f"the peer port may not be at {found}: whoever reaches it could be a member",
            status=Exit.USAGE,
            do="make a key with `mesh key new cluster.key` and give --cluster-key-file cluster.key "
            "to all members; or keep it on 127.0.0.1, or say --insecure-peers if all who reach it "
            "are trusted",
        )
    if found.host in WILDCARD_HOSTS:
        raise CommandError(
            f"other members cannot reach {found.host}, which only means all of our own interfaces",
            status=Exit.USAGE,
            do="give --peer-listen the address by which they reach this machine",
        )
    return found


def _join(setting: Setting | None) -> tuple[Address, ...]:
    if setting is None:
        return ()
    parts = [part.strip() for part in setting.value.split(",")]
    found = [_address(Setting(part, setting.origin)) for part in parts if part]
    if not found:
        _wrong(setting, "it names the peer address of a member, HOST:PORT")
    return tuple(address for address in found if address is not None)


def _node_id(setting: Setting | None) -> int | None:
    if setting is None:
        return None
    digits = setting.value.isascii() and setting.value.isdecimal()
    if not digits or not 0 < int(setting.value[:11]) <= NODE_ID_MAX:
        _wrong(setting, f"a node id is a number from 1 to {NODE_ID_MAX}")
    return int(setting.value)


def _domain(settings: Settings, name: str) -> str | None:
    setting = settings.get(name)
    if setting is None:
        return None
    value = setting.value
    if not (0 < len(value) <= DOMAIN_CHARACTERS_MAX and value.isprintable()):
        _wrong(setting, f"a {name} is 1 to {DOMAIN_CHARACTERS_MAX} printable characters")
    return value


def _weight(setting: Setting | None) -> int:
    if setting is None:
        return 100
    if not setting.value.isascii() or not setting.value.isdecimal():
        _wrong(setting, "a weight is a whole number; 100 is the usual one")
    if int(setting.value[:6]) > WEIGHT_MAX:
        _wrong(setting, f"a weight is at most {WEIGHT_MAX}")
    return int(setting.value)


def _check_broker_configs(config: Settings, durability: Durability) -> None:
    from mesh.model.config import BROKER_SETTINGS, BrokerConfig, ConfigError

    values = {name: setting.value for name, setting in config.items()}
    try:
        BrokerConfig.from_mapping(values, {"gossamer.durability": durability})
    except ConfigError as error:
        setting = config.get(error.name)
        if setting is None:
            raise CommandError(str(error), status=Exit.USAGE) from error
        shown = BROKER_SETTINGS[error.name].shown(setting.value)
        _wrong(setting._replace(value=shown), error.reason)


def _address(setting: Setting | None, *, default_port: int | None = None) -> Address | None:
    if setting is None:
        return None
    try:
        return parse_address(setting.value, default_port=default_port)
    except ValueError as error:
        raise CommandError(f"{setting.origin}: {error}", status=Exit.USAGE) from error


def chosen(settings: Settings, name: str, choices: Sequence[str], default: str) -> str:
    """Return the value of a setting that is one of a few words."""
    setting = settings.get(name)
    if setting is None:
        return default
    if setting.value not in choices:
        _wrong(setting, f"it is one of {', '.join(choices)}")
    return setting.value


def _wrong(setting: Setting, reason: str) -> NoReturn:
    wrong = f"{setting.origin} cannot be {setting.value!r}: {reason}"
    raise CommandError(wrong, status=Exit.USAGE)


def set_up_logs(settings: Settings, *, traces: bool) -> None:
    """Start logging as the settings say."""
    level = chosen(settings, "log-level", tuple(logs.LEVELS), "info")
    logs.set_up(level, chosen(settings, "log-format", logs.FORMATS, "text"), traces=traces)
