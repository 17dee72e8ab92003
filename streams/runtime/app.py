"""The Faust app: its settings, its topics, and nothing that connects."""

from __future__ import annotations

from typing import Any

from lyo.streams import topics
from lyo.streams.runtime.transport import BatchApp, PollSchema
from lyo.streams.settings import Settings


def create_app(settings: Settings) -> BatchApp:
    """A Faust app for a worker with these settings."""
    # Faust only builds its own clients' arguments from this; ours come from lyo.streams.kafka.clients.
    brokers = ";".join(f"kafka://{server}" for server in settings.servers)
    return BatchApp(
        settings,
        broker=brokers,
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_request_timeout=max(settings.request_timeout_ms, settings.session_timeout_ms) / 1000,
        broker_rebalance_timeout=settings.rebalance_timeout_ms / 1000,
        # Faust's commit does nothing here, so it need not happen often.
        broker_commit_interval=3600.0,
        worker_redirect_stdouts=False,
    )


def input_topics(app: BatchApp) -> dict[str, Any]:
    """A Faust topic for every input topic, by name; its messages are polls and are never acked."""
    names = topics.names(app.settings)
    return {name: app.topic(name, schema=PollSchema(), acks=False) for name in names.inputs}
