"""The HTTP API: routes, schemas, errors, health."""
