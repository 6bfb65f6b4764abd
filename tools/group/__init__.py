"""`mesh group`: consumer groups of any Kafka cluster."""
