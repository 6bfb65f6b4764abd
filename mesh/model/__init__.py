"""The words that all rooms share: ids, error codes, limits and the configuration table."""
