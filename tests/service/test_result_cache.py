from dataclasses import replace

import pytest

from model.styles import Between, StyleChoice
from service.jobs import Job, Lane, MapData, Photo
from service.result_cache import ResultCache, job_key

JOB = Job(
    MapData(b"label"),
    MapData(b"instance"),
    StyleChoice(1, {5: 2, 3: (0.5, 0.25)}, {7: Between(1, 2, 0.5)}),
    format="jpeg",
    quality=80,
)


def photo(size: int) -> Photo:
    """A photograph of so many bytes."""
    return Photo(bytes(size), "png", 1, 1)


@pytest.mark.parametrize(
    "other",
    [
        replace(JOB, label=MapData(b"labeli"), instance=MapData(b"nstance")),
        replace(JOB, label=MapData(b"label", "raw", "uint8", 5, 1)),
        replace(JOB, label=MapData(b"label", "raw", "uint8", 1, 5)),
        replace(JOB, instance=None),
        replace(JOB, choice=replace(JOB.choice, seed=2)),
        replace(JOB, choice=replace(JOB.choice, instances={5: 2, 3: (0.25, 0.5)})),
        replace(JOB, choice=replace(JOB.choice, classes={7: Between(1, 2, 0.25)})),
        replace(JOB, format="webp"),
        replace(JOB, quality=81),
        replace(JOB, quality=None),
    ],
)
def test_whatever_changes_the_photograph_changes_the_key(other: Job) -> None:
    """Maps, how they are read, styles, format and quality all count."""
    assert job_key(other, "v1") != job_key(JOB, "v1")
    assert job_key(JOB, "v2") != job_key(JOB, "v1")


def test_what_does_not_change_the_photograph_does_not_change_the_key() -> None:
    """Who is in a hurry, and in which order styles were named, do not count."""
    swapped = replace(JOB.choice, instances={3: (0.5, 0.25), 5: 2})
    other = replace(JOB, choice=swapped, lane=Lane.BULK, deadline=1.0)
    assert job_key(other, "v1") == job_key(JOB, "v1")


def test_photographs_used_last_stay() -> None:
    """When the bytes are used up, the one that has waited longest goes."""
    cache = ResultCache(4000)
    cache.put(b"a", photo(800))
    cache.put(b"b", photo(800))
    assert cache.get(b"a") == photo(800)
    cache.put(b"c", photo(1000))
    assert cache.get(b"b") is None
    assert cache.get(b"a") == photo(800)
    assert cache.get(b"c") == photo(1000)


def test_memory_is_bounded() -> None:
    """Many small photographs, or one that is too large, take no more than was allowed."""
    cache = ResultCache(10_000)
    for number in range(1000):
        cache.put(number.to_bytes(4), photo(1))
    kept = sum(cache.get(number.to_bytes(4)) is not None for number in range(1000))
    assert 1 <= kept <= 10_000 / 513
    cache.put(b"large", photo(10_000))
    assert cache.get(b"large") is None


def test_off() -> None:
    """Without room nothing is kept."""
    assert not ResultCache(0).enabled
    assert ResultCache(1).enabled
