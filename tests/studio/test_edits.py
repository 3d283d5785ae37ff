"""Every edit changes the maps as it says, and the photograph there."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from model.scenes import CLASSES, Scene
from tests.service.conftest import png
from tests.studio.conftest import SIDE, Seen, Studio

WINDOW, FACADE, VEGETATION = map(CLASSES.index, ("window", "facade", "vegetation"))
DIFFERENT = 3.0
"""Mean grey levels by which a place that was edited differs at least."""
ALIKE = 1.0
"""Mean grey levels by which the rest of the photograph differs at most."""


def windows(seen: Seen) -> list[int]:
    """Return the windows that a scene shows well, the largest first."""
    ids, pixels = np.unique(seen.instance[seen.label == WINDOW], return_counts=True)
    return [int(ids[i]) for i in np.argsort(-pixels)]


def difference(before: Seen, after: Seen, where: tuple[slice, slice]) -> float:
    """Return by how many grey levels two photographs differ in a box, on average."""
    return float(
        np.abs(before.photo[where].astype(float) - after.photo[where].astype(float)).mean()
    )


def difference_outside(before: Seen, after: Seen, where: tuple[slice, slice]) -> float:
    """Return the same for everything but the box."""
    apart = np.abs(before.photo.astype(float) - after.photo.astype(float)).mean(2)
    outside = np.ones(apart.shape, bool)
    outside[where] = False
    return float(apart[outside].mean())


def test_stroke_is_a_new_object(studio: Studio, scene: Scene) -> None:
    """A stroke paints the chosen class as an object of its own, and the photograph follows."""
    before = studio.open(scene)
    studio.key("b", "0")
    studio.drag((20, 12), (60, 12))
    after = studio.seen()
    changed = after.label != before.label
    assert set(after.label[changed].tolist()) == {VEGETATION}
    (new,) = set(np.unique(after.instance)) - set(np.unique(before.instance))
    assert np.array_equal(after.instance == new, after.instance != before.instance)
    assert after.label[12, 20] == after.label[12, 60] == VEGETATION
    assert after.label[12, 100] == before.label[12, 100]
    assert difference(before, after, after.box(int(new))) > DIFFERENT


def test_stroke_extends_an_object(studio: Studio, scene: Scene) -> None:
    """On demand a stroke continues the object that it starts at."""
    before = studio.open(scene)
    window = windows(before)[0]
    rows, columns = before.box(window)
    studio.key("b", "i")
    studio.click((columns.start + columns.stop) // 2, (rows.start + rows.stop) // 2)
    studio.key("b", "n", *["["] * 6)
    middle = (rows.start + rows.stop) // 2
    studio.drag((columns.start + 2, middle), (columns.start - 5, middle))
    after = studio.seen()
    assert set(np.unique(after.instance)) <= set(np.unique(before.instance))
    assert (after.instance == window).sum() > (before.instance == window).sum()
    assert difference(before, after, (rows, slice(columns.start - 5, columns.start))) > DIFFERENT


def test_eraser_rectangle_polygon_and_fill(studio: Studio, scene: Scene) -> None:
    """Each of the other tools writes the pixels that it covers, and no others."""
    before = studio.open(scene)
    studio.key("r", "0")
    studio.drag((9.5, 9.5), (29.5, 19.5))
    rectangle = studio.seen()
    expected = before.label.copy()
    expected[10:20, 10:30] = VEGETATION
    assert np.array_equal(rectangle.label, expected)
    assert difference(before, rectangle, (slice(10, 20), slice(10, 30))) > DIFFERENT

    studio.key("p", "4")
    for x, y in ((60, 5), (90, 5), (90, 25)):
        studio.click(x, y)
    studio.key("Enter")
    polygon = studio.seen()
    assert polygon.label[8, 85] == FACADE
    assert polygon.label[22, 65] == rectangle.label[22, 65]
    assert difference(rectangle, polygon, (slice(5, 25), slice(75, 90))) > DIFFERENT

    studio.key("g", "7")
    studio.click(15, 15)
    filled = studio.seen()
    expected = polygon.label.copy()
    expected[10:20, 10:30] = 6
    assert np.array_equal(filled.label, expected)
    assert difference(polygon, filled, (slice(10, 20), slice(10, 30))) > DIFFERENT

    studio.key("e")
    studio.click(20, 15)
    erased = studio.seen()
    assert erased.label[15, 20] == 0
    assert erased.instance[15, 20] == 0
    assert difference(filled, erased, (slice(10, 20), slice(12, 28))) > DIFFERENT


def test_pick_takes_the_class_under_the_pointer(studio: Studio, scene: Scene) -> None:
    """What is picked is painted next."""
    before = studio.open(scene)
    rows, columns = before.box(windows(before)[0])
    studio.key("i")
    studio.click((columns.start + columns.stop) // 2, (rows.start + rows.stop) // 2)
    studio.key("b")
    studio.click(30, 10)
    after = studio.seen()
    assert after.label[10, 30] == WINDOW
    assert difference(before, after, (slice(4, 16), slice(24, 36))) > DIFFERENT


def test_change_the_class_of_an_object(studio: Studio, scene: Scene) -> None:
    """All pixels of the object become the new class, under a new id of that class."""
    before = studio.open(scene)
    window = windows(before)[0]
    studio.select(window, before)
    studio.page.get_by_label("Class", exact=True).select_option("vegetation")
    after = studio.seen()
    new = studio.selected
    assert new is not None
    assert new // 1000 == VEGETATION
    assert np.array_equal(after.instance == new, before.instance == window)
    assert (after.label[after.instance == new] == VEGETATION).all()
    assert (after.label[after.instance != new] == before.label[before.instance != window]).all()
    assert difference(before, after, after.box(new)) > DIFFERENT


def test_candidates_are_real_crops_that_arrow_keys_walk(studio: Studio, scene: Scene) -> None:
    """Every style of the class is shown as a photograph; arrows choose, and the rest stays."""
    before = studio.open(scene)
    window = windows(before)[0]
    studio.select(window, before)
    strip = studio.page.get_by_role("radiogroup", name="Styles")
    studio.until("() => document.querySelectorAll('.strip img').length === 11")
    crops = strip.locator("img").evaluate_all("images => new Set(images.map(i => i.src)).size")
    assert crops == 11
    strip.get_by_role("radio", name="Style chosen by the seed").focus()
    studio.key(*["ArrowRight"] * 10)
    after = studio.seen()
    assert after.options["styles"] == {str(window): 9}
    assert strip.get_by_role("radio", name="Style 10").get_attribute("aria-checked") == "true"
    assert np.array_equal(after.instance, before.instance)
    assert difference(before, after, after.box(window)) > DIFFERENT
    assert difference_outside(before, after, after.box(window, grown=16)) < ALIKE


def choose_style(studio: Studio, number: int) -> Seen:
    """Click a candidate of the selected object."""
    studio.page.get_by_role("radio", name=f"Style {number}", exact=True).click()
    return studio.seen()


def test_copy_a_style_to_an_object_and_to_its_class(studio: Studio, scene: Scene) -> None:
    """The other object, or every one of the class, gets the very code of the first."""
    before = studio.open(scene)
    first, second, *_ = windows(before)
    studio.select(first, before)
    choose_style(studio, 10)
    studio.button("Copy").click()
    studio.select(second, before)
    studio.button("Paste").click()
    pasted = studio.seen()
    code = pasted.options["styles"][str(second)]
    assert len(code) == 3
    assert difference(before, pasted, pasted.box(second)) > DIFFERENT

    studio.button("To all of its class").click()
    everywhere = studio.seen()
    assert everywhere.options["class_styles"] == {str(WINDOW): code}
    assert everywhere.options["styles"] == {}
    for window in windows(before)[:4]:
        assert difference(before, everywhere, everywhere.box(window)) > DIFFERENT
    assert np.array_equal(everywhere.instance, before.instance)


def test_mix_two_styles(studio: Studio, scene: Scene) -> None:
    """Half way between two styles lies a third look."""
    before = studio.open(scene)
    window = windows(before)[0]
    studio.select(window, before)
    dark = choose_style(studio, 7)
    studio.page.get_by_label("Mix with").select_option("Style 10")
    slider = studio.page.get_by_label("Share of the other style")
    slider.fill("0.5")
    half = studio.seen()
    assert half.options["styles"][str(window)] == {"between": [6, 9], "at": 0.5}
    slider.fill("1")
    light = studio.seen()
    levels = [seen.photo[seen.box(window)].mean() for seen in (dark, half, light)]
    assert levels == sorted(levels)
    assert difference(dark, light, light.box(window)) > DIFFERENT


def reference(colour: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a photograph of a grey wall with one window, and its label map."""
    label = np.full((96, 96), FACADE, np.uint8)
    label[24:72, 30:66] = WINDOW
    photo = np.full((96, 96, 3), 150, np.uint8)
    photo[label == WINDOW] = colour
    return photo, label


def test_style_of_a_reference_photo(studio: Studio, scene: Scene, tmp_path: Path) -> None:
    """With its label map a photograph gives the code that the server sees in its windows."""
    before = studio.open(scene)
    window = windows(before)[0]
    studio.select(window, before)
    photo, label = reference((250, 245, 240))
    (tmp_path / "house.png").write_bytes(png(photo))
    (tmp_path / "house-label.png").write_bytes(png(label))
    studio.page.get_by_label("Reference photograph").set_input_files(
        [tmp_path / "house-label.png", tmp_path / "house.png"]
    )
    studio.button("Take the style").click()
    studio.page.get_by_role("dialog").wait_for(state="detached")
    after = studio.seen()
    answer = httpx.post(
        f"{studio.url}/v1/encode", files={"photo": png(photo), "label": png(label)}, timeout=60
    ).json()
    assert after.options["styles"] == {str(window): answer["class_styles"]["window"]}
    assert np.array_equal(after.label, before.label)
    assert np.array_equal(after.instance, before.instance)
    inside = before.instance == window
    assert after.photo[inside].mean() > before.photo[inside].mean() + 10
    assert difference_outside(before, after, after.box(window, grown=16)) < ALIKE
    studio.key("Control+z")
    assert studio.seen().same_as(before)


def test_style_of_a_part_of_a_photo(studio: Studio, scene: Scene) -> None:
    """Without a label map the style is that of the frame that was drawn on the photograph."""
    before = studio.open(scene)
    window = windows(before)[0]
    studio.select(window, before)
    photo = np.zeros((60, 120, 3), np.uint8)
    photo[:, 60:] = 250
    levels = []
    for left, right in ((5, 45), (75, 115)):
        dropped = studio.page.evaluate_handle(
            """bytes => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([Uint8Array.from(bytes)], "photo.png"));
              return transfer;
            }""",
            list(png(photo)),
        )
        studio.page.locator(".strip").dispatch_event("drop", {"dataTransfer": dropped})
        canvas = studio.page.get_by_label("Reference photograph", exact=True).and_(
            studio.page.locator("canvas")
        )
        canvas.wait_for()
        corner = canvas.bounding_box()
        assert corner is not None
        zoom = corner["width"] / 120
        studio.page.mouse.move(corner["x"] + left * zoom, corner["y"] + 10 * zoom)
        studio.page.mouse.down()
        studio.page.mouse.move(corner["x"] + right * zoom, corner["y"] + 50 * zoom, steps=3)
        studio.page.mouse.up()
        studio.button("Take the style").click()
        studio.page.get_by_role("dialog").wait_for(state="detached")
        after = studio.seen()
        assert np.array_equal(after.instance, before.instance)
        assert len(after.options["styles"][str(window)]) == 3
        levels.append(after.photo[before.instance == window].mean())
        assert difference_outside(before, after, after.box(window, grown=16)) < ALIKE
    assert levels[1] > levels[0] + 10


def test_looks_change_whole_classes(studio: Studio, scene: Scene) -> None:
    """A look gives its classes styles, and the seed's own come back."""
    before = studio.open(scene)
    studio.tab("Scene")
    studio.button("White facades").click()
    white = studio.seen()
    wall = white.label == FACADE
    assert white.photo[wall].mean() > before.photo[wall].mean() + 10
    studio.button("Night windows").click()
    night = studio.seen()
    assert str(WINDOW) in night.options["class_styles"]
    assert night.photo[wall].mean() < before.photo[wall].mean() - 10
    studio.button("Back to the seed's own styles").click()
    assert studio.seen().same_as(before)


def test_seed_chooses_all_styles(studio: Studio, scene: Scene) -> None:
    """Another seed gives another photograph of the same maps."""
    before = studio.open(scene)
    studio.tab("Scene")
    studio.page.get_by_label("Seed", exact=True).fill("7")
    studio.key("Enter")
    after = studio.seen()
    assert after.options["seed"] == 7
    assert np.array_equal(after.label, before.label)
    assert difference(before, after, (slice(None), slice(None))) > DIFFERENT


@pytest.fixture
def placed(studio: Studio, scene: Scene) -> tuple[Seen, Seen, int]:
    """A scene without and with a car from the library, and the car's id."""
    before = studio.open(scene)
    studio.tab("Add")
    studio.button("Add car 1").click()
    after = studio.seen()
    car = studio.selected
    assert car is not None
    return before, after, car


def test_add_an_object(placed: tuple[Seen, Seen, int]) -> None:
    """An object from the library lies in the middle, under an id of its own."""
    before, after, car = placed
    inside = after.instance == car
    assert (after.label[inside] == CLASSES.index("car")).all()
    assert np.array_equal(after.instance[~inside], before.instance[~inside])
    rows, columns = after.box(car)
    assert abs(columns.start + columns.stop - SIDE) <= 2
    assert abs(rows.start + rows.stop - SIDE) <= 2
    assert difference(before, after, (rows, columns)) > DIFFERENT


def test_move_an_object(placed: tuple[Seen, Seen, int], studio: Studio) -> None:
    """The object goes where it is dragged, and what was below it comes back."""
    before, after, car = placed
    rows, columns = after.box(car)
    mask = after.instance[rows, columns] == car
    y, x = (int(part[len(part) // 2]) for part in np.nonzero(mask))
    studio.drag((columns.start + x, rows.start + y), (columns.start + x + 12, rows.start + y + 24))
    moved = studio.seen()
    new_rows, new_columns = moved.box(car)
    assert (new_rows.start - rows.start, new_columns.start - columns.start) == (24, 12)
    assert np.array_equal(moved.instance[new_rows, new_columns] == car, mask)
    there = moved.instance == car
    assert np.array_equal(moved.instance[~there], before.instance[~there])
    assert difference(after, moved, moved.box(car)) > DIFFERENT
    left = (after.instance == car) & ~there
    assert np.abs(moved.photo[left].astype(int) - after.photo[left]).mean() > DIFFERENT


def test_flip_an_object(placed: tuple[Seen, Seen, int], studio: Studio) -> None:
    """It is mirrored in its place; twice is as before."""
    _, after, car = placed
    studio.tab("Object")
    studio.button("Flip").click()
    flipped = studio.seen()
    mask = after.instance[after.box(car)] == car
    assert np.array_equal(flipped.instance[flipped.box(car)] == car, mask[:, ::-1])
    assert flipped.box(car) == after.box(car)
    assert difference(after, flipped, after.box(car)) > ALIKE
    studio.button("Flip").click()
    assert studio.seen().same_as(after)


def test_scale_an_object(placed: tuple[Seen, Seen, int], studio: Studio) -> None:
    """It grows from where it stands, and so does what is seen of it."""
    before, after, car = placed
    studio.tab("Object")
    for _ in range(4):
        studio.button("Larger").click()
    larger = studio.seen()
    grown = larger.instance == car
    assert grown.sum() > 1.5 * (after.instance == car).sum()
    assert larger.box(car)[0].stop == after.box(car)[0].stop
    assert np.array_equal(larger.instance[~grown], before.instance[~grown])
    assert difference(after, larger, larger.box(car)) > DIFFERENT


def test_order_of_objects(placed: tuple[Seen, Seen, int], studio: Studio) -> None:
    """The last one placed covers the others until it is sent back."""
    _, one, car = placed
    studio.tab("Add")
    studio.button("Add balcony-fence 1").click()
    two = studio.seen()
    covered = (one.instance == car) & (two.instance == studio.selected)
    assert covered.any()
    studio.tab("Object")
    studio.button("Send backward").click()
    behind = studio.seen()
    assert (behind.instance[covered] == car).all()
    assert difference(two, behind, behind.box(car)) > ALIKE
    studio.button("Bring forward").click()
    assert studio.seen().same_as(two)


def test_remove_an_object_that_was_placed(placed: tuple[Seen, Seen, int], studio: Studio) -> None:
    """It leaves no hole: maps and photograph are as they were without it."""
    before, one, car = placed
    studio.select(car, one)
    studio.key("Delete")
    assert studio.seen().same_as(before)


def test_remove_an_object_of_the_scene(studio: Studio, scene: Scene) -> None:
    """Where a window was, the wall around it goes on."""
    before = studio.open(scene)
    window = windows(before)[0]
    studio.select(window, before)
    studio.key("Delete")
    after = studio.seen()
    hole = before.instance == window
    assert not (after.instance == window).any()
    assert FACADE in after.label[hole]
    assert np.array_equal(after.instance[~hole], before.instance[~hole])
    assert difference(before, after, before.box(window)) > DIFFERENT
