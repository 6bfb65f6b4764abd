import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Produces three records and reads them back as a member of a group, with Kafka's own client.
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
    private static final String GROUP = "examples-java";

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments.length > 0 ? arguments[0] : "127.0.0.1:9092";
        produce(bootstrap);
        read(bootstrap);
    }

    /** Sends three records with one key, so to one partition, and waits until they are safe. */
    private static void produce(String bootstrap) throws Exception {
        var text = new StringSerializer();
        // Idempotent, acks=all: the Java client's defaults.
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(settings, text, text)) {
            producer.send(greeting("one"));
            producer.send(greeting("two"));
            producer.send(greeting("three")).get();
        }
    }

    private static ProducerRecord<String, String> greeting(String value) {
        return new ProducerRecord<>(TOPIC, "greeting", value);
    }

    /** Prints the next three records of the group; where it got to is committed afterwards. */
    private static void read(String bootstrap) {
        var text = new StringDeserializer();
        Map<String, Object> settings =
            Map.of(
                "bootstrap.servers", bootstrap,
                "group.id", GROUP,
                "auto.offset.reset", "earliest", // where a group begins that never committed
                "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(settings, text, text)) {
            consumer.subscribe(List.of(TOPIC));
            int missing = 3;
            while (missing > 0) {
                for (ConsumerRecord<String, String> it : consumer.poll(Duration.ofSeconds(1))) {
                    System.out.println(it.key() + " = " + it.value());
                    missing--;
                }
            }
            consumer.commitSync();
        }
    }
}
