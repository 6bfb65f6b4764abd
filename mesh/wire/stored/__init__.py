"""Messages that Kafka stores in records of its own topics and never sends by themselves."""
