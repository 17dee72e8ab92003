"""The HTTP API: routes, shapes, errors, health."""
