"""Exponential and logarithm from ``+ - * /`` alone."""

from __future__ import annotations

import numpy as np

from lyo.models.arrays.exact import exp, log

VALUES = np.concatenate([np.linspace(-700, 700, 20_001), np.linspace(-2, 2, 20_001)])


def test_both_are_within_a_ten_trillionth_of_the_true_value() -> None:
    assert np.abs(exp(VALUES) / np.exp(VALUES) - 1).max() < 1e-13
    positive = np.exp(VALUES)
    assert np.abs(log(positive) - np.log(positive)).max() < 2e-13
    assert log(np.ones(1)).tolist() == [0.0]
    assert exp(np.array([-1e9, 1e9])).tolist() == exp(np.array([-700.0, 700.0])).tolist()


def test_a_value_alone_gives_the_bytes_that_it_gives_among_others() -> None:
    for function, values in ((exp, VALUES[:500]), (log, np.abs(VALUES[:500]) + 0.5)):
        one_by_one = np.concatenate([function(values[place : place + 1]) for place in range(len(values))])
        assert one_by_one.tobytes() == function(values).tobytes()
        assert function(np.stack([values, values]))[1].tobytes() == function(values).tobytes()
