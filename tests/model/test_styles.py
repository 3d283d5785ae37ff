"""Style codes: reproducible, and exactly what the caller asked for."""

from __future__ import annotations

import numpy as np
import pytest

from model.codec import Maps, prepare_maps
from model.errors import MapError
from model.styles import Between, StyleChoice, hash_ids, style_table, style_wish

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
    return int(np.flatnonzero(maps.object_ids == instance)[0])


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


def test_styles_mix(maps: Maps) -> None:
    """A style between two others moves from the first to the second in a straight line."""
    code = (1.0, 0.0, -1.0)
    wishes = {1001: Between(2, 7, 0), 1002: Between(2, 7, 1), 1003: Between(code, 7, 0.25)}
    table = style_table(maps, CLUSTERS, 3, StyleChoice(instances=wishes))
    assert np.array_equal(table[row(maps, 1001)], CLUSTERS[1][2])
    assert np.array_equal(table[row(maps, 1002)], CLUSTERS[1][7])
    assert table[row(maps, 1003)] == pytest.approx(
        0.75 * np.array(code) + 0.25 * CLUSTERS[1][7], abs=1e-6
    )


def test_typical_scenes_keep_styles_together(maps: Maps) -> None:
    """Each instance draws among the third of its class's styles nearest to the chosen scene."""
    scenes = np.zeros((2, 3, 3), np.float32)
    scenes[0, 1], scenes[1, 1] = -1, 1
    drawn = [style_table(maps, CLUSTERS, 3, StyleChoice(seed), scenes)[1:21] for seed in range(8)]
    means = np.array([codes.mean() for codes in drawn])
    assert (np.abs(means) > 0.5).all()
    assert {-1, 1} == set(np.sign(means))
    assert all(len(np.unique(codes, axis=0)) == 4 for codes in drawn)


@pytest.mark.parametrize(
    ("choice", "reason", "message"),
    [
        (StyleChoice(instances={77: 1}), "STYLE_NOT_FOUND", "instance 77"),
        (StyleChoice(instances={1004: 10}), "STYLE_NOT_FOUND", "no style 10.*0 to 9"),
        (StyleChoice(instances={0: 0}), "STYLE_NOT_FOUND", "0 styles"),
        (StyleChoice(instances={1004: (0.0, 0.0)}), "STYLE_INVALID", "3 numbers"),
        (StyleChoice(instances={1004: (0.0, 0.0, 1.5)}), "STYLE_INVALID", "1.5"),
        (StyleChoice(classes={1: (0.0, float("nan"), 0.0)}), "STYLE_INVALID", "nan"),
        (StyleChoice(instances={1004: Between(3, 10, 0.5)}), "STYLE_NOT_FOUND", "no style 10"),
        (StyleChoice(instances={1004: Between((0.0,), 3, 0.5)}), "STYLE_INVALID", "3 numbers"),
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


@pytest.mark.parametrize(
    ("value", "wish"),
    [
        (2, 2),
        ([0, 0.5, -1], (0.0, 0.5, -1.0)),
        ({"between": [2, [0.5]], "at": 0.3}, Between(2, (0.5,), 0.3)),
        ({"at": 1, "between": [0, 1]}, Between(0, 1, 1)),
    ],
)
def test_style_wish_reads_json(value: object, wish: object) -> None:
    """Numbers, codes and mixtures of two of them."""
    assert style_wish(value) == wish


@pytest.mark.parametrize(
    "value",
    [
        True, "2", [], [1, "x"], [True], [float("nan")], [10**400], {}, 1.5, None,
        {"between": [1, 2]},
        {"between": [1], "at": 0.5},
        {"between": [1, 2], "at": "0.5"},
        {"between": [1, 2], "at": 1.01},
        {"between": [1, 2], "at": float("nan")},
        {"between": [1, 2], "at": 0.5, "seed": 1},
        {"between": [1, {"between": [1, 2], "at": 0.5}], "at": 0.5},
    ],
)  # fmt: skip
def test_style_wish_refuses_other_json(value: object) -> None:
    """Whole numbers, lists of numbers and mixtures of two of them are all there is."""
    with pytest.raises(ValueError, match="a style"):
        style_wish(value)
