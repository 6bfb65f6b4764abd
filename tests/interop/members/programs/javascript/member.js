// A member of a group with kafkajs.
//
// The argument, the orders on standard input and the events on standard output are those of
// tests/interop/members/member.py. kafkajs has no callback before it gives partitions up: it says
// that it rebalances once its work was interrupted, and by then nothing of ours runs.

import readline from "node:readline";
import zlib from "node:zlib";
import kafkajs from "kafkajs";

const config = JSON.parse(process.argv[2]);
const { Kafka, PartitionAssigners, logLevel } = kafkajs;
const kafka = new Kafka({
  brokers: config.bootstrap.split(","),
  clientId: config.name,
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 60 },
});
const consumer = kafka.consumer({
  groupId: config.group,
  sessionTimeout: config.session_ms,
  rebalanceTimeout: config.poll_ms_max,
  heartbeatInterval: config.heartbeat_ms,
  maxWaitTimeInMs: 100,
  partitionAssigners: [PartitionAssigners.roundRobin],
});
let held = [];
let commits = 0;
let commitAt = Date.now();
let stall = null;

function say(event, fields) {
  const atUs = Math.round((performance.timeOrigin + performance.now()) * 1000);
  process.stdout.write(`${JSON.stringify({ event, at_us: atUs, ...fields })}\n`);
}

function drop(event) {
  if (held.length > 0) say(event, { partitions: held });
  held = [];
}

consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
  drop("lost"); // It was put out of the group, and joined anew without a word.
  held = [...(payload.memberAssignment[config.topic] ?? [])].sort((a, b) => a - b);
  say("assigned", { partitions: held });
});
consumer.on(consumer.events.REBALANCING, () => drop("revoked"));
consumer.on(consumer.events.CRASH, ({ payload }) => {
  drop("lost");
  if (!payload.restart) say("failed", { error: String(payload.error) });
});

async function commit(partition, offset) {
  const number = ++commits;
  commitAt = Date.now() + config.commit_ms;
  say("committing", { number, offsets: [[partition, offset]] });
  try {
    await consumer.commitOffsets([{ topic: config.topic, partition, offset: String(offset) }]);
  } catch (error) {
    say("refused", { number, error: String(error).slice(0, 300) });
    throw error;
  }
  say("committed", { number });
}

function crcOf(messages) {
  return messages.reduce((crc, { value }) => zlib.crc32(value ?? Buffer.alloc(0), crc), 0);
}

async function eachBatch({ batch, resolveOffset, heartbeat, isRunning, isStale }) {
  const { partition, messages } = batch;
  let done = null;
  for (let at = 0; at < messages.length && isRunning() && !isStale(); at += config.turn_rows) {
    const turn = messages.slice(at, at + config.turn_rows);
    const [first, last] = [Number(turn[0].offset), Number(turn.at(-1).offset)];
    say("rows", { partition, first, last, crc: crcOf(turn) });
    resolveOffset(turn.at(-1).offset);
    done = last + 1;
    if (stall !== null) await stall.promise;
    await new Promise((resume) => setTimeout(resume, config.turn_ms));
    await heartbeat();
    if (Date.now() >= commitAt) {
      await commit(partition, done);
      done = null;
    }
  }
  if (done !== null && isRunning()) await commit(partition, done);
}

let stopping = false;

async function stop() {
  if (stopping) return;
  stopping = true;
  stall?.resume();
  await consumer.stop();
  drop("revoked");
  await consumer.disconnect();
  say("ended");
  process.exit(0);
}

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const order = line.trim();
  if (order === "stop") {
    stop();
  } else if (order === "stall") {
    let resume;
    stall = { promise: new Promise((resolve) => (resume = resolve)) };
    stall.resume = resume;
    say("paused");
  } else if (stall !== null) {
    stall.resume();
    stall = null;
    say("resumed");
  }
});
lines.on("close", stop);

await consumer.connect();
await consumer.subscribe({ topic: config.topic, fromBeginning: true });
await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch });
