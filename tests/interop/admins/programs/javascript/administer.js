// Administers a broker with kafkajs and prints what came of it as one JSON object.
//
//   node administer.js BOOTSTRAP TOPIC FILLED
//
// TOPIC is made, changed and deleted, FILLED holds records. What each step means is said in
// tests/interop/admins/steps.py.

import kafkajs from "kafkajs";

const { ConfigResourceTypes, ConfigSource, Kafka, logLevel } = kafkajs;
const [bootstrap, topic, filled] = process.argv.slice(2);
const kafka = new Kafka({ brokers: bootstrap.split(","), logLevel: logLevel.NOTHING });
const admin = kafka.admin({ retry: { retries: 0 } });
const said = {};

// Numbers of all errors within an error: kafkajs wraps them, in a way of its own for each call.
function codes(error) {
  // It looks into ApiVersions and does not even ask: UNSUPPORTED_VERSION.
  if (error.name === "KafkaJSServerDoesNotSupportApiKey") return [35];
  const inner = [error.cause, ...(error.errors ?? []), ...(error.partitions ?? [])];
  const further = inner.filter(Boolean).flatMap((one) => codes(one.error ?? one));
  return typeof error.code === "number" ? [error.code] : further;
}

// Kafka's number of the error that a call ends with, 0 for none; what no broker answered ends us.
async function code(call) {
  try {
    await call;
    return 0;
  } catch (error) {
    const found = codes(error);
    if (found.length === 0) throw error;
    return found[0];
  }
}

async function configs() {
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }];
  const answer = await admin.describeConfigs({ includeSynonyms: false, resources });
  const wanted = ["cleanup.policy", "retention.ms", "segment.ms"];
  return Object.fromEntries(
    answer.resources[0].configEntries
      .filter((entry) => wanted.includes(entry.configName))
      .map((entry) => [
        entry.configName,
        [entry.configValue, entry.configSource === ConfigSource.TOPIC_CONFIG],
      ]),
  );
}

function replace(value) {
  const configEntries = [{ name: "retention.ms", value }];
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }];
  return code(admin.alterConfigs({ validateOnly: false, resources }));
}

function widen(count) {
  return code(admin.createPartitions({ topicPartitions: [{ topic, count }] }));
}

function deleteRecords(offset) {
  return code(admin.deleteTopicRecords({ topic: filled, partitions: [{ partition: 0, offset }] }));
}

function reassign(node) {
  const partitionAssignment = [{ partition: 0, replicas: [node] }];
  return code(admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment }] }));
}

async function offsets() {
  const [partition] = await admin.fetchTopicOffsets(filled);
  return [Number(partition.low), Number(partition.high)];
}

await admin.connect();
try {
  const configEntries = [
    { name: "cleanup.policy", value: "compact" },
    { name: "retention.ms", value: "5000000" },
  ];
  const topics = [{ topic, numPartitions: 2, replicationFactor: 1, configEntries }];
  said.create = await code(admin.createTopics({ topics }));
  // It answers false where a topic exists, and takes no error out of it.
  said.create_again = (await admin.createTopics({ topics })) ? 0 : 36;
  said.describe_configs = await configs();
  said.replace = await replace("6000000");
  said.replace_after = await configs();
  said.replace_wrong = await replace("soon");
  said.widen = await widen(3);
  said.widen_back = await widen(1);
  const metadata = await admin.fetchTopicMetadata({ topics: [topic] });
  said.partitions = metadata.topics[0].partitions.length;
  said.offsets = await offsets();
  said.delete_records = await deleteRecords("3");
  said.delete_records_beyond = await deleteRecords("9");
  said.offsets_after = await offsets();
  const cluster = await admin.describeCluster();
  said.nodes = cluster.brokers.map((broker) => broker.nodeId);
  said.controller = cluster.controller;
  said.reassign = await reassign(1);
  said.reassign_unknown = await reassign(99);
  said.reassignments = (await admin.listPartitionReassignments({})).topics.length;
  said.delete = await code(admin.deleteTopics({ topics: [topic] }));
  said.gone = !(await admin.listTopics()).includes(topic);
} finally {
  await admin.disconnect();
}
console.log(JSON.stringify(said));
