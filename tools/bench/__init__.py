"""What `lyo bench` measures, each on a real Kafka of its own."""
