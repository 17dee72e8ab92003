"""The measurements of `lyo bench`, each on a real Kafka of its own."""
