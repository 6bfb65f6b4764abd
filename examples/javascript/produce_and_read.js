// Produces three records and reads them back as a member of a group, with kafkajs.
//
// Start a node (`make up`, or `mesh node`), then, in this directory:
//
//   npm install
//   node produce_and_read.js [HOST:PORT]

import { Kafka, Partitioners, logLevel } from "kafkajs";

const bootstrap = process.argv[2] ?? "127.0.0.1:9092";
const topic = "examples-javascript";
const groupId = "examples-javascript";

const kafka = new Kafka({ brokers: bootstrap.split(","), logLevel: logLevel.ERROR });
await produce();
await read();

/** Sends three records with one key, so to one partition; acks: -1 waits until they are safe. */
async function produce() {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  try {
    const messages = ["one", "two", "three"].map((value) => ({ key: "greeting", value }));
    await producer.send({ topic, acks: -1, messages });
  } finally {
    await producer.disconnect();
  }
}

/** Prints the next three records of the group; a group that never committed begins with the first. */
async function read() {
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    let missing = 3;
    await new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
      consumer.run({
        eachMessage: async ({ message, pause }) => {
          console.log(`${message.key} = ${message.value}`);
          if (--missing > 0) return;
          pause(); // what follows is for the next run
          resolve();
        },
      });
    });
  } finally {
    await consumer.disconnect(); // commits what was read, and leaves the group
  }
}
