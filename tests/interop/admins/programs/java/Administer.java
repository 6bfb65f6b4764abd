import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.protocol.Errors;

/**
 * Administers a broker with Kafka's own client and prints what came of it as one JSON object.
 *
 * <p>Arguments: BOOTSTRAP TOPIC FILLED; TOPIC is made, changed and deleted, FILLED holds records.
 * What each step means is said in tests/interop/admins/steps.py.
 */
public final class Administer {
    private final Map<String, Object> said = new LinkedHashMap<>();
    private final Admin admin;
    private final String topic;
    private final ConfigResource resource;

    private Administer(Admin admin, String topic) {
        this.admin = admin;
        this.topic = topic;
        this.resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    /** Returns Kafka's number of the error that the call ends with, 0 for none. */
    private static int code(KafkaFuture<?> future) throws InterruptedException {
        try {
            future.get();
            return 0;
        } catch (ExecutionException error) {
            return Errors.forException(error.getCause()).code();
        }
    }

    private static String json(Object value) {
        if (value instanceof Map<?, ?> map) {
            List<String> parts = new ArrayList<>();
            map.forEach((key, item) -> parts.add(json(key) + ": " + json(item)));
            return "{" + String.join(", ", parts) + "}";
        }
        if (value instanceof Collection<?> items) {
            return "[" + String.join(", ", items.stream().map(Administer::json).toList()) + "]";
        }
        return value instanceof String text ? "\"" + text + "\"" : String.valueOf(value);
    }

    private Map<String, Object> configs() throws Exception {
        Map<String, Object> found = new TreeMap<>();
        for (ConfigEntry entry : admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
            if (Set.of("cleanup.policy", "retention.ms", "segment.ms").contains(entry.name())) {
                boolean own = entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG;
                found.put(entry.name(), List.of(entry.value(), own));
            }
        }
        return found;
    }

    private int alter(AlterConfigOp... changes) throws Exception {
        return code(admin.incrementalAlterConfigs(Map.of(resource, List.of(changes))).all());
    }

    private static AlterConfigOp change(OpType type, String name, String value) {
        return new AlterConfigOp(new ConfigEntry(name, value), type);
    }

    private void topics() throws Exception {
        var wanted = new NewTopic(topic, 2, (short) 1)
            .configs(Map.of("cleanup.policy", "compact", "retention.ms", "5000000"));
        said.put("create", code(admin.createTopics(List.of(wanted)).all()));
        said.put("create_again", code(admin.createTopics(List.of(wanted)).all()));
        said.put("describe_configs", configs());
        said.put("alter", alter(
            change(OpType.SET, "segment.ms", "9000"), change(OpType.DELETE, "retention.ms", "")));
        said.put("alter_after", configs());
        said.put("alter_wrong", alter(change(OpType.SET, "segment.ms", "soon")));
        said.put("widen", code(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all()));
        said.put("widen_back", code(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(1))).all()));
        said.put("partitions",
            admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
    }

    private List<Long> offsets(TopicPartition partition) throws Exception {
        long first = admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).all().get().get(partition).offset();
        long end = admin.listOffsets(Map.of(partition, OffsetSpec.latest())).all().get().get(partition).offset();
        return List.of(first, end);
    }

    private void records(TopicPartition filled) throws Exception {
        said.put("offsets", offsets(filled));
        var states = admin.describeProducers(List.of(filled)).all().get().get(filled).activeProducers();
        said.put("producers",
            states.stream().map(one -> List.of(one.producerEpoch(), one.lastSequence())).toList());
        long size = 0;
        List<Integer> nodes = admin.describeCluster().nodes().get().stream().map(Node::id).toList();
        for (var directories : admin.describeLogDirs(nodes).allDescriptions().get().values()) {
            for (var directory : directories.values()) {
                var replica = directory.replicaInfos().get(filled);
                size += replica == null ? 0 : replica.size();
            }
        }
        said.put("log_dirs", size > 0);
        said.put("delete_records",
            code(admin.deleteRecords(Map.of(filled, RecordsToDelete.beforeOffset(3))).all()));
        said.put("delete_records_beyond",
            code(admin.deleteRecords(Map.of(filled, RecordsToDelete.beforeOffset(9))).all()));
        said.put("offsets_after", offsets(filled));
    }

    private int reassign(Integer... nodes) throws Exception {
        Optional<NewPartitionReassignment> wanted =
            nodes.length == 0 ? Optional.empty() : Optional.of(new NewPartitionReassignment(List.of(nodes)));
        return code(admin.alterPartitionReassignments(Map.of(new TopicPartition(topic, 0), wanted)).all());
    }

    private void cluster() throws Exception {
        var cluster = admin.describeCluster();
        said.put("nodes", cluster.nodes().get().stream().map(Node::id).toList());
        said.put("controller", cluster.controller().get().id());
        said.put("reassign", reassign(1));
        said.put("reassign_unknown", reassign(99));
        said.put("reassign_cancel", reassign());
        said.put("reassignments", admin.listPartitionReassignments().reassignments().get().size());
        var first = new TopicPartition(topic, 0);
        var elected = admin.electLeaders(ElectionType.PREFERRED, Set.of(first)).partitions().get().get(first);
        said.put("elect", elected.map(error -> (int) Errors.forException(error).code()).orElse(0));
        said.put("features", code(admin.describeFeatures().featureMetadata()));
        var kinds = Set.of(ConfigResource.Type.TOPIC);
        said.put("resources",
            admin.listConfigResources(kinds, new org.apache.kafka.clients.admin.ListConfigResourcesOptions())
                .all().get().contains(resource));
        said.put("delete", code(admin.deleteTopics(List.of(topic)).all()));
        said.put("gone", !admin.listTopics().names().get().contains(topic));
    }

    public static void main(String[] arguments) throws Exception {
        try (var admin = Admin.create(Map.of("bootstrap.servers", arguments[0]))) {
            var program = new Administer(admin, arguments[1]);
            program.topics();
            program.records(new TopicPartition(arguments[2], 0));
            program.cluster();
            System.out.println(json(program.said));
        }
    }
}
