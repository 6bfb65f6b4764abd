"""A broker mesh that speaks the Kafka wire protocol and has no coordinator."""
