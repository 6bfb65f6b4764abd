import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools one after the other in one JVM: each line of standard input is a
 * JSON array, a class and its arguments; each line of the answer is {"status", "printed"}.
 *
 * <p>One of our own is beside them, for what only Java's Admin does: "RemoveMembers BOOTSTRAP GROUP
 * INSTANCE..." (without instances: all members).
 */
public final class Tools {
    private static final class Ended extends RuntimeException {}

    private static int exitStatus;

    public static void main(String[] ignored) throws Exception {
        Exit.Procedure unwind = (status, words) -> {
            // The first one counts: some tools catch what ends them, and end once more.
            exitStatus = exitStatus < 0 ? status : exitStatus;
            throw new Ended();
        };
        Exit.setExitProcedure(unwind);
        Exit.setHaltProcedure(unwind);
        ObjectMapper json = new ObjectMapper();
        PrintStream answers = System.out;
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            var printed = new ByteArrayOutputStream();
            PrintStream sink = new PrintStream(printed, true, StandardCharsets.UTF_8);
            exitStatus = -1;
            System.setOut(sink);
            System.setErr(sink);
            int status = run(json.readTree(line), sink);
            String text = printed.toString(StandardCharsets.UTF_8);
            answers.println(json.writeValueAsString(Map.of("status", status, "printed", text)));
            answers.flush();
        }
    }

    private static int run(JsonNode command, PrintStream sink) {
        String[] arguments = new String[command.size() - 1];
        for (int i = 0; i < arguments.length; i++) {
            arguments[i] = command.get(i + 1).asText();
        }
        String tool = command.get(0).asText();
        try {
            if (tool.equals("RemoveMembers")) {
                removeMembers(arguments);
            } else {
                Class.forName(tool).getMethod("main", String[].class)
                    .invoke(null, (Object) arguments);
            }
            return 0;
        } catch (InvocationTargetException error) {
            if (error.getCause() instanceof Ended) {
                return exitStatus;
            }
            sink.println(error.getCause());
            return 1;
        } catch (Exception error) {
            sink.println(error);
            return 1;
        }
    }

    private static void removeMembers(String[] arguments) throws Exception {
        List<String> instances = Arrays.asList(arguments).subList(2, arguments.length);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0]))) {
            var options = instances.isEmpty()
                ? new RemoveMembersFromConsumerGroupOptions()
                : new RemoveMembersFromConsumerGroupOptions(
                    instances.stream().map(MemberToRemove::new).collect(Collectors.toSet()));
            options.reason("a test says so");
            admin.removeMembersFromConsumerGroup(arguments[1], options).all().get();
            System.out.println("removed");
        }
    }
}
