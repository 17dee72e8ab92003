"""The index from keys to slots is a dict, and rounded contributions add up."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lyo.models.arrays.index import KeyIndex
from lyo.models.arrays.rounding import hundredths, round_contributions
from lyo.models.arrays.table import Table
from lyo.models.state.learner import LEARNER, begin_learners

patient = settings(deadline=None)
# Small keys collide in the low bits, large ones use all of them.
KEYS = st.one_of(st.integers(0, 40), st.integers(0, 2**64 - 1), st.integers(0, 30).map(lambda key: key << 32))


@patient
@given(st.lists(st.tuples(st.booleans(), st.lists(KEYS, max_size=60)), max_size=12))
def test_the_index_answers_as_a_dict(steps: list[tuple[bool, list[int]]]) -> None:
    index, known = KeyIndex(4), dict[int, int]()
    for adds, keys in steps:
        asked = np.array(keys, np.uint64)
        if adds:
            for key in keys:
                known.setdefault(key, len(known))
            assert index.add(asked).tolist() == [known[key] for key in keys]
        else:
            assert index.find(asked).tolist() == [known.get(key, -1) for key in keys]
        assert len(index) == len(known)


def test_the_index_keeps_many_keys() -> None:
    index, keys = KeyIndex(), np.random.default_rng(1).integers(0, 2**63, 50_000).astype(np.uint64)
    slots = index.add(keys)
    assert np.array_equal(index.find(keys), slots)
    assert len(index) == len(np.unique(keys))
    assert (index.find(keys + np.uint64(1)) == -1).sum() > 49_990


def test_a_table_grows_and_keeps_what_it_holds() -> None:
    table = Table(LEARNER, begin_learners, {"due": ("i8", 7)})
    slots = table.add(np.arange(3, dtype=np.uint64), np.array([10, 11, 12]))
    table.rows["sessions"][slots] = [1, 2, 3]
    table.column("due")[slots] = [4, 5, 6]
    table.add(np.arange(5000, dtype=np.uint64), np.arange(5000) + 10)
    assert len(table) == 5000
    assert table.rows["sessions"][:4].tolist() == [1, 2, 3, 0]
    assert table.column("due")[:4].tolist() == [4, 5, 6, 7]
    assert table.rows["user"].tolist() == list(range(10, 5010))


SHARES = st.floats(-0.5, 0.5, allow_nan=False)


@patient
@given(st.lists(SHARES, min_size=1, max_size=8))
def test_rounded_contributions_add_up_and_stay_near(parts: list[float]) -> None:
    contributions = np.array([parts])
    total = hundredths(np.array([sum(parts)]))
    rounded = round_contributions(contributions, total)
    assert rounded.sum() == total[0]
    assert np.abs(rounded / 100 - contributions).max() < 0.01 + 1e-9


@patient
@given(st.lists(SHARES, min_size=1, max_size=5))
def test_a_factor_that_contributes_nothing_is_shown_as_nothing(parts: list[float]) -> None:
    contributions = np.array([[0.0, *parts, 0.0]])
    rounded = round_contributions(contributions, hundredths(contributions.sum(axis=1)))
    assert rounded[0, 0] == rounded[0, -1] == 0


def test_halves_round_away_from_zero() -> None:
    values = np.array([0.005, 0.115, 0.285, -0.005, -0.115, 0.0049, 1.0, 0.0])
    assert hundredths(values).tolist() == [1, 12, 29, -1, -12, 0, 100, 0]
