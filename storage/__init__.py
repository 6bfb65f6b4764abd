"""Files and records: the log in Kafka's own formats; nothing of nodes, clusters or requests."""
