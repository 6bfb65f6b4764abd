import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes rows from standard input with Kafka's own producer, idempotent and acks=all, and prints
 * what came of each.
 *
 * <p>Arguments: BOOTSTRAP TOPIC CODEC. The forms of input and output are those of
 * tests/interop/flights/write_confluent.py.
 */
public final class WriteFlights {
    public static void main(String[] arguments) throws IOException {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", arguments[0],
            "compression.type", arguments[2],
            "acks", "all",
            "enable.idempotence", true,
            "linger.ms", 5,
            "batch.size", 16_384,
            "delivery.timeout.ms", 120_000,
            "reconnect.backoff.ms", 20,
            "reconnect.backoff.max.ms", 200);
        var bytes = new ByteArraySerializer();
        var in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
        try (var producer = new KafkaProducer<>(settings, bytes, bytes)) {
            for (String line = line(in); line != null; line = line(in)) {
                String[] words = line.split(" ");
                byte[] key = take(in, Integer.parseInt(words[1]));
                byte[] value = take(in, Integer.parseInt(words[2]));
                take(in, 1);
                var record = new ProducerRecord<>(arguments[1], key, value);
                producer.send(record, (place, error) -> say(words[0] + (error == null
                    ? " " + place.partition() + " " + place.offset()
                    : " error " + error)));
            }
        }
    }

    private static void say(String words) {
        byte[] line = (words + "\n").getBytes(StandardCharsets.UTF_8);
        System.out.write(line, 0, line.length); // One write: callbacks come from one thread.
        System.out.flush();
    }

    private static byte[] take(DataInputStream in, int length) throws IOException {
        return length < 0 ? null : in.readNBytes(length);
    }

    /** The next line without its end, or null where there is none. */
    private static String line(DataInputStream in) throws IOException {
        var words = new StringBuilder();
        for (int next = in.read(); next != '\n'; next = in.read()) {
            if (next < 0) {
                return null;
            }
            words.append((char) next);
        }
        return words.toString();
    }
}
