"""Messages that can never again change anything, which a state may thus leave out."""

from __future__ import annotations

from mesh.replication import messages as msg
from mesh.replication.candidate import Candidate
from mesh.replication.leader import Leader
from mesh.replication.standing import NO_MARK
from mesh.replication.state import Term
from tests.mesh.replication.model_node import Frame, Node, Packet


def is_dead(node: Node, packet: Packet, *, quiet: bool) -> bool:
    """Say whether a replica will ignore a message for ever, whatever happens to it.

    Its journal only moves forward, and a leadership or campaign that has ended never returns.

    Args:
        node: the receiver.
        packet: what was sent to it.
        quiet: whether refusals get lost, so that what would only be refused has no effect.
    """
    sender, _, message, mark = packet
    standing = node.standing
    if standing is not None and mark is not None:
        news = mark > standing.known.get(sender.directory_id, NO_MARK)
        if news or not standing.admitted:
            return False
    journal, group = node.journal, node.group
    if isinstance(message, Frame):
        return True
    if journal is None or group is None:
        return False
    role = group.role
    match message:
        case msg.VoteReply(granted=True):
            current = group.leader_epoch == message.leader_epoch
            if isinstance(role, Candidate) and role.stage == "voting" and current:
                if role.last_resort:
                    return sender in role.grants and role.answers.get(sender) == message
                return sender in role.grants
            return message.leader_epoch <= journal.leader_epoch
        case msg.Held() | msg.Mismatch() | msg.Left():
            if not isinstance(role, Leader) or role.leader_epoch != message.leader_epoch:
                return message.leader_epoch <= journal.leader_epoch
            known = role.others.get(sender)
            if known is not None and message.session < known.session:
                return True
            return (
                known is not None
                and isinstance(message, msg.Held)
                and known.session == message.session
                and known.log_end >= message.log_end
                and known.counted_end >= message.counted_end
                and known.config_id >= message.config_id
                and known.log_start_offset >= message.log_start_offset
                and not message.unsure
            )
        case msg.Campaign():
            return message.leader_epoch < journal.leader_epoch
        case msg.VoteReply() | msg.Refused():
            known_epoch = message.promised_epoch <= journal.leader_epoch
            return quiet or (known_epoch and message.config.id <= journal.config.id)
        case msg.VoteRequest():
            voted = message.leader_epoch == journal.leader_epoch and journal.voted_for != sender
            return quiet and (message.leader_epoch < journal.leader_epoch or voted)
        case msg.Append():
            return quiet and Term(message.leader_epoch, message.session) < journal.term
        case _:
            return False
