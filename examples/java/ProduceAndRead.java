import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Produces three records and reads them back, with Kafka's own Java client.
 *
 * <p>Start a node ({@code make up}, or {@code mesh node}), then, in this directory:
 *
 * <pre>
 * mvn -q dependency:copy-dependencies -DoutputDirectory=build
 * java -cp 'build/*' ProduceAndRead.java [HOST:PORT]
 * </pre>
 */
public final class ProduceAndRead {
    private static final String TOPIC = "examples-java";

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments.length > 0 ? arguments[0] : "127.0.0.1:9092";
        read(bootstrap, produce(bootstrap));
    }

    /** Sends three records with one key, so in one partition; returns where the first one is. */
    private static RecordMetadata produce(String bootstrap) throws Exception {
        var text = new StringSerializer();
        // Idempotent, acks=all: the Java client's defaults.
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(settings, text, text)) {
            RecordMetadata first = producer.send(greeting("one")).get();
            producer.send(greeting("two"));
            producer.send(greeting("three")).get();
            return first;
        }
    }

    private static ProducerRecord<String, String> greeting(String value) {
        return new ProducerRecord<>(TOPIC, "greeting", value);
    }

    /** Prints three records, from the first on. The partition is assigned: no group is joined. */
    private static void read(String bootstrap, RecordMetadata first) {
        var text = new StringDeserializer();
        Map<String, Object> settings =
            Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(settings, text, text)) {
            var partition = new TopicPartition(TOPIC, first.partition());
            consumer.assign(List.of(partition));
            consumer.seek(partition, first.offset());
            int missing = 3;
            while (missing > 0) {
                for (ConsumerRecord<String, String> it : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(it.key() + " = " + it.value());
                    missing--;
                }
            }
        }
    }
}
