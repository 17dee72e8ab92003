"""Queries: what the API, the pages and the monitor read from Postgres."""
