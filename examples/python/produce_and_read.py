"""Produce three records and read them back as a member of a group, with confluent-kafka.

Start a node (`make up`, or `mesh node`), then:

    pip install confluent-kafka
    python examples/python/produce_and_read.py [HOST:PORT]
"""

import sys

from confluent_kafka import Consumer, KafkaError, Message, Producer

BOOTSTRAP = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
TOPIC = "examples-python"
GROUP = "examples-python"


def produce() -> None:
    """Send three records with one key, so in one partition, and wait until they are safe."""

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            sys.exit(f"not acknowledged: {error}")

    producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True})
    for text in ("one", "two", "three"):
        producer.produce(TOPIC, key="greeting", value=text, on_delivery=on_delivery)
    producer.flush(30)


def read() -> None:
    """Print the next three records of the group; where it got to is committed afterwards."""
    consumer = Consumer(
        {
            "bootstrap.servers": BOOTSTRAP,
            "group.id": GROUP,
            "auto.offset.reset": "earliest",  # where a group begins that never committed
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([TOPIC])
    try:
        for message in consumer.consume(num_messages=3, timeout=30):
            if message.error() is not None:
                sys.exit(f"not read: {message.error()}")
            print(f"{message.key().decode()} = {message.value().decode()}")
        consumer.commit(asynchronous=False)
    finally:
        consumer.close()  # leaves the group, so that others need not wait for us


if __name__ == "__main__":
    produce()
    read()
