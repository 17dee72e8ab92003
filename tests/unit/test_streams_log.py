"""What reaches the log: everything of ours, of the libraries' repetitions one in a while."""

from __future__ import annotations

import logging

from streams.log import Seldom


def record(name: str, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, arguments, None)


def test_a_library_that_repeats_itself_is_heard_once_in_a_while() -> None:
    clock = [0.0]
    seldom = Seldom(10.0, lambda: clock[0])
    heard = []
    for number in range(200):
        clock[0] = number * 0.1
        one = record("aiokafka", "Unable connect to node with id %s: %s", 3, f"port {number}")
        if seldom.filter(one):
            heard.append(one.getMessage())
    assert heard == [
        "Unable connect to node with id 3: port 0",
        "Unable connect to node with id 3: port 100 (and 99 more like it)",
    ]


def test_what_is_said_for_the_first_time_and_what_is_ours_is_always_heard() -> None:
    seldom = Seldom(10.0, lambda: 0.0)
    assert seldom.filter(record("aiokafka", "one"))
    assert seldom.filter(record("aiokafka", "another"))
    assert seldom.filter(record("aiokafka.client", "one"))
    assert all(seldom.filter(record("lyo.task", "the same")) for _ in range(3))
