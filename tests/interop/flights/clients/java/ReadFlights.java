import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads assigned partitions with Kafka's own consumer and prints every record in one plain form.
 *
 * <p>Arguments: BOOTSTRAP TOPIC/PARTITION/END ...; each partition is read from offset 0 to END
 * (exclusive). The form: a line "topic partition offset key-length value-length" (-1 for null), the
 * bytes of key and value, a line feed.
 */
public final class ReadFlights {
    public static void main(String[] arguments) throws IOException {
        long missing = 0;
        List<TopicPartition> partitions = new ArrayList<>();
        for (int i = 1; i < arguments.length; i++) {
            String[] parts = arguments[i].split("/");
            partitions.add(new TopicPartition(parts[0], Integer.parseInt(parts[1])));
            missing += Long.parseLong(parts[2]);
        }
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", arguments[0],
            "enable.auto.commit", false,
            "auto.offset.reset", "none",
            "max.poll.records", 10_000);
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(settings, bytes, bytes);
                var out = new BufferedOutputStream(System.out, 1 << 20)) {
            consumer.assign(partitions);
            partitions.forEach(partition -> consumer.seek(partition, 0));
            while (missing > 0) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    print(record, out);
                    missing--;
                }
            }
        }
    }

    private static void print(ConsumerRecord<byte[], byte[]> record, OutputStream out)
            throws IOException {
        byte[] key = record.key();
        byte[] value = record.value();
        String head = record.topic() + " " + record.partition() + " " + record.offset() + " "
            + (key == null ? -1 : key.length) + " " + (value == null ? -1 : value.length) + "\n";
        out.write(head.getBytes(StandardCharsets.UTF_8));
        if (key != null) {
            out.write(key);
        }
        if (value != null) {
            out.write(value);
        }
        out.write('\n');
    }
}
