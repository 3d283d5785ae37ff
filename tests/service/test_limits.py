from contextlib import ExitStack, suppress

import pytest

from service.errors import ServiceError
from service.limits import _FORGET_ABOVE, Limiter


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Time stands still until a test moves it."""
    return Clock()


def admitted(limiter: Limiter, caller: str, count: int) -> int:
    """Send requests that end at once; return how many were let in."""
    found = 0
    for _ in range(count):
        with suppress(ServiceError), limiter.admit(caller):
            found += 1
    return found


def test_zero_is_no_limit(clock: Clock) -> None:
    """Without limits everything is let in."""
    assert admitted(Limiter(0, 0, clock), "a", 1000) == 1000


def test_rate_holds_over_time(clock: Clock) -> None:
    """One second's worth may come at once; from then on the rate counts, for each caller alone."""
    limiter = Limiter(4, 0, clock)
    assert admitted(limiter, "a", 10) == 4
    assert admitted(limiter, "b", 10) == 4
    clock.now += 0.5
    assert admitted(limiter, "a", 10) == 2
    clock.now += 60
    assert admitted(limiter, "a", 10) == 4


def test_slow_rates_admit_single_requests(clock: Clock) -> None:
    """A rate under one per second lets one in, and tells how long the next has to wait."""
    limiter = Limiter(0.1, 0, clock)
    assert admitted(limiter, "a", 2) == 1
    clock.now += 4
    with pytest.raises(ServiceError) as caught, limiter.admit("a"):
        pass
    assert caught.value.reason == "RATE_LIMITED"
    assert caught.value.retry_after_s == pytest.approx(6)


def test_requests_at_once_are_counted(clock: Clock) -> None:
    """A request counts until it ends, however it ends, and never for another caller."""
    limiter = Limiter(0, 2, clock)
    with ExitStack() as running:
        for _ in range(2):
            running.enter_context(limiter.admit("a"))
        assert admitted(limiter, "a", 1) == 0
        assert admitted(limiter, "b", 1) == 1
    with pytest.raises(ZeroDivisionError), limiter.admit("a"):
        raise ZeroDivisionError
    assert admitted(limiter, "a", 3) == 3


def test_refused_requests_cost_nothing(clock: Clock) -> None:
    """Who is refused for too many at once has the rate left."""
    limiter = Limiter(2, 1, clock)
    with limiter.admit("a"):
        assert admitted(limiter, "a", 50) == 0
    assert admitted(limiter, "a", 50) == 1


def test_callers_of_the_past_are_forgotten(clock: Clock) -> None:
    """Addresses that come once do not fill the memory; whoever is busy is remembered."""
    limiter = Limiter(1, 1, clock)
    with limiter.admit("busy"):
        for number in range(3 * _FORGET_ABOVE):
            clock.now += 0.01
            admitted(limiter, str(number), 1)
        assert len(limiter._callers) <= _FORGET_ABOVE
        assert admitted(limiter, "busy", 1) == 0
