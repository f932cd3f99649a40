"""The load generator's histogram, against all the samples sorted."""

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgateway_cli.bench.histogram import ERROR, LEAST_NS, MOST_NS, Histogram

samples = st.lists(st.integers(LEAST_NS, MOST_NS), min_size=1, max_size=200)
percents = st.one_of(st.sampled_from((0.0, 50.0, 90.0, 99.0, 100.0)), st.floats(0, 100))


def histogram(values: list[int]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def ranked(values: list[int], percent: float) -> int:
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


@given(samples, percents)
def test_percentiles_are_near_those_of_the_samples(values: list[int], percent: float) -> None:
    exact = ranked(values, percent)
    assert abs(histogram(values).percentile(percent) - exact) <= exact * ERROR * 1.0001


@given(samples)
def test_the_extremes_are_exact(values: list[int]) -> None:
    made = histogram(values)
    assert (made.count, made.least, made.most) == (len(values), min(values), max(values))


@given(samples, samples)
def test_histograms_of_several_processes_add_up(ours: list[int], theirs: list[int]) -> None:
    travelled = pickle.loads(pickle.dumps(histogram(theirs)))
    assert histogram(ours) + travelled == histogram(ours + theirs)
    assert histogram(ours) + Histogram() == histogram(ours) == Histogram() + histogram(ours)


@pytest.mark.parametrize(("value", "counted"), [(-5, LEAST_NS), (0, LEAST_NS), (MOST_NS * 1000, MOST_NS)])
def test_what_is_out_of_bounds_counts_as_the_bound(value: int, counted: int) -> None:
    made = histogram([value])
    assert (made.least, made.percentile(50), made.most) == (counted, counted, counted)


def test_without_samples_all_is_zero() -> None:
    made = Histogram()
    assert (made.count, made.least, made.percentile(99), made.most) == (0, 0, 0, 0)
