"""Bounds of every queue, buffer and retry that no option sets, each with its reason."""

ANSWERS_PENDING_MAX = 128
"""Answers outstanding on one connection before we stop reading from it. Kafka's own broker takes
one request at a time; clients keep up to 5 in flight (Java) or a few dozen (librdkafka)."""

REQUESTS_AT_ONCE_MAX = 16
"""Requests of one connection handled before others have their turn and its answers must have
left: 256 KiB may hold ten thousand, each with an answer of megabytes."""

RECEIVE_BYTES = 256 << 10
"""Taken from a connection at a time into one buffer that all share: an idle one costs none."""

INLINE_FETCH_BYTES_MAX = 64 << 10
"""A fetch answer up to this size is read at once and sent with its header in one call; of a
larger one only file slices wait for a slow reader, so that it holds no memory."""

FRAME_STALL_MS = 30_000
"""A frame whose next byte does not come for so long ends its connection."""

SWEEP_MS = 1_000
"""How often stalled and idle connections are looked for."""

SYNC_THREADS_MAX = 8
"""Files of one round that are synced at a time; the file system merges their journal commits."""

REMOVAL_THREADS_MAX = 4
"""Deleted logs that are removed at a time: thousands must not keep syncs from having a thread."""

COLD_READ_THREADS_MAX = 16
"""Reads for slow or late consumers under way at a time, for the same reason."""

COORDINATOR_LOAD_BYTES = 64 << 10
"""Replayed at a time when a coordinator of groups begins: some 10 ms in which nobody else has a
turn."""

DRAIN_MS_MAX = 5_000
"""How long a stopping node waits for answers to leave before it closes connections."""

CHECKPOINT_MS = 60_000
"""How often a node writes down how far its logs are synced (Kafka's own interval)."""

DISK_RESERVE_BYTES = 32 << 20
"""Kept free for the registry, indexes and checkpoints; producers are refused below it."""

DISK_LOOK_BYTES = 4 << 20
"""Appended at most before the disk is asked again how much is free; well below the reserve."""

UNSYNCED_BYTES_MAX = 16 << 20
"""Appended before a round of the logs begins although nothing waits for the disk; some 0.1 s of
writing. Much more at once fills the page cache, and then every append waits for the disk."""

RECOVERY_BYTES_MAX = 32 << 20
"""About what a restart after a crash should have to check and write anew, over all logs; some
0.3 s at batches of 17 KB, 1 s at batches of one small record."""

GROUP_RECORD_BYTES_MAX = 1_000_000
"""Of what one generation of a classic group is stored as: a little less than Kafka's default for a
batch (`max.message.bytes`, 1,048,588)."""

STORED_TEXT_BYTES_MAX = 2**15 - 1
"""Bytes of an id or a name that is to be stored: records have less room than requests."""

GROUP_METADATA_BYTES_MAX = 16 << 20
"""Metadata of all members of a classic group in all of their protocols: far more than a record
may hold of the one that they agree on."""

GROUP_PENDING_MAX = 10_000
"""Member ids of one classic group that were given and have not joined; each ends with a session."""

GROUP_PROTOCOLS_MAX = 100
"""Protocols that one member of a classic group may name; clients name one to four."""

MEMBER_ID_PREFIX_MAX = 255
"""Characters of a client's or instance's id that a member's id begins with: it must be shorter
than the 32,767 bytes that a record can hold."""

PATTERN_LENGTH_MAX = 4_096
"""Characters of a pattern by which a member of a group subscribes to topics."""

PATTERN_BYTES_MAX = 1 << 20
"""Memory that such a pattern may take, compiled, with what RE2 keeps to match faster."""

PATTERN_MATCHES_MAX = 20_000
"""Names that are held against patterns in one turn, about 20 ms; the next turn goes on."""

GROUP_LOOKS_MAX = 4_000
"""Committed offsets that one picture of a node looks at, some 10 ms; the next one goes on."""

GROUP_AGES_MAX = 200
"""Partitions for which a picture looks up how old the first record is that a group has not read."""
