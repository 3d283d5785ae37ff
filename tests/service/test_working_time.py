"""How busy engines were lately."""

from __future__ import annotations

import pytest

from service.working_time import WINDOW_S, WorkingTime


def test_half_of_the_time() -> None:
    """One engine of two that works all the time, or one of one that works half of it."""
    two, one = WorkingTime(0.0), WorkingTime(0.0)
    two.begin("a", 0.0)
    for second in range(0, 100, 2):
        one.begin("a", float(second))
        one.end("a", second + 1.0)
    assert two.ratio(100.0, engines=2) == pytest.approx(0.5)
    assert one.ratio(100.0, engines=1) == pytest.approx(0.5)


def test_what_is_long_past_counts_no_more() -> None:
    """A run counts as far as it lies in the window, running ones up to now."""
    working = WorkingTime(0.0)
    working.begin("a", 0.0)
    assert working.ratio(5.0, engines=1) == 1.0
    working.end("a", 10.0)
    assert working.ratio(WINDOW_S + 4.0, engines=1) == pytest.approx(6.0 / WINDOW_S)
    assert working.ratio(WINDOW_S + 11.0, engines=1) == 0.0


def test_a_young_server_is_judged_by_its_life() -> None:
    """Ten busy seconds of ten are all, though the window is longer; none are nothing."""
    working = WorkingTime(50.0)
    assert working.ratio(50.0, engines=1) == 0.0
    working.begin("a", 50.0)
    working.begin("a", 55.0)  # a second batch lies ready
    assert working.ratio(60.0, engines=1) == 1.0
