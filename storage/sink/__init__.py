"""The sink: topics into Postgres, exactly once."""
