"""Our own Kafka client: a machine and its trio driver."""
