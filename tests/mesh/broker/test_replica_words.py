"""What peers say as messages of groups: what no journal could hold is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.broker.replica_words import BadWordError, from_word_untrusted, to_word
from mesh.replication import messages as msg
from mesh.replication.state import Config, ConfigId, LogPosition, Replica

ME = Replica(1, "00000000-0000-0000-0000-000000000001")
CONFIG = Config(3, 1, (ME,))
GOOD = [
    msg.VoteRequest(4, ConfigId(3, 1), LogPosition(3, 7)),
    msg.VoteReply(4, False, True, 4, CONFIG, 0),
    msg.Append(4, 1, CONFIG, 0, 0, -1, (), 0, 0, -1),
    msg.Held(4, 1, 5, 5, ConfigId(3, 1), 0),
    msg.Mismatch(4, 1, 3, 5),
    msg.Refused(4, CONFIG),
    msg.Campaign(4),
    msg.Astray(4),
    msg.Leave(4, 1, CONFIG),
    msg.Left(4, 1),
]


@pytest.mark.parametrize("message", GOOD, ids=lambda message: type(message).__name__)
def test_messages_come_back_as_they_were_said(message: msg.Message) -> None:
    """Each kind."""
    kind, fields, _ = to_word(message)
    assert from_word_untrusted(kind, fields, []) == message


BAD = [
    msg.VoteRequest(1 << 40, ConfigId(3, 1), LogPosition(3, 7)),
    msg.VoteRequest((1 << 31) - 1, ConfigId(3, 1), LogPosition(3, 7)),
    msg.Refused(1 << 40, CONFIG),
    msg.Refused(4, CONFIG._replace(config_epoch=1 << 40)),
    msg.Refused(4, CONFIG._replace(config_version=1 << 40)),
    msg.Refused(4, CONFIG._replace(voters=(Replica(1 << 40, ME.directory_id),))),
    msg.Refused(4, CONFIG._replace(voters=tuple(Replica(n, ME.directory_id) for n in range(200)))),
    replace(msg.Append(4, 1, CONFIG, 0, 0, -1, (), 0, 0, -1), leader_epoch=1 << 40),
]


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_numbers_that_no_journal_holds_are_refused(message: msg.Message) -> None:
    """They would end the node when it writes them down."""
    kind, fields, _ = to_word(message)
    with pytest.raises(BadWordError):
        from_word_untrusted(kind, fields, [])
