"""Times and bounds of a group, each with its reason."""

APPEND_BYTES_MAX = 1 << 20
"""Entries in one append; Kafka's replica.fetch.max.bytes."""

APPENDS_UNANSWERED_MAX = 8
"""Appends under way to one replica: enough to keep a disk with some milliseconds of sync busy."""

SILENCE_MS = 600
"""Without a leader for so long, plus a share by chance and by place, a voter asks for votes."""

SILENCE_SPREAD_MS = 300
"""The largest share by chance: some times what an election takes on a local network."""

PLACE_MS = 50
"""The voter at place k waits k times this longer, so that one of them is usually first."""

LINK_CLOSED_MS = 20
"""What is left to wait when the link to the leader was closed: its process is gone."""

BACKOFF_MS_MAX = 10_000
"""Failed rounds wait twice as long each, up to this."""

RESEND_MS = 200
"""A leader repeats itself to a replica that lacks something."""

RESEND_DOUBLINGS_MAX = 3
"""It waits twice as long each time that nobody answers, up to 1.6 s: a node that has much to do
would have more to do with every repetition."""

HAND_OVER_MS = 2_000
"""A successor that has not won after this lets the leader take writes again."""
