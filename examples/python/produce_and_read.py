"""Produce three records and read them back, with confluent-kafka.

Start a node (`make up`, or `mesh node`), then:

    pip install confluent-kafka
    python examples/python/produce_and_read.py [HOST:PORT]
"""

import sys

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

BOOTSTRAP = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
TOPIC = "examples-python"


def produce() -> Message:
    """Send three records with one key, so in one partition; return the first as acknowledged."""
    acknowledged: list[Message] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            sys.exit(f"not acknowledged: {error}")
        acknowledged.append(message)

    producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True})
    for text in ("one", "two", "three"):
        producer.produce(TOPIC, key="greeting", value=text, on_delivery=on_delivery)
    producer.flush(30)
    return acknowledged[0]


def read(first: Message) -> None:
    """Print three records, from the first on. The partition is assigned: no group is joined."""
    consumer = Consumer(
        {"bootstrap.servers": BOOTSTRAP, "group.id": "unused", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(TOPIC, first.partition(), first.offset())])
    try:
        for message in consumer.consume(num_messages=3, timeout=30):
            if message.error() is not None:
                sys.exit(f"not read: {message.error()}")
            print(f"{message.key().decode()} = {message.value().decode()}")
    finally:
        consumer.close()


if __name__ == "__main__":
    read(produce())
