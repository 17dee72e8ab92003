"""Postgres: the tables, their migrations, the sink that fills them and the queries that read them."""
