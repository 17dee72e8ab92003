"""Kafka clients: consumers, producers, requests that aiokafka does not make, and signing in."""
