"""Cluster metadata as records plus replay: topics, configs, ids."""
