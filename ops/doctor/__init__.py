"""`lyo doctor`: examines Kafka and Postgres, judges what it finds, and creates what is missing."""
