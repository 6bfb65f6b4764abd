"""Settings of Kafka's brokers that change nothing here yet: what they set is not built."""

from mesh.model.unused_config import UnusedGroup

GROUPS = (
    UnusedGroup(
        why="Coordinators of groups share the node's one thread, and write as they go.",
        refused=False,
        rows="""
group.consumer.assignment.interval.ms INT 1000 >=0 dynamic
    Milliseconds between two assignments of a group, unless it has its own.
group.consumer.max.assignment.interval.ms INT 15000 >=0
    Largest assignment interval, in milliseconds, that a group may have.
group.consumer.min.assignment.interval.ms INT 0 >=0
    Smallest assignment interval, in milliseconds, that a group may have.
group.coordinator.append.linger.ms INT -1 >=-1
    Milliseconds for which a coordinator gathers records; -1 adapts.
group.coordinator.background.threads INT 2 >=1
    Threads for a coordinator's longer work.
group.coordinator.cached.buffer.max.bytes INT 1048588 >=524288 dynamic
    Largest buffer, in bytes, that a coordinator keeps for reuse.
group.coordinator.rebalance.protocols LIST \
classic,consumer,streams in:consumer,classic,share,streams
    Kinds of groups that are served.
group.coordinator.threads INT 4 >=1
    Threads that coordinate groups.
offsets.load.buffer.size INT 5242880 >=1
    Bytes read at a time when a coordinator loads offsets.
offsets.topic.compression.codec INT 0
    Codec of the offsets' topic, as a number.
""",
    ),
    UnusedGroup(
        why="Streams groups are not served.",
        refused=False,
        rows="""
group.streams.assignment.interval.ms INT 1000 >=0 dynamic
    Milliseconds between two assignments of a group, unless it has its own.
group.streams.heartbeat.interval.ms INT 5000 >=1
    Milliseconds between two heartbeats of a member.
group.streams.initial.rebalance.delay.ms INT 3000 >=0
    Milliseconds that a new group waits for more members.
group.streams.max.assignment.interval.ms INT 15000 >=0
    Largest assignment interval, in milliseconds, that a group may have.
group.streams.max.heartbeat.interval.ms INT 15000 >=1
    Largest heartbeat interval, in milliseconds, that a group may have.
group.streams.max.session.timeout.ms INT 60000 >=1
    Largest session time-out, in milliseconds, that a group may have.
group.streams.max.size INT 2147483647 >=1
    Members that a group may have.
group.streams.max.standby.replicas INT 2 >=0
    Most standby replicas that a group may have.
group.streams.min.assignment.interval.ms INT 0 >=0
    Smallest assignment interval, in milliseconds, that a group may have.
group.streams.min.heartbeat.interval.ms INT 5000 >=1
    Smallest heartbeat interval, in milliseconds, that a group may have.
group.streams.min.session.timeout.ms INT 45000 >=1
    Smallest session time-out, in milliseconds, that a group may have.
group.streams.num.standby.replicas INT 0 >=0
    Standby replicas of each task.
group.streams.session.timeout.ms INT 45000 >=1
    Milliseconds of silence after which a member is out.
""",
    ),
    UnusedGroup(
        why="Share groups are not served.",
        refused=False,
        rows="""
group.share.assignment.interval.ms INT 1000 >=0 dynamic
    Milliseconds between two assignments of a group, unless it has its own.
group.share.assignors LIST simple
    Ways in which the broker assigns partitions to members.
group.share.delivery.count.limit INT 5 >=2 <=10
    Times that a record is tried.
group.share.heartbeat.interval.ms INT 5000 >=1
    Milliseconds between two heartbeats of a member.
group.share.max.assignment.interval.ms INT 15000 >=0
    Largest assignment interval, in milliseconds, that a group may have.
group.share.max.delivery.count.limit INT 10 >=5 <=25
    Most tries of a record that a group may have.
group.share.max.heartbeat.interval.ms INT 15000 >=1
    Largest heartbeat interval, in milliseconds, that a group may have.
group.share.max.partition.max.record.locks INT 4000 >=2000 <=10000
    Most locked records of a partition that a group may have.
group.share.max.record.lock.duration.ms INT 60000 >=30000 <=3600000
    Longest lock of a record, in milliseconds, that a group may have.
group.share.max.session.timeout.ms INT 60000 >=1
    Largest session time-out, in milliseconds, that a group may have.
group.share.max.share.sessions INT 2000 >=1
    Share sessions of a broker.
group.share.max.size INT 200 >=1 <=1000
    Members that a group may have.
group.share.min.assignment.interval.ms INT 0 >=0
    Smallest assignment interval, in milliseconds, that a group may have.
group.share.min.delivery.count.limit INT 2 >=2 <=5
    Fewest tries of a record that a group may have.
group.share.min.heartbeat.interval.ms INT 5000 >=1
    Smallest heartbeat interval, in milliseconds, that a group may have.
group.share.min.partition.max.record.locks INT 100 >=100 <=2000
    Fewest locked records of a partition that a group may have as its bound.
group.share.min.record.lock.duration.ms INT 15000 >=1000 <=30000
    Shortest lock of a record, in milliseconds, that a group may have.
group.share.min.session.timeout.ms INT 45000 >=1
    Smallest session time-out, in milliseconds, that a group may have.
group.share.partition.max.record.locks INT 2000 >=100 <=10000
    Locked records of a partition.
group.share.record.lock.duration.ms INT 30000 >=1000 <=3600000
    Milliseconds for which a record is locked for the member that has it.
group.share.session.timeout.ms INT 45000 >=1
    Milliseconds of silence after which a member is out.
share.coordinator.append.linger.ms INT -1 >=-1
    Milliseconds for which a coordinator gathers records; -1 adapts.
share.coordinator.cached.buffer.max.bytes INT 1048588 >=524288 dynamic
    Largest buffer, in bytes, that a coordinator keeps for reuse.
share.coordinator.load.buffer.size INT 5242880 >=1
    Bytes read at a time when a coordinator loads its state.
share.coordinator.snapshot.update.records.per.snapshot INT 500 >=0 <=500
    Changes between two snapshots of a share partition.
share.coordinator.state.topic.compression.codec INT 0
    Codec of the share state's topic, as a number.
share.coordinator.state.topic.min.isr SHORT 2 >=1
    In-sync replicas that a write to the share state's topic needs.
share.coordinator.state.topic.num.partitions INT 50 >=1
    Partitions of the share state's topic.
share.coordinator.state.topic.replication.factor SHORT 3 >=1
    Replicas of the share state's topic.
share.coordinator.state.topic.segment.bytes INT 104857600 >=1
    Bytes of a segment of the share state's topic.
share.coordinator.threads INT 1 >=1
    Threads that coordinate share groups.
share.coordinator.write.timeout.ms INT 5000 >=1
    Milliseconds that a write of share state may take.
""",
    ),
    UnusedGroup(
        why="Transactions are not built yet: a request with a transactional id is refused.",
        refused=False,
        rows="""
add.partitions.to.txn.retry.backoff.max.ms INT 100 >=0
    Longest pause, in milliseconds, between two tries to add a partition to a transaction.
add.partitions.to.txn.retry.backoff.ms INT 20 >=1
    First pause, in milliseconds, between two tries to add a partition to a transaction.
transaction.abort.timed.out.transaction.cleanup.interval.ms INT 10000 >=1
    Milliseconds between two looks for transactions that took too long.
transaction.max.timeout.ms INT 900000 >=1
    Largest time-out, in milliseconds, that a transaction may ask for.
transaction.partition.verification.enable BOOLEAN true dynamic
    Whether a partition asks its coordinator before it takes part in a transaction.
transaction.remove.expired.transaction.cleanup.interval.ms INT 3600000 >=1
    Milliseconds between two looks for transactional ids that are too old.
transaction.state.log.load.buffer.size INT 5242880 >=1
    Bytes read at a time when a coordinator loads transactions.
transaction.state.log.min.isr INT 2 >=1
    In-sync replicas that a write to the transactions' topic needs.
transaction.state.log.num.partitions INT 50 >=1
    Partitions of the transactions' topic.
transaction.state.log.replication.factor SHORT 3 >=1
    Replicas of the transactions' topic.
transaction.state.log.segment.bytes INT 104857600 >=1
    Bytes of a segment of the transactions' topic.
transaction.two.phase.commit.enable BOOLEAN false
    Whether a transaction may wait for another system's commit.
transactional.id.expiration.ms INT 604800000 >=1
    Milliseconds for which an idle transactional id is remembered.
""",
    ),
    UnusedGroup(
        why=(
            "TLS is not built yet: every connection is in the clear, so nothing that asks for "
            "more is taken."
        ),
        refused=True,
        rows="""
security.inter.broker.protocol STRING PLAINTEXT in:PLAINTEXT,SSL,SASL_PLAINTEXT,SASL_SSL
    Protocol between brokers.
security.providers STRING -
    Java's providers of security algorithms.
ssl.allow.dn.changes BOOLEAN false
    Whether a renewed certificate may have another name.
ssl.allow.san.changes BOOLEAN false
    Whether a renewed certificate may lack earlier alternative names.
ssl.cipher.suites LIST '' dynamic per-node
    Cipher suites that are allowed.
ssl.client.auth STRING none in:required,requested,none dynamic per-node
    Whether clients must show a certificate.
ssl.enabled.protocols LIST TLSv1.2,TLSv1.3 dynamic per-node
    Versions of TLS that are allowed.
ssl.endpoint.identification.algorithm STRING https dynamic per-node
    How a server's name is checked against its certificate.
ssl.engine.factory.class CLASS - dynamic per-node
    Class that makes TLS engines.
ssl.key.password PASSWORD - dynamic per-node
    Password of the private key.
ssl.keymanager.algorithm STRING SunX509 dynamic per-node
    Algorithm of Java's key manager.
ssl.keystore.certificate.chain PASSWORD - dynamic per-node
    Own certificates, as PEM.
ssl.keystore.key PASSWORD - dynamic per-node
    The own private key, as PEM.
ssl.keystore.location STRING - dynamic per-node
    File with the own key and certificates.
ssl.keystore.password PASSWORD - dynamic per-node
    Password of that file.
ssl.keystore.type STRING JKS dynamic per-node
    Format of that file, as Java calls it.
ssl.principal.mapping.rules STRING DEFAULT
    How a certificate's name becomes a user's name.
ssl.protocol STRING TLSv1.3 dynamic per-node
    Version of TLS that is preferred.
ssl.provider STRING - dynamic per-node
    Java's provider of TLS.
ssl.secure.random.implementation STRING - dynamic per-node
    Java's source of randomness for TLS.
ssl.trustmanager.algorithm STRING PKIX dynamic per-node
    Algorithm of Java's trust manager.
ssl.truststore.certificates PASSWORD - dynamic per-node
    Certificates that are trusted, as PEM.
ssl.truststore.location STRING - dynamic per-node
    File with the certificates that are trusted.
ssl.truststore.password PASSWORD - dynamic per-node
    Password of that file.
ssl.truststore.type STRING JKS dynamic per-node
    Format of that file, as Java calls it.
""",
    ),
    UnusedGroup(
        why=(
            "SASL, users and access rules are not built yet: every client may do everything, "
            "so nothing that asks for less is taken."
        ),
        refused=True,
        rows="""
authorizer.class.name STRING ''
    Class that decides who may do what.
connections.max.reauth.ms LONG 0
    Milliseconds after which a client must log in again.
delegation.token.secret.key PASSWORD -
    Key that delegation tokens are signed with.
principal.builder.class CLASS \
org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder dynamic per-node
    Class that makes a user's name of a login.
sasl.client.callback.handler.class CLASS -
    Class that answers a login's questions on the client's side.
sasl.enabled.mechanisms LIST GSSAPI dynamic per-node
    Mechanisms that clients may log in with.
sasl.jaas.config PASSWORD - dynamic per-node
    Java's login configuration.
sasl.kerberos.kinit.cmd STRING /usr/bin/kinit dynamic per-node
    Kerberos' kinit command.
sasl.kerberos.min.time.before.relogin LONG 60000 dynamic per-node
    Milliseconds between two renewals of a Kerberos ticket at least.
sasl.kerberos.principal.to.local.rules LIST DEFAULT dynamic per-node
    How a Kerberos name becomes a user's name.
sasl.kerberos.service.name STRING - dynamic per-node
    Name that the service has in Kerberos.
sasl.kerberos.ticket.renew.jitter DOUBLE 0.05 dynamic per-node
    Random share that is added to the time of a ticket's renewal.
sasl.kerberos.ticket.renew.window.factor DOUBLE 0.8 dynamic per-node
    Share of a ticket's life after which it is renewed.
sasl.login.callback.handler.class CLASS -
    Class that answers a login's questions.
sasl.login.class CLASS -
    Class that logs the broker in.
sasl.login.connect.timeout.ms INT -
    Milliseconds that connecting to an identity provider may take.
sasl.login.read.timeout.ms INT -
    Milliseconds that reading from an identity provider may take.
sasl.login.refresh.buffer.seconds SHORT 300 dynamic per-node
    Seconds before a login's end in which it is not renewed any more.
sasl.login.refresh.min.period.seconds SHORT 60 dynamic per-node
    Seconds between two renewals of a login at least.
sasl.login.refresh.window.factor DOUBLE 0.8 dynamic per-node
    Share of a login's life after which it is renewed.
sasl.login.refresh.window.jitter DOUBLE 0.05 dynamic per-node
    Random share that is added to the time of a login's renewal.
sasl.login.retry.backoff.max.ms LONG 10000
    Longest pause, in milliseconds, between two tries to log in.
sasl.login.retry.backoff.ms LONG 100
    First pause, in milliseconds, between two tries to log in.
sasl.mechanism.controller.protocol STRING GSSAPI
    Mechanism for logging in at a controller.
sasl.mechanism.inter.broker.protocol STRING GSSAPI dynamic per-node
    Mechanism for logging in at another broker.
sasl.oauthbearer.assertion.algorithm STRING RS256
    Signature algorithm of the broker's own OAuth assertion.
sasl.oauthbearer.assertion.claim.aud STRING -
    Audience that the assertion names.
sasl.oauthbearer.assertion.claim.exp.seconds INT 300 >=0 <=86400
    Seconds for which the assertion is good.
sasl.oauthbearer.assertion.claim.iss STRING -
    Issuer that the assertion names.
sasl.oauthbearer.assertion.claim.jti.include BOOLEAN false
    Whether the assertion has an id of its own.
sasl.oauthbearer.assertion.claim.nbf.seconds INT 60 >=0 <=3600
    Seconds before now from which the assertion is good.
sasl.oauthbearer.assertion.claim.sub STRING -
    Subject that the assertion names.
sasl.oauthbearer.assertion.file STRING -
    File with a finished assertion.
sasl.oauthbearer.assertion.private.key.file STRING -
    File with the key that signs the assertion.
sasl.oauthbearer.assertion.private.key.passphrase PASSWORD -
    Passphrase of that key.
sasl.oauthbearer.assertion.template.file STRING -
    File with what else the assertion says.
sasl.oauthbearer.client.credentials.client.id STRING -
    Client id that a token is asked for with.
sasl.oauthbearer.client.credentials.client.secret PASSWORD -
    Client secret that a token is asked for with.
sasl.oauthbearer.clock.skew.seconds INT 30
    Seconds by which clocks may differ when a token is checked.
sasl.oauthbearer.expected.audience LIST ''
    Audiences that a token must name one of.
sasl.oauthbearer.expected.issuer STRING -
    Issuer that a token must name.
sasl.oauthbearer.jwks.endpoint.refresh.ms LONG 3600000
    Milliseconds between two fetches of the issuer's keys.
sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms LONG 10000
    Longest pause, in milliseconds, between two tries to fetch them.
sasl.oauthbearer.jwks.endpoint.retry.backoff.ms LONG 100
    First pause, in milliseconds, between two tries to fetch them.
sasl.oauthbearer.jwks.endpoint.url STRING -
    Where the issuer's keys are fetched.
sasl.oauthbearer.jwt.retriever.class CLASS \
org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever
    Class that gets a token.
sasl.oauthbearer.jwt.validator.class CLASS \
org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator
    Class that checks a token.
sasl.oauthbearer.scope STRING -
    Scope that a token is asked for.
sasl.oauthbearer.scope.claim.name STRING scope
    Claim of a token that holds its scope.
sasl.oauthbearer.sub.claim.name STRING sub
    Claim of a token that holds its subject.
sasl.oauthbearer.token.endpoint.url STRING -
    Where a token is asked for.
sasl.server.callback.handler.class CLASS -
    Class that answers a login's questions on the broker's side.
sasl.server.max.receive.size INT 524288
    Bytes of one message of a login.
""",
    ),
    UnusedGroup(
        why="Logins and delegation tokens are not built yet, so there is nothing to time.",
        refused=False,
        rows="""
connection.failed.authentication.delay.ms INT 100 >=0
    Milliseconds by which the end of a connection is put off after a failed login.
delegation.token.expiry.check.interval.ms LONG 3600000 >=1
    Milliseconds between two looks for delegation tokens that have expired.
delegation.token.expiry.time.ms LONG 86400000 >=1
    Milliseconds for which a delegation token is good unless renewed.
delegation.token.max.lifetime.ms LONG 604800000 >=1
    Milliseconds for which a delegation token is good at most.
""",
    ),
)
