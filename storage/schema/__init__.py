"""The Postgres schema: tables, migrations, and what state a database is in."""
