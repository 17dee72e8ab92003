"""Runs `lyo` as it was before records in another partition than their key's were refused.

For tests of what such versions have left: `python -m tests.support.worker.earlier worker`.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from lyo.cli.main import main


def _take_all(records: list[Any], *_: object) -> tuple[list[Any], list[Any]]:
    return records, []


def _none_elsewhere(records: list[Any], *_: object) -> list[bool]:
    return [False] * len(records)


if __name__ == "__main__":
    with (
        mock.patch("lyo.models.events.decode.check_partitions"),
        mock.patch("lyo.streams.runtime.restore.elsewhere", _none_elsewhere),
        mock.patch("lyo.storage.sink.sink.placed", _take_all),
    ):
        main()
