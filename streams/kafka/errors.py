"""What is wrong with a topic; needs no Kafka client."""


class TopicError(RuntimeError):
    """A topic does not fit the settings, could not be created, or may not be described."""
