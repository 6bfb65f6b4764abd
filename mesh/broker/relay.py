"""Requests about the registry at a node that does not lead its shard: they are handed on.

A request is split by the shards that its parts are about. What this node leads it answers itself;
the rest goes, as the very request of the client, to the shard's leader over a link, and comes back
as the very response. An answer leaves once this node's own replay has passed what it rests on, so
that a client that asks this node next sees what it did.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cbor2

from mesh.broker.api import Request, Session
from mesh.links import Ask, Reply
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId, Now
from mesh.model.untrusted import UnreadableError, read_untrusted
from mesh.registry import NewTopic, Plan, RecordPair, shard_of
from mesh.replication import Replica
from mesh.replication import events as ev
from mesh.wire import (
    Message,
    WireError,
    decode,
    encode_request,
    encode_response,
    read_request_header,
    read_response,
    response_class,
)
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)

if TYPE_CHECKING:
    from mesh.broker.api import Answer, Handler
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from mesh.broker.purgatory import Parked
    from storage.promises import GroupId

RECORDS = 1_000
"""In place of an API key: records that a node wants to be appended, as they are."""
PREFER = 1_001
"""In place of an API key: a leader is to hand over to a certain node."""
AGAIN_MS = 100
"""After so long a part that nobody took is offered again."""
HUNG_MS = 3_000
"""For so long a node that says nothing is waited for: it knows what it has begun, and nobody else
can tell what is to be done still. A link that closes is another matter."""
ASKED_MAX = 10_000
"""Parts that wait for other nodes, at most."""
TOLD_MAX, TOLD_BYTES_MAX = 1_000, 16 << 20
"""Answers that are kept for nodes that may not have got them."""
CREATE_MS_MAX = 5_000
LENGTH_BYTES = 4

Split = Callable[["Broker", Any], "dict[int, Message]"]
Merge = Callable[[Any, Sequence[Any]], Message]


@dataclass(frozen=True, slots=True)
class Relayed:
    """How the requests of one API are taken apart, and their answers put together."""

    split: Split
    """From a request to the requests about each shard."""
    merge: Merge
    """From the request and the responses to its parts, to one response."""
    refuse: Callable[[Any, KafkaError], Message]
    """The response to a part that nobody could be asked about."""
    wait_ms: Callable[[Any], int]
    """How long the client waits."""
    left_over: Callable[[Any, Any], Message | None] = lambda body, response: None
    """From a request and its response to the request for what is to be asked again, if anything:
    whoever answered led no more, and what it had written is not what its successor has. That is
    taken out of the response."""


@dataclass(slots=True, eq=False)
class _Part:
    """What is asked of one shard's leader."""

    shard: int
    api_key: int
    version: int
    client_id: str
    frame: bytes
    deadline_ms: int
    done: Callable[[Message | None, KafkaError | None, Now], None]
    asked: NodeId | None = None
    again_ms: int = 0
    hung_ms: int | None = None
    """When to ask elsewhere: who was asked says nothing any more."""
    reply: Reply | None = None
    number: int = 0

    @property
    def wake_at_ms(self) -> int:
        """When to look at it again."""
        if self.reply is not None:
            return self.deadline_ms
        again_ms = self.again_ms if self.asked is None else self.hung_ms
        return self.deadline_ms if again_ms is None else min(again_ms, self.deadline_ms)


@dataclass(slots=True, eq=False)
class Combined:
    """Waits for the parts of one request; a waiter in the purgatory."""

    request: Any
    relayed: Relayed
    deadline_ms: int
    answers: list[Message | None] = field(default_factory=list)
    parts: list[Message] = field(default_factory=list)
    parked: Parked | None = None

    def watched(self) -> Sequence[Partition]:
        """No partition: whoever answers a part says so."""
        return ()

    def poll(self, now: Now) -> Message | None:
        """Return the whole once every part is there."""
        del now
        found = [answer for answer in self.answers if answer is not None]
        if len(found) < len(self.answers):
            return None
        return self.relayed.merge(self.request, found)

    def expired(self, now: Now) -> Message:
        """Say of the missing parts that the time was up."""
        late = KafkaError(ErrorCode.REQUEST_TIMED_OUT, "The request timed out.")
        for place, answer in enumerate(self.answers):
            if answer is None:
                self.answers[place] = self.relayed.refuse(self.parts[place], late)
        whole = self.poll(now)
        assert whole is not None, "nothing is missing any more"
        return whole


class Relay:
    """What this node asks other nodes for, and what they ask it for."""

    def __init__(self, broker: Broker) -> None:
        """Nothing is asked yet."""
        self._broker = broker
        self._parts: dict[int, _Part] = {}
        self._number = broker.registry.start >> 1
        """Of the newest part: counted on from where no earlier start of this node is likely to have
        been, for a leader tells by it what was asked before."""
        self._serving: set[tuple[NodeId, int]] = set()
        """What is handed on to this node and not answered yet."""
        self._told: OrderedDict[tuple[NodeId, int], Reply] = OrderedDict()
        self._told_bytes = 0
        self.apis: Mapping[int, tuple[Relayed, Handler[Any]]] = {}
        """The APIs that are handed on, by key."""

    # What clients of this node ask

    def handle(
        self, relayed: Relayed, handler: Handler[Any], request: Request, body: Any
    ) -> Answer:
        """Answer a request here as far as this node leads, and elsewhere for the rest."""
        broker = self._broker
        if relayed.wait_ms(body) <= 0:  # Without time nothing is looked at, wherever it is.
            return handler.handle(broker, request, body)
        split = relayed.split(broker, body)
        deadline_ms = request.now.monotonic_ms + relayed.wait_ms(body)
        whole = Combined(body, relayed, deadline_ms, [None] * len(split), list(split.values()))
        if all(self._is_here(shard) for shard in split):
            return self._all_here(handler, request, whole)
        for place, (shard, part) in enumerate(split.items()):
            if self._is_here(shard):
                self._answer_here(handler, request, part, whole, place)
            else:
                self._hand_on(request, shard, part, whole, place)
        return whole.poll(request.now) or whole

    def _all_here(self, handler: Handler[Any], request: Request, whole: Combined) -> Answer:
        """Have the handler answer it in one piece; most requests end there, at once."""
        answer = handler.handle(self._broker, request, whole.request)
        if answer is None or isinstance(answer, Message):
            return answer
        whole.parts, whole.answers, whole.deadline_ms = [whole.request], [None], answer.deadline_ms
        self._broker.park(answer, functools.partial(self._take, request, whole, 0))
        return whole

    def _take(self, request: Request, whole: Combined, place: int, response: Message) -> None:
        """Take the answer to one part; what led to nothing is asked again, elsewhere."""
        again = whole.relayed.left_over(whole.parts[place], response)
        whole.answers[place] = response
        if again is not None:
            for shard, part in whole.relayed.split(self._broker, again).items():
                whole.parts.append(part)
                whole.answers.append(None)
                self._hand_on(request, shard, part, whole, len(whole.parts) - 1)
        if whole.parked is not None:
            whole.parked.poll(request.now)

    def _is_here(self, shard: int) -> bool:
        """Whether this node answers for a shard; those below 0 every node answers for."""
        broker = self._broker
        return shard < 0 or broker.registry_shards.is_loaded(broker.shards[shard])

    def _answer_here(
        self, handler: Handler[Any], request: Request, part: Any, whole: Combined, place: int
    ) -> None:
        answer = handler.handle(self._broker, request, part)
        assert answer is not None, "only Produce has no answer"
        if isinstance(answer, Message):
            self._take(request, whole, place, answer)
        else:
            self._broker.park(answer, functools.partial(self._take, request, whole, place))

    def _hand_on(
        self, request: Request, shard: int, part: Message, whole: Combined, place: int
    ) -> None:
        def done(response: Message | None, error: KafkaError | None, now: Now) -> None:
            del now
            if response is None:
                assert error is not None, "one of the two is there"
                response = whole.relayed.refuse(part, error)
            self._take(request, whole, place, response)

        version, client_id = request.api_version, request.client_id or ""
        frame = encode_request(part, version, 0, client_id)
        self._add(
            _Part(
                shard,
                request.api_key,
                version,
                client_id,
                _joined(frame),
                whole.deadline_ms,
                done,
            ),
            request.now,
        )

    # What this node itself wants

    def propose(self, plan: Plan, now: Now) -> None:
        """Have the shard's leader append these records; replay will tell what became of them."""
        frame = cbor2.dumps([[pair.key, pair.value] for pair in plan.records])
        deadline_ms = now.monotonic_ms + CREATE_MS_MAX
        self._add(_Part(plan.shard, RECORDS, 0, "", frame, deadline_ms, _nobody), now)

    def create(self, topic: NewTopic, now: Now) -> None:
        """Have the shard's leader make a topic; replay will tell."""
        wanted = CreatableTopic(
            name=topic.name,
            num_partitions=topic.partition_count,
            replication_factor=topic.replication_factor,
            configs=[CreatableTopicConfig(name=name, value=value) for name, value in topic.configs],
        )
        body = CreateTopicsRequest(topics=[wanted], timeout_ms=CREATE_MS_MAX)
        version = 7
        frame = _joined(encode_request(body, version, 0, ""))
        deadline_ms = now.monotonic_ms + CREATE_MS_MAX
        shard = shard_of(topic.name)
        self._add(_Part(shard, body.API_KEY, version, "", frame, deadline_ms, _nobody), now)

    def prefer(self, leader: NodeId, group: GroupId, preferred: NodeId, now: Now) -> bool:
        """Have the leader of a group hand over to another node; False if it cannot be asked."""
        if leader == self._broker.node_id:
            return self._hand_over(group, preferred, now)
        frame = cbor2.dumps([*group, preferred])
        return self._broker.groups.links.put(leader, Ask(0, PREFER, 0, "", frame))

    def _hand_over(self, group: GroupId, preferred: NodeId, now: Now) -> bool:
        groups = self._broker.groups
        partition, directory_id = groups.by_id.get(group), groups.directories.get(preferred)
        if partition is None or directory_id is None or not partition.takes_writes:
            return False
        to = Replica(preferred, directory_id)
        groups.feed(partition, ev.HandOver(to), now.monotonic_ms)
        return True

    def _add(self, part: _Part, now: Now) -> None:
        if len(self._parts) >= ASKED_MAX:
            busy = KafkaError(ErrorCode.REQUEST_TIMED_OUT, "Too much waits for other nodes.")
            part.done(None, busy, now)
            return
        self._number += 1
        part.number = self._number
        self._parts[part.number] = part
        self._offer(part, now)

    def _offer(self, part: _Part, now: Now) -> None:
        """Send a part to whoever leads its shard, if that is known."""
        broker = self._broker
        shard = broker.shards[part.shard]
        owner = broker.groups.owners.get((shard.topic_id, shard.index))
        part.again_ms = now.monotonic_ms + AGAIN_MS
        part.asked = part.hung_ms = None
        node_id = -1 if owner is None else owner.node_id
        if broker.registry_shards.is_loaded(shard):
            node_id = broker.node_id
        if node_id == broker.node_id:
            part.asked = node_id
            answer = functools.partial(_numbered, part.number, self.replied)
            self._serve(_ask(part), answer, now, node_id)
            return
        if node_id >= 0 and broker.groups.links.put(node_id, _ask(part)):
            part.asked = node_id

    def replied(self, reply: Reply, now: Now) -> None:
        """A node, perhaps this one, has answered; not in time if the part was given up."""
        part = self._parts.get(reply.number)
        if part is None:
            return
        if reply.error == ErrorCode.NOT_CONTROLLER:
            part.asked, part.again_ms = None, now.monotonic_ms + AGAIN_MS
            return
        part.reply = Reply(reply.number, reply.error, reply.text, reply.ends, bytes(reply.body))
        self._finish_if_replayed(part, now)

    def _finish_if_replayed(self, part: _Part, now: Now) -> None:
        reply, ends = part.reply, self._broker.registry.replayed_ends
        assert reply is not None, "it was answered"
        if any(shard < len(ends) and ends[shard] < end for shard, end in reply.ends):
            return
        del self._parts[part.number]
        if reply.error:
            known = reply.error in ErrorCode.__members__.values()
            code = ErrorCode(reply.error) if known else ErrorCode.UNKNOWN_SERVER_ERROR
            part.done(None, KafkaError(code, reply.text), now)
        elif part.api_key == RECORDS:
            part.done(None, None, now)
        else:
            try:
                kind = response_class(part.api_key)
                part.done(read_response(kind, reply.body, part.version)[1], None, now)
            except WireError as error:
                text = f"Another node's answer is none: {error}"
                part.done(None, KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, text), now)

    def lost(self, node_id: NodeId, now: Now, *, closed: bool) -> None:
        """A node is not there any more: what it was asked is asked elsewhere, or (not closed) soon.

        Args:
            node_id: of the node.
            now: both clocks.
            closed: whether a link is gone; otherwise nothing comes over it.
        """
        for part in list(self._parts.values()):
            if part.asked != node_id or part.reply is not None:
                continue
            if closed:
                part.asked, part.again_ms = None, now.monotonic_ms
            elif part.hung_ms is None:
                part.hung_ms = now.monotonic_ms + HUNG_MS

    @property
    def wake_at_ms(self) -> int | None:
        """When to call `tick`."""
        return min((part.wake_at_ms for part in self._parts.values()), default=None)

    def tick(self, now: Now) -> None:
        """Offer again what nobody has, and give up what is late."""
        for part in list(self._parts.values()):
            if part.number not in self._parts:
                continue  # What another part's end brought about has ended this one, too.
            if part.deadline_ms <= now.monotonic_ms:
                del self._parts[part.number]
                part.done(None, self._late(part), now)
            elif part.reply is None and part.wake_at_ms <= now.monotonic_ms:
                self._offer(part, now)

    def settle(self, now: Now) -> None:
        """Replay has gone on: answer what waited for it."""
        for part in list(self._parts.values()):
            if part.reply is not None and part.number in self._parts:
                self._finish_if_replayed(part, now)

    def _late(self, part: _Part) -> KafkaError:
        broker = self._broker
        shard = broker.shards[part.shard]
        if part.asked is not None:
            text = f"Node {part.asked} leads shard {part.shard} of the registry and did not answer."
            return KafkaError(ErrorCode.REQUEST_TIMED_OUT, text)
        missing = [
            str(voter.node_id)
            for voter in shard.group.holding.promise.config.voters
            if voter.node_id != broker.node_id and not broker.groups.links.is_there(voter.node_id)
        ]
        text = f"Shard {part.shard} of the registry has no leader"
        text += f"; of its voters these are not reached: {', '.join(missing)}." if missing else "."
        return KafkaError(ErrorCode.REQUEST_TIMED_OUT, text)

    # What other nodes ask

    def asked(self, node_id: NodeId, ask: Ask, now: Now) -> None:
        """Answer what another node hands on, once that is committed."""
        links, name = self._broker.groups.links, (node_id, ask.number)
        if name in self._serving:
            return  # It was asked over a link that is gone, and is answered over this one.
        if (told := self._told.get(name)) is not None:
            links.put(node_id, told)
            return

        def answer(reply: Reply, now: Now) -> None:
            del now
            links.put(node_id, reply)
            self._serving.discard(name)
            if reply.error != ErrorCode.NOT_CONTROLLER and ask.api_key in self.apis:
                self._keep(name, reply)

        numbered = functools.partial(_numbered, ask.number, answer)
        if ask.api_key in self.apis:  # Records are replayed as often as they come.
            self._serving.add(name)
        self._serve(ask, numbered, now, node_id)

    def _keep(self, name: tuple[NodeId, int], reply: Reply) -> None:
        """Keep an answer, in case it is asked for once more: the change was made."""
        self._told[name] = reply
        self._told_bytes += len(reply.body)
        while len(self._told) > TOLD_MAX or self._told_bytes > TOLD_BYTES_MAX:
            _, oldest = self._told.popitem(last=False)
            self._told_bytes -= len(oldest.body)

    def _serve(
        self, ask: Ask, answer: Callable[[Reply, Now], None], now: Now, asked: NodeId
    ) -> None:
        api_key, frame = ask.api_key, bytes(ask.body)
        try:
            if api_key == RECORDS:
                self._serve_records(frame, answer, now)
            elif api_key == PREFER:
                match read_untrusted(frame):
                    case [bytes(topic_id), int(index), int(preferred)]:
                        self._hand_over((topic_id, index), preferred, now)
            else:
                self._serve_request(ask, frame, answer, now, asked)
        except KafkaError as error:
            answer(Reply(0, error.code, error.message or "", (), b""), now)
        except (WireError, UnreadableError) as error:
            answer(Reply(0, ErrorCode.INVALID_REQUEST, str(error)[:300], (), b""), now)

    def _serve_records(self, frame: bytes, answer: Callable[[Reply, Now], None], now: Now) -> None:
        pairs: list[RecordPair] = []
        said = read_untrusted(frame)
        for row in said if isinstance(said, list) else ():
            match row:
                case [bytes(key), bytes(value)]:
                    pairs.append(RecordPair(key, value))
        if not pairs:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "no records")
        self._broker.propose(Plan(self._broker.registry.home_of(pairs), pairs), now)
        answer(Reply(0, 0, "", (), b""), now)

    def _serve_request(
        self,
        ask: Ask,
        frame: bytes,
        answer: Callable[[Reply, Now], None],
        now: Now,
        asked: NodeId,
    ) -> None:
        api_key, version = ask.api_key, ask.api_version
        broker, found = self._broker, self.apis.get(api_key)
        if found is None or not found[1].serves(version):
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"API {api_key} is not handed on")
        relayed, handler = found
        header, position = read_request_header(frame)
        body = decode(handler.request, frame, position, version)
        split = relayed.split(broker, body)
        if not all(self._is_here(shard) for shard in split):
            raise KafkaError(ErrorCode.NOT_CONTROLLER)
        homes = [broker.shards[shard] for shard in split if shard >= 0]
        session, client_id = Session(0, "mesh"), header.client_id
        request = Request(session, api_key, version, client_id, now, asked, ask.number)
        result = handler.handle(broker, request, body)
        assert result is not None, "only Produce has no answer"

        def tell(response: Message) -> None:
            ends = tuple((home.index, broker.registry.replayed_ends[home.index]) for home in homes)
            reply = Reply(0, 0, "", ends, _joined(encode_response(response, version, 0)))
            answer(reply, now)

        if isinstance(result, Message):
            tell(result)
        else:
            broker.park(result, tell)


def _ask(part: _Part) -> Ask:
    return Ask(part.number, part.api_key, part.version, part.client_id, part.frame)


def _numbered(number: int, answer: Callable[[Reply, Now], None], reply: Reply, now: Now) -> None:
    answer(Reply(number, reply.error, reply.text, reply.ends, reply.body), now)


def _nobody(response: Message | None, error: KafkaError | None, now: Now) -> None:
    """Nobody waits for this; whoever needs it asks again."""
    del response, error, now


def _joined(parts: Sequence[Any]) -> bytes:
    """Return a frame without its length prefix."""
    return b"".join(bytes(part) for part in parts)[LENGTH_BYTES:]
