"""What one configuration is: its declaration, and how its text is read, checked and written.

A setting is an attribute of a frozen dataclass (mesh/model/config.py); what the attribute
alone cannot say stands in a `Setting` in its metadata, so there is one declaration for each.
Texts of errors are those of Kafka 4.3, as its broker gives them, because tools show them.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

Value: TypeAlias = bool | int | float | str | tuple[str, ...]
"""A parsed value; tuple for a LIST."""


TEXT_LENGTH_MAX = 32_767
"""Characters of a value: what DescribeConfigs can say in its older versions. Kafka has no bound;
ours also keeps small what every node holds in memory for ever."""


HIDDEN = "[hidden]"
"""What stands for a password in texts."""


class Kind(IntEnum):
    """Type of a value; the numbers are DescribeConfigs' ConfigType."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class Source(IntEnum):
    """Where a value in force comes from; the numbers are DescribeConfigs' ConfigSource."""

    TOPIC = 1
    BROKER = 2
    """Set at runtime for one broker."""
    CLUSTER = 3
    """Set at runtime for all brokers."""
    STATIC = 4
    """Flag, variable or file of the node."""
    DEFAULT = 5


class ConfigError(Exception):
    """A value that its setting does not take; str() is Kafka's text."""

    def __init__(self, name: str, value: str, reason: str) -> None:
        """`reason` says what would be taken."""
        super().__init__(name, value, reason)
        self.name = name
        self.value = value
        self.reason = reason

    def __str__(self) -> str:
        return f"Invalid value {self.value} for configuration {self.name}: {self.reason}"


class RefusedConfigError(ConfigError):
    """A value that is good for its type, but not here or not beside another; Kafka's text."""

    def __str__(self) -> str:
        return self.reason


class UnknownConfigError(ConfigError):
    """No setting has this name; str() names the nearest one."""

    def __str__(self) -> str:
        return f"Unknown configuration {self.name}: {self.reason}"


class Synonym(NamedTuple):
    """A broker setting that gives a topic setting its default, in its own unit."""

    name: str
    scale: int = 1
    """One unit of the synonym in units of the setting: hours have 3,600,000 ms."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything about a configuration but its value."""

    name: str
    """Kafka's public name."""
    attribute: str = ""
    """Our name, with its unit; empty for what is unused and has no place in a view."""
    kind: Kind
    default: str | None
    """As text; None where Kafka says null: nothing is set."""
    about: str
    """For people: meaning and unit, in whole sentences."""
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    synonyms: tuple[Synonym, ...] = ()
    """First one set wins."""
    dynamic: bool = True
    """Whether IncrementalAlterConfigs may change it while the node runs."""
    per_node: bool = False
    """Whether a change at runtime is for one node only, never for all."""
    per_mesh: bool = False
    """Whether a change at runtime is for all nodes only, never for one."""
    fact: bool = False
    """Known by the node itself (an id, an address); no configuration can set it."""
    check: Callable[[Value], str | None] | None = None
    """Further condition: the reason why a value is refused, or None."""
    unused: str | None = None
    """Why no value of it changes anything here, in whole sentences; None if values do."""
    refused: bool = False
    """Whether it takes no other value than its default, for the reason that `unused` gives."""
    hidden: bool = False
    """Whether it is listed only where it is set."""

    @property
    def sensitive(self) -> bool:
        """Whether its value is shown to nobody."""
        return self.kind is Kind.PASSWORD

    @property
    def documentation(self) -> str:
        """What DescribeConfigs tells about it: its meaning, and what it does here."""
        if self.unused is None:
            return self.about
        only = f" {self.default or 'Nothing'} is all it takes." if self.refused else ""
        return f"{self.about} Changes nothing here: {self.unused}{only}"

    def parse(self, text: str) -> Value:
        """Return the value.

        Raises:
            ConfigError: with the text Kafka gives for it.
        """
        if len(text) > TEXT_LENGTH_MAX:
            reason = f"Value must not be longer than {TEXT_LENGTH_MAX} characters"
            raise ConfigError(self.name, self.shown(f"{text[:40]}…"), reason)
        value = _PARSERS[self.kind](self, text.strip())
        self._check(value)
        return value

    def check_taken(self, text: str) -> None:
        """Refuse a value that is good, but cannot be had here; one that was taken once stays.

        Raises:
            ConfigError: says why.
        """
        if self.refused and text_of(self.parse(text)) != (self.default or ""):
            only = f"only {self.default} is" if self.default else "no value is"
            reason = f"{only} taken for {self.name}: {self.unused}"
            raise RefusedConfigError(self.name, self.shown(text), reason)

    def shown(self, text: str) -> str:
        """Return what may be shown of a value to those who ask, or who gave it."""
        return HIDDEN if self.sensitive else text

    def _check(self, value: Value) -> None:
        shown = self.shown(_shown(value))
        for item in value if isinstance(value, tuple) else (value,):
            if self.choices and item not in self.choices:
                wanted = "String must be one of: " + ", ".join(self.choices)
                raise ConfigError(self.name, str(item), wanted)
        if not isinstance(value, (str, tuple)):
            if self.at_least is not None and value < self.at_least:
                raise ConfigError(self.name, shown, f"Value must be at least {self.at_least:.0f}")
            if self.at_most is not None and value > self.at_most:
                raise ConfigError(
                    self.name, shown, f"Value must be no more than {self.at_most:.0f}"
                )
        if self.check is not None and (reason := self.check(value)) is not None:
            raise ConfigError(self.name, shown, reason)


def setting(
    name: str,
    kind: Kind,
    default: str | None,
    about: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    synonyms: tuple[Synonym, ...] = (),
    dynamic: bool = True,
    per_mesh: bool = False,
    fact: bool = False,
    check: Callable[[Value], str | None] | None = None,
    unused: str | None = None,
    refused: bool = False,
) -> Any:
    """Declare a dataclass attribute that is a setting; Any, as `dataclasses.field` is."""
    unnamed = Setting(
        name=name,
        kind=kind,
        default=default,
        about=about,
        at_least=at_least,
        at_most=at_most,
        choices=choices,
        synonyms=synonyms,
        dynamic=dynamic and not fact,
        per_mesh=per_mesh,
        fact=fact,
        check=check,
        unused=unused,
        refused=refused,
    )
    value = None if default is None else unnamed.parse(default)
    return dataclasses.field(default=value, metadata={"setting": unnamed})


def settings_of(cls: type) -> dict[str, Setting]:
    """Return the settings that a dataclass declares, by Kafka's name, sorted by it."""
    found = [
        dataclasses.replace(field.metadata["setting"], attribute=field.name)
        for field in dataclasses.fields(cls)
        if "setting" in field.metadata
    ]
    return {row.name: row for row in sorted(found, key=lambda row: row.name)}


def text_of(value: Value | None) -> str | None:
    """Write a value as Kafka shows it; parse(text_of(value)) is the value again."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(value)
        case float():
            return _java_double(value)
        case _:
            return str(value)


def _java_double(value: float) -> str:
    """Write a double as Java does: with an exponent below a thousandth and from ten million on."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    written = (f"{value:.{digits}e}" for digits in range(1, 17))
    mantissa, _, exponent = next(text for text in written if float(text) == value).partition("e")
    return f"{mantissa}E{int(exponent)}"


def _shown(value: Value) -> str:
    """Write a value as it stands in an error text: a list as Java prints it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    return text_of(value) or ""


def _boolean(row: Setting, text: str) -> Value:
    if text.lower() not in ("true", "false"):
        raise ConfigError(row.name, text, "Expected value to be either true or false")
    return text.lower() == "true"


# Digits are bounded before int() sees them: it is quadratic in their number.
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_DOUBLE = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_BITS = {Kind.SHORT: 16, Kind.INT: 32, Kind.LONG: 64}


def _integer(row: Setting, text: str) -> Value:
    limit = 1 << (_BITS[row.kind] - 1)
    if not _INTEGER.fullmatch(text) or not -limit <= int(text) < limit:
        raise ConfigError(row.name, text, f"Not a number of type {row.kind.name}")
    return int(text)


def _double(row: Setting, text: str) -> Value:
    if not _DOUBLE.fullmatch(text) or math.isinf(float(text)):
        raise ConfigError(row.name, text, "Not a number of type DOUBLE")
    return float(text)


def _list(row: Setting, text: str) -> Value:
    items = [item.strip() for item in text.split(",")] if text else []
    if "" in items:
        reason = f"Configuration '{row.name}' values must not be empty."
        raise RefusedConfigError(row.name, text, reason)
    return tuple(dict.fromkeys(items))  # A repeated item says nothing new.


def _string(_row: Setting, text: str) -> Value:
    return text


_PARSERS: dict[Kind, Callable[[Setting, str], Value]] = {
    Kind.BOOLEAN: _boolean,
    Kind.STRING: _string,
    Kind.INT: _integer,
    Kind.SHORT: _integer,
    Kind.LONG: _integer,
    Kind.DOUBLE: _double,
    Kind.LIST: _list,
    Kind.CLASS: _string,
    Kind.PASSWORD: _string,
}
