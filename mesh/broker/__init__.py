"""One handler per Kafka API, the partitions they work on, and what waits for them."""
