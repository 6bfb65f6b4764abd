"""Declarations by themselves: what is there, that it is sound, and how one behaves as a class."""

import pkgutil

import pytest

import mesh.wire.schemas
from mesh.wire import API_NAMES, Message, Struct, request_class, response_class
from mesh.wire.catalogue import schema_module
from mesh.wire.fields import fields_of
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from mesh.wire.types import NEVER

ALL = [declared(key) for key in API_NAMES for declared in (request_class, response_class)]


def test_every_schema_module_is_in_the_catalogue() -> None:
    """There is one module for each API that is listed, and no other."""
    folder = pkgutil.iter_modules(mesh.wire.schemas.__path__, "mesh.wire.schemas.")
    assert {module.name for module in folder} == set(map(schema_module, API_NAMES))


@pytest.mark.parametrize("api_key", API_NAMES)
def test_request_and_response_belong_together(api_key: int) -> None:
    """Both sides of an API have its key, and the same versions."""
    request, response = request_class(api_key), response_class(api_key)
    assert request.API_KEY == response.API_KEY == api_key
    assert request.VERSIONS == response.VERSIONS
    assert request.FLEXIBLE_FROM == response.FLEXIBLE_FROM


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_structure_is_declared_soundly(cls: type[Message]) -> None:
    """Marks of versions, tags and defaults of every declaration make sense together."""
    check(cls, cls)


def check(struct_class: type[Struct], within: type[Message]) -> None:
    tags = [field.tag for field in fields_of(struct_class) if field.tag is not None]
    assert tags == list(range(len(tags)))
    for field in fields_of(struct_class):
        assert field.since <= field.until
        assert field.since <= within.VERSIONS[1]
        assert field.default is not None or field.nullable_since < NEVER
        if field.tag is not None:
            assert field.since >= within.FLEXIBLE_FROM
        if isinstance(field.kind, type) and issubclass(field.kind, Struct):
            check(field.kind, within)


def test_defaults_are_nobody_elses() -> None:
    """Filling one message's default list leaves every other message alone."""
    MetadataRequest().topics.append(MetadataRequestTopic())  # type: ignore[union-attr]
    assert MetadataRequest().topics == []


def test_messages_are_compared_by_value() -> None:
    """Equal fields make equal messages; another class or value does not."""
    assert MetadataRequest() == MetadataRequest(topics=[])
    assert MetadataRequest() != MetadataRequest(topics=None)
    assert MetadataRequest() != MetadataResponse()


def test_fields_are_given_by_name_and_exist() -> None:
    """A misspelt field is an error at once, in the constructor and on assignment."""
    with pytest.raises(TypeError):
        MetadataRequest(topic=[])  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        MetadataRequest().topic = []  # type: ignore[attr-defined]


def test_a_repr_never_shows_bytes() -> None:
    """Messages end up in logs; records, passwords and tokens do not."""
    partition = PartitionProduceData(index=1, records=b"secret")
    topic = TopicProduceData(name="t", partition_data=[partition])
    shown = repr(ProduceRequest(topic_data=[topic]))
    assert "secret" not in shown
    assert "records=<6 bytes>" in shown
    assert "name='t'" in shown
