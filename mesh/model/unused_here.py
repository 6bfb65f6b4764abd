"""Settings of Kafka's brokers that change nothing on a node of ours, for it is built otherwise."""

from mesh.model.unused_config import UnusedGroup

GROUPS = (
    UnusedGroup(
        why=(
            "There is no controller: every partition and every shard of the registry elects "
            "its own leader."
        ),
        refused=False,
        rows="""
auto.leader.rebalance.enable BOOLEAN true
    Whether leadership goes back to a partition's first replica by itself.
broker.heartbeat.interval.ms INT 2000
    Milliseconds between two signs of life that a broker sends to its controller.
broker.session.timeout.ms INT 9000
    Milliseconds without a sign of life after which the controller fences a broker.
controlled.shutdown.enable BOOLEAN true
    Whether a stopping broker hands its leaderships over first.
controller.listener.names LIST -
    Which listeners belong to the controller.
controller.quorum.append.linger.ms INT 25 >=0
    Milliseconds for which the metadata leader gathers appends before it writes.
controller.quorum.auto.join.enable BOOLEAN false
    Whether a new controller joins the metadata quorum by itself.
controller.quorum.bootstrap.servers LIST ''
    Addresses at which the metadata quorum is found.
controller.quorum.election.backoff.max.ms INT 1000 >=0
    Longest pause, in milliseconds, before the metadata quorum tries an election again.
controller.quorum.election.timeout.ms INT 1000 >=0
    Milliseconds after which an election of the metadata quorum is given up.
controller.quorum.fetch.max.bytes INT 1048576 >=1
    Bytes of the metadata log that one fetch brings at most.
controller.quorum.fetch.snapshot.max.bytes INT 1048576 >=1
    Bytes of a metadata snapshot that one fetch brings at most.
controller.quorum.fetch.timeout.ms INT 2000 >=0
    Milliseconds without a fetch after which the metadata quorum elects anew.
controller.quorum.request.timeout.ms INT 2000 >=0
    Milliseconds that a request within the metadata quorum may take.
controller.quorum.retry.backoff.ms INT 20 >=0
    Milliseconds before a request within the metadata quorum is sent again.
controller.quorum.voters LIST ''
    Ids and addresses of the metadata quorum's voters.
controller.socket.timeout.ms INT 30000
    Milliseconds that a broker waits for its controller.
early.start.listeners LIST -
    Listeners that answer before the broker has caught up with the metadata.
initial.broker.registration.timeout.ms INT 60000
    Milliseconds that a starting broker waits to be registered.
leader.imbalance.check.interval.seconds LONG 300 >=1
    Seconds between two looks for leaderships that should go back.
metadata.log.dir STRING -
    Where the metadata log lies.
metadata.log.max.record.bytes.between.snapshots LONG 20971520 >=1
    Bytes of new metadata after which a snapshot is taken.
metadata.log.max.snapshot.interval.ms LONG 3600000 >=0
    Milliseconds after which a snapshot of the metadata is taken.
metadata.log.segment.bytes INT 1073741824 >=8388608
    Bytes at which the metadata log rolls.
metadata.log.segment.ms LONG 604800000
    Milliseconds at which the metadata log rolls.
metadata.max.idle.interval.ms INT 500 >=0
    Milliseconds after which an idle controller writes an empty record.
metadata.max.retention.bytes LONG 104857600
    Bytes of metadata log and snapshots that are kept.
metadata.max.retention.ms LONG 604800000
    Milliseconds for which metadata log and snapshots are kept.
process.roles LIST - in:broker,controller
    Whether the process is a broker, a controller or both.
request.timeout.ms INT 30000
    Milliseconds that a broker waits for an answer of its controller.
""",
    ),
    UnusedGroup(
        why=(
            "One thread runs the whole node; syncs and other blocking disk work have bounded "
            "threads of their own."
        ),
        refused=False,
        rows="""
background.threads INT 10 >=1 dynamic
    Threads for chores such as removing files.
num.io.threads INT 8 >=1 dynamic
    Threads that handle requests.
num.network.threads INT 3 >=1 dynamic
    Threads of a listener that read requests and send answers.
num.recovery.threads.per.data.dir INT 2 >=1 dynamic
    Threads that open and close the logs of a directory.
num.replica.alter.log.dirs.threads INT -
    Threads that move replicas between the directories of a broker.
num.replica.fetchers INT 1 >=1 dynamic
    Threads that follow the leaders on one other broker.
queued.max.requests INT 500 >=1
    Requests that wait for a thread before reading stops; here queued.max.request.bytes bounds
    the waiting.
""",
    ),
    UnusedGroup(
        why=(
            "Requests that wait are found through their partitions and deadlines, so there is "
            "nothing to purge; fetch sessions are declined."
        ),
        refused=False,
        rows="""
delete.records.purgatory.purge.interval.requests INT 1
    Finished requests after which those waiting for DeleteRecords are tidied.
fetch.purgatory.purge.interval.requests INT 1000
    Finished requests after which waiting fetches are tidied.
max.incremental.fetch.session.cache.slots INT 1000 >=0
    Fetch sessions that are remembered.
producer.purgatory.purge.interval.requests INT 1000
    Finished requests after which waiting produces are tidied.
share.fetch.purgatory.purge.interval.requests INT 1000
    Finished requests after which waiting share fetches are tidied.
""",
    ),
    UnusedGroup(
        why="The sizes and time-outs of the operating system's sockets are left as they are.",
        refused=False,
        rows="""
inter.broker.listener.name STRING -
    Listener that the other brokers use.
listener.security.protocol.map STRING \
SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT dynamic per-node
    Security protocol of each listener name; here every listener is in the clear.
socket.connection.setup.timeout.max.ms LONG 30000
    Longest time, in milliseconds, that setting up a connection to another broker may take.
socket.connection.setup.timeout.ms LONG 10000
    First time-out, in milliseconds, for setting up a connection to another broker.
socket.listen.backlog.size INT 50 >=1
    Connections that may wait to be accepted.
socket.receive.buffer.bytes INT 102400
    Bytes that the system buffers of what a client sends; -1 is its own default.
socket.send.buffer.bytes INT 102400
    Bytes that the system buffers of what is sent to a client; -1 is its own default.
""",
    ),
    UnusedGroup(
        why=(
            "New connections are accepted as fast as they come; max.connections and "
            "max.connections.per.ip bound how many there are."
        ),
        refused=True,
        rows="""
max.connection.creation.rate INT 2147483647 >=0 dynamic
    New connections a second.
""",
    ),
    UnusedGroup(
        why=(
            "There is one node so far, and replicas will not follow by Fetch, so nothing is "
            "pulled, moved or throttled."
        ),
        refused=False,
        rows="""
follower.replication.throttled.rate LONG - >=0 dynamic hidden
    Bytes a second that a broker fetches for its throttled replicas.
leader.replication.throttled.rate LONG - >=0 dynamic hidden
    Bytes a second that a broker serves to throttled replicas.
replica.alter.log.dirs.io.max.bytes.per.second LONG - >=0 dynamic hidden
    Bytes a second that move between the directories of a broker.
replica.fetch.backoff.ms INT 1000 >=0
    Milliseconds that a follower waits after a failed fetch.
replica.fetch.max.bytes INT 1048576 >=0
    Bytes of one partition that a follower asks for at a time.
replica.fetch.min.bytes INT 1
    Bytes that a follower waits for.
replica.fetch.response.max.bytes INT 10485760 >=0
    Bytes that a follower takes in one answer.
replica.fetch.wait.max.ms INT 500
    Milliseconds that a follower's fetch may wait.
replica.high.watermark.checkpoint.interval.ms LONG 5000
    Milliseconds between two writings of the high watermarks.
replica.socket.receive.buffer.bytes INT 65536
    Bytes that the system buffers of what a leader sends.
replica.socket.timeout.ms INT 30000
    Milliseconds that a follower waits for its leader.
""",
    ),
    UnusedGroup(
        why=(
            "A Java class cannot be loaded here, and what it would allow, forbid or choose "
            "must not be left out in silence."
        ),
        refused=True,
        rows="""
alter.config.policy.class.name CLASS -
    Class that judges changes of configurations.
client.quota.callback.class CLASS -
    Class that decides clients' quotas.
config.providers LIST '' dynamic
    Classes that fetch values from elsewhere, as ${…} within a value asks for.
create.topic.policy.class.name CLASS -
    Class that judges new topics.
replica.selector.class STRING -
    Class that picks the replica a consumer reads from.
""",
    ),
    UnusedGroup(
        why=(
            "One log is compacted at a time, the dirtiest first; the table of keys grows with the "
            "keys, and files are read and written by the megabyte."
        ),
        refused=False,
        rows="""
log.cleaner.io.buffer.load.factor DOUBLE 0.9 dynamic
    How full, as a share, the cleaner's table of keys gets.
log.cleaner.io.buffer.size INT 524288 >=0 dynamic
    Bytes for the cleaner's reading and writing.
log.cleaner.threads INT 1 >=0 dynamic
    Threads that compact.
""",
    ),
    UnusedGroup(
        why=(
            "Everything of a node lies in the one directory of --data. If its disk fails the "
            "node ends; how far its logs are synced is noted every 60 s."
        ),
        refused=False,
        rows="""
cordoned.log.dirs LIST '' dynamic per-node refused
    Directories that get no new partitions.
log.dir.failure.timeout.ms LONG 30000 >=1
    Milliseconds after which a broker stops that cannot report a failed directory.
log.flush.offset.checkpoint.interval.ms INT 60000 >=0
    Milliseconds between two writings of how far logs are synced.
log.flush.start.offset.checkpoint.interval.ms INT 60000 >=0
    Milliseconds between two writings of where logs begin.
""",
    ),
    UnusedGroup(
        why="Figures come from the admin port and mesh status, not from Java's metrics.",
        refused=False,
        rows="""
kafka.metrics.polling.interval.secs INT 10 >=1
    Seconds between two reports to kafka.metrics.reporters.
kafka.metrics.reporters LIST ''
    Classes that the broker's older metrics are reported to.
metric.reporters LIST org.apache.kafka.common.metrics.JmxReporter dynamic
    Classes that metrics are reported to.
metrics.num.samples INT 2 >=1
    Samples that a metric is made of.
metrics.recording.level STRING INFO
    How much detail metrics are kept in.
metrics.sample.window.ms LONG 30000 >=1
    Milliseconds that a sample covers.
telemetry.max.bytes INT 1048576 >=1
    Bytes of one report of a client's own metrics.
""",
    ),
    UnusedGroup(
        why="There is no tiered storage: every segment stays on the node's own disk.",
        refused=False,
        rows="""
follower.fetch.last.tiered.offset.enable BOOLEAN false dynamic
    Whether a new follower begins after what is tiered.
remote.fetch.max.wait.ms INT 500 >=1 dynamic
    Milliseconds that a fetch waits for tiered data.
remote.list.offsets.request.timeout.ms LONG 30000 >=1 dynamic
    Milliseconds that ListOffsets waits for tiered data.
remote.log.index.file.cache.total.size.bytes LONG 1073741824 >=1 dynamic
    Bytes of tiered segments' indexes that are kept on the own disk.
remote.log.manager.copier.thread.pool.size INT 10 >=1 dynamic
    Threads that copy segments to the tier.
remote.log.manager.copy.max.bytes.per.second LONG 9223372036854775807 >=1 dynamic
    Bytes a second that go to the tier.
remote.log.manager.copy.quota.window.num INT 11 >=1
    Windows over which what goes to the tier is measured.
remote.log.manager.copy.quota.window.size.seconds INT 1 >=1
    Seconds of such a window.
remote.log.manager.expiration.thread.pool.size INT 10 >=1 dynamic
    Threads that remove old segments from the tier.
remote.log.manager.fetch.max.bytes.per.second LONG 9223372036854775807 >=1 dynamic
    Bytes a second that come from the tier.
remote.log.manager.fetch.quota.window.num INT 11 >=1
    Windows over which what comes from the tier is measured.
remote.log.manager.fetch.quota.window.size.seconds INT 1 >=1
    Seconds of such a window.
remote.log.manager.follower.thread.pool.size INT 2 >=1 dynamic
    Threads that keep followers informed of the tier.
remote.log.manager.task.interval.ms LONG 30000 >=1
    Milliseconds between two rounds of copying and removing.
remote.log.manager.thread.pool.size INT 2 >=1
    Threads for the tier's chores as a whole.
remote.log.metadata.custom.metadata.max.bytes INT 128 >=0
    Bytes that a storage plugin may add to a segment's metadata.
remote.log.metadata.manager.class.name STRING \
org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager
    Class that keeps the metadata of tiered segments.
remote.log.metadata.manager.class.path STRING -
    Where that class is found.
remote.log.metadata.manager.impl.prefix STRING rlmm.config.
    What the names of that class's own settings begin with.
remote.log.metadata.manager.listener.name STRING -
    Listener that that class uses.
remote.log.reader.max.pending.tasks INT 100 >=1
    Reads from the tier that may wait for a thread.
remote.log.reader.threads INT 10 >=1 dynamic
    Threads that read from the tier.
remote.log.storage.manager.class.name STRING -
    Class that stores segments in the tier.
remote.log.storage.manager.class.path STRING -
    Where that class is found.
remote.log.storage.manager.impl.prefix STRING rsm.config.
    What the names of that class's own settings begin with.
remote.log.storage.system.enable BOOLEAN false refused
    Whether segments are copied to a tier.
""",
    ),
    UnusedGroup(
        why="Quotas are not built yet: no client and no replica is slowed down.",
        refused=False,
        rows="""
alter.log.dirs.replication.quota.window.num INT 11 >=1
    Windows over which moves between directories are measured.
alter.log.dirs.replication.quota.window.size.seconds INT 1 >=1
    Seconds of such a window.
controller.quota.window.num INT 11 >=1
    Windows over which changes of topics are measured.
controller.quota.window.size.seconds INT 1 >=1
    Seconds of such a window.
quota.window.num INT 11 >=1
    Windows over which clients are measured.
quota.window.size.seconds INT 1 >=1
    Seconds of such a window.
replication.quota.window.num INT 11 >=1
    Windows over which throttled replicas are measured.
replication.quota.window.size.seconds INT 1 >=1
    Seconds of such a window.
""",
    ),
)
