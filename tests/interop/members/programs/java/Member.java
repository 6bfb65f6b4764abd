import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a group with Kafka's own consumer, in either protocol.
 *
 * <p>The argument, the orders on standard input and the events on standard output are those of
 * tests/interop/members/member.py.
 */
public final class Member implements ConsumerRebalanceListener {
    private record Run(long first, long last, CRC32 crc) {}

    private static final Map<String, String> ASSIGNORS = Map.of(
        "range", "org.apache.kafka.clients.consumer.RangeAssignor",
        "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");

    private final JsonNode config;
    private final String topic;
    private final BlockingQueue<String> orders = new LinkedBlockingQueue<>();
    private final Map<Integer, Run> runs = new TreeMap<>();
    private final Map<Integer, Long> done = new TreeMap<>();
    private final KafkaConsumer<byte[], byte[]> consumer;
    private long commitAtNanos = System.nanoTime();
    private int commits = 0;
    private boolean stops = false;
    private boolean stalls = false;

    private Member(JsonNode config) {
        this.config = config;
        topic = config.get("topic").asText();
        Map<String, Object> settings = new HashMap<>(Map.of(
            "bootstrap.servers", config.get("bootstrap").asText(),
            "group.id", config.get("group").asText(),
            "client.id", config.get("name").asText(),
            "enable.auto.commit", false,
            "auto.offset.reset", "earliest",
            "max.poll.interval.ms", config.get("poll_ms_max").asInt(),
            "max.poll.records", config.get("turn_rows").asInt(),
            "reconnect.backoff.ms", 20,
            "reconnect.backoff.max.ms", 200));
        if (!config.get("instance").isNull()) {
            settings.put("group.instance.id", config.get("instance").asText());
        }
        String protocol = config.get("protocol").asText();
        if (protocol.equals("consumer")) {
            settings.put("group.protocol", "consumer");
        } else {
            settings.put("partition.assignment.strategy", ASSIGNORS.get(protocol));
            settings.put("session.timeout.ms", config.get("session_ms").asInt());
            settings.put("heartbeat.interval.ms", config.get("heartbeat_ms").asInt());
        }
        var bytes = new ByteArrayDeserializer();
        consumer = new KafkaConsumer<>(settings, bytes, bytes);
    }

    public static void main(String[] arguments) throws Exception {
        new Member(new ObjectMapper().readTree(arguments[0])).run();
    }

    private void run() throws InterruptedException {
        Thread reader = new Thread(this::readOrders);
        reader.setDaemon(true);
        reader.start();
        try {
            consumer.subscribe(List.of(topic), this);
            while (!stops) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    row(record);
                }
                flush();
                if (System.nanoTime() >= commitAtNanos) {
                    commit(new TreeMap<>(done));
                }
                rest();
            }
            consumer.close();
            say("ended", "");
        } catch (KafkaException error) {
            say("failed", ",\"error\":" + quoted(error));
            System.exit(0); // Fenced: there is nobody to say good-bye to.
        }
    }

    private void readOrders() {
        try (var lines = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                orders.add(line.strip());
            }
        } catch (IOException error) {
            // The story is gone, which is an order to stop, too.
        }
        orders.add("stop");
    }

    private void rest() throws InterruptedException {
        long until = System.nanoTime() + config.get("turn_ms").asLong() * 1_000_000;
        while (!stops) {
            long left = Math.max(0, until - System.nanoTime());
            String order = stalls ? orders.take() : orders.poll(left, TimeUnit.NANOSECONDS);
            if (order == null) {
                return;
            }
            switch (order) {
                case "stop" -> stops = true;
                case "stall" -> {
                    stalls = true;
                    say("paused", "");
                }
                default -> {
                    stalls = false;
                    say("resumed", "");
                }
            }
        }
    }

    private static void say(String event, String fields) {
        long atUs = ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now());
        System.out.println("{\"event\":\"" + event + "\",\"at_us\":" + atUs + fields + "}");
        System.out.flush();
    }

    private static String quoted(Exception error) {
        return new com.fasterxml.jackson.databind.node.TextNode(error.toString()).toString();
    }

    private void row(ConsumerRecord<byte[], byte[]> record) {
        Run run = runs.get(record.partition());
        if (run != null && run.last() + 1 != record.offset()) {
            flush();
            run = null;
        }
        CRC32 crc = run == null ? new CRC32() : run.crc();
        if (record.value() != null) {
            crc.update(record.value());
        }
        long first = run == null ? record.offset() : run.first();
        runs.put(record.partition(), new Run(first, record.offset(), crc));
    }

    private void flush() {
        runs.forEach((partition, run) -> {
            say("rows", ",\"partition\":" + partition + ",\"first\":" + run.first() + ",\"last\":"
                + run.last() + ",\"crc\":" + run.crc().getValue());
            done.put(partition, run.last() + 1);
        });
        runs.clear();
    }

    private void commit(Map<Integer, Long> offsets) {
        if (offsets.isEmpty()) {
            return;
        }
        int number = ++commits;
        commitAtNanos = System.nanoTime() + config.get("commit_ms").asLong() * 1_000_000;
        List<String> pairs = offsets.entrySet().stream()
            .map(entry -> "[" + entry.getKey() + "," + entry.getValue() + "]").toList();
        String head = ",\"number\":" + number;
        say("committing", head + ",\"offsets\":[" + String.join(",", pairs) + "]");
        Map<TopicPartition, OffsetAndMetadata> wanted = new HashMap<>();
        offsets.forEach((partition, offset) ->
            wanted.put(new TopicPartition(topic, partition), new OffsetAndMetadata(offset)));
        try {
            consumer.commitSync(wanted, Duration.ofSeconds(6));
        } catch (KafkaException error) {
            say("refused", head + ",\"error\":" + quoted(error));
            return;
        }
        say("committed", head);
        offsets.forEach(done::remove);
    }

    private static List<Integer> numbers(Collection<TopicPartition> partitions) {
        return partitions.stream().map(TopicPartition::partition).sorted().toList();
    }

    private void drop(String event, Collection<TopicPartition> partitions) {
        numbers(partitions).forEach(done::remove);
        say(event, ",\"partitions\":" + numbers(partitions));
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        say("assigned", ",\"partitions\":" + numbers(partitions));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        Map<Integer, Long> offsets = new TreeMap<>(done);
        offsets.keySet().retainAll(numbers(partitions));
        commit(offsets);
        drop("revoked", partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        drop("lost", partitions);
    }
}
