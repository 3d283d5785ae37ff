"""Style codes: reproducible, and exactly what the caller asked for."""

from __future__ import annotations

import numpy as np
import pytest

from model.codec import Maps, prepare_maps
from model.errors import MapError
from model.styles import StyleChoice, hash_ids, style_table, style_wish

CLUSTERS = {
    1: np.linspace(-1, 1, 30, dtype=np.float32).reshape(10, 3),
    2: np.array([[0.5, 0.5, 0.5], [0.25, 0.25, 0.25]], np.float32),
}


@pytest.fixture
def maps() -> Maps:
    """Class 0 without styles, then twenty instances of class 1 and two of class 2."""
    label = np.array([[0] + [1] * 20 + [2] * 2], np.uint8)
    instance = np.array([[0, *range(1001, 1021), 2001, 2002]])
    return prepare_maps(label, instance, 3)


def row(maps: Maps, instance: int) -> int:
    """Row of an instance in the table."""
    return maps.object_ids.tolist().index(instance)


def test_one_seed_one_table(maps: Maps) -> None:
    """The same seed gives the same styles, another seed others."""
    tables = [style_table(maps, CLUSTERS, 3, StyleChoice(seed)) for seed in (5, 5, 6)]
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])


def test_styles_do_not_depend_on_the_rest_of_the_scene(maps: Maps) -> None:
    """An instance keeps its style when the scene around it changes."""
    alone = prepare_maps(np.array([[1]], np.uint8), np.array([[1007]]), 3)
    whole = style_table(maps, CLUSTERS, 3, StyleChoice(9))
    assert np.array_equal(
        style_table(alone, CLUSTERS, 3, StyleChoice(9))[0], whole[row(maps, 1007)]
    )


def test_draws_come_from_the_class_and_vary(maps: Maps) -> None:
    """Every code is a centre of the instance's class, and instances differ."""
    table = style_table(maps, CLUSTERS, 3, StyleChoice(1))
    drawn = table[1:21]
    assert all((CLUSTERS[1] == code).all(1).any() for code in drawn)
    assert len(np.unique(drawn, axis=0)) > 3


def test_classes_without_clusters_are_neutral(maps: Maps) -> None:
    """A class that was never seen gets the code 0, not garbage."""
    assert style_table(maps, CLUSTERS, 3, StyleChoice(1))[0].tolist() == [0, 0, 0]


def test_explicit_choices_win(maps: Maps) -> None:
    """An instance's own choice beats its class's, which beats the seed."""
    choice = StyleChoice(3, {1004: 7, 1005: (0.1, 0.2, 0.3)}, {1: 2})
    table = style_table(maps, CLUSTERS, 3, choice)
    assert np.array_equal(table[row(maps, 1004)], CLUSTERS[1][7])
    assert table[row(maps, 1005)].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert np.array_equal(table[row(maps, 1006)], CLUSTERS[1][2])


@pytest.mark.parametrize(
    ("choice", "reason", "message"),
    [
        (StyleChoice(instances={77: 1}), "STYLE_NOT_FOUND", "instance 77"),
        (StyleChoice(instances={1004: 10}), "STYLE_NOT_FOUND", "no style 10.*0 to 9"),
        (StyleChoice(instances={0: 0}), "STYLE_NOT_FOUND", "0 styles"),
        (StyleChoice(instances={1004: (0.0, 0.0)}), "STYLE_INVALID", "3 numbers"),
        (StyleChoice(instances={1004: (0.0, 0.0, 1.5)}), "STYLE_INVALID", "1.5"),
        (StyleChoice(classes={1: (0.0, float("nan"), 0.0)}), "STYLE_INVALID", "nan"),
    ],
)
def test_impossible_choices_say_what_is_possible(
    maps: Maps, choice: StyleChoice, reason: str, message: str
) -> None:
    """Unknown instances, styles and malformed codes are errors with a stable reason."""
    with pytest.raises(MapError, match=message) as info:
        style_table(maps, CLUSTERS, 3, choice)
    assert info.value.reason == reason


def test_hash_is_the_published_one() -> None:
    """Seed 0 and id 0 give 0 through the finaliser; ids spread evenly over ten styles."""
    assert hash_ids(0, np.array([0])).tolist() == [0]
    draws = hash_ids(123, np.arange(10_000)) % np.uint64(10)
    assert np.bincount(draws.astype(int)).min() > 900


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**80])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    """Negative and huge seeds work."""
    assert hash_ids(seed, np.array([1, 2])).shape == (2,)


@pytest.mark.parametrize("value", [True, "2", [], [1, "x"], {}, 1.5, None])
def test_style_wish_refuses_other_json(value: object) -> None:
    """Only whole numbers and lists of numbers are styles."""
    with pytest.raises(ValueError, match="a style is"):
        style_wish(value)
