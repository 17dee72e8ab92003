"""The outbox: events that the API records, relayed to the topics in order."""
