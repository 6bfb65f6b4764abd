"""The virtual world: the same node, another driver."""
