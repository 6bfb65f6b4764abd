// Produces three records, with kafkajs.
//
// kafkajs reads only as a member of a group; reading joins this example when nodes have groups.
//
// Start a node (`make up`, or `mesh node`), then, in this directory:
//
//   npm install
//   node produce.js [HOST:PORT]

import { Kafka, Partitioners, logLevel } from "kafkajs";

const bootstrap = process.argv[2] ?? "127.0.0.1:9092";
const topic = "examples-javascript";

const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR });
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });

await producer.connect();
try {
  const messages = ["one", "two", "three"].map((value) => ({ key: "greeting", value }));
  // One key, so one partition; acks: -1 waits until the records are safe.
  const answers = await producer.send({ topic, acks: -1, messages });
  for (const { topicName, partition, baseOffset } of answers) {
    console.log(`${messages.length} records in ${topicName}-${partition} from offset ${baseOffset}`);
  }
} finally {
  await producer.disconnect();
}
