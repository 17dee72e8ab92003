"""Deletes the rows that workers keep of learners, with what is read back with them, to build them anew.

``python -m ops.forget_rows --yes``, with every worker stopped. See docs/runbook.md, "Rebuilding the rows".
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from aiokafka.errors import KafkaError

from streams import kafka, topics
from streams.settings import Settings, load_settings


class RunningError(RuntimeError):
    """Workers are in the group; their rows must not be taken from under them."""


async def forget(settings: Settings) -> list[str]:
    """Delete the topics that a task reads when it is opened, and return their names.

    Raises:
        RunningError: somebody is in the workers' group.
        aiokafka.errors.KafkaError: Kafka cannot be reached, or does not delete them.
    """
    names = topics.names(settings)
    wanted = [names.learner_rows, names.skill_rows, names.prediction("struggle"), names.interventions]
    async with kafka.admin(settings) as client:
        for group in await client.describe_consumer_groups([settings.app_id]):
            members = group.groups[0][5]
            if members:
                raise RunningError(
                    f"{len(members)} workers are in the group {settings.app_id}: stop them first"
                )
        existing = [name for name in wanted if name in set(await client.list_topics())]
        if existing:
            await client.delete_topics(existing)
    return existing


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m ops.forget_rows", description=__doc__)
    parser.add_argument("--yes", action="store_true", required=True, help="it is meant")
    parser.parse_args()
    try:
        deleted = asyncio.run(forget(load_settings()))
    except (RunningError, KafkaError, OSError) as error:
        sys.exit(f"nothing deleted: {error}")
    for name in deleted:
        sys.stdout.write(f"deleted {name}\n")
    sys.stdout.write("start the workers with another LYO_APP_ID: they read the log from its beginning\n")


if __name__ == "__main__":
    main()
