"""Which maps the user means."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.folders import find_maps


def touch(*paths: Path) -> None:
    """Create empty files and their folders."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_label_folder_with_instances_beside_it(tmp_path: Path) -> None:
    """``label/`` and ``instance/`` are paired by name, whatever the instance map's format."""
    touch(tmp_path / "label/a.png", tmp_path / "label/b.png",
          tmp_path / "instance/a.npy", tmp_path / "instance/b.png")  # fmt: skip
    assert find_maps([tmp_path], None) == [
        (tmp_path / "label/a.png", tmp_path / "instance/a.npy"),
        (tmp_path / "label/b.png", tmp_path / "instance/b.png"),
    ]


def test_plain_folder_files_and_own_instance_folder(tmp_path: Path) -> None:
    """A folder of maps and single files mix; --instances overrides the place."""
    touch(
        tmp_path / "maps/a.png", tmp_path / "b.png", tmp_path / "ids/a.png", tmp_path / "ids/b.png"
    )
    found = find_maps([tmp_path / "maps", tmp_path / "b.png"], tmp_path / "ids")
    assert [(p.name, q.parent.name if q else "") for p, q in found] == [
        ("a.png", "ids"),
        ("b.png", "ids"),
    ]
    assert find_maps([tmp_path / "b.png"], None) == [(tmp_path / "b.png", None)]


def test_missing_instance_map_is_named(tmp_path: Path) -> None:
    """A folder of instances must be complete."""
    touch(tmp_path / "label/a.png", tmp_path / "instance/b.png")
    with pytest.raises(ValueError, match="no instance map named a"):
        find_maps([tmp_path], None)


def test_same_names_and_empty_folders_are_refused(tmp_path: Path) -> None:
    """Two maps that would make one file, and folders without maps, are errors."""
    touch(tmp_path / "x/a.png", tmp_path / "y/a.png")
    with pytest.raises(ValueError, match="same file"):
        find_maps([tmp_path / "x", tmp_path / "y"], None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no PNG label maps"):
        find_maps([tmp_path / "empty"], None)


def test_models_without_labels_take_pictures(tmp_path: Path) -> None:
    """``source/`` is looked for instead of ``label/``, and photographs of any kind are found."""
    touch(tmp_path / "source/a.jpg", tmp_path / "source/b.png", tmp_path / "label/c.png")
    found = find_maps([tmp_path], None, "source")
    assert [path.name for path, _ in found] == ["a.jpg", "b.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no PNG, JPEG or WebP source images"):
        find_maps([tmp_path / "empty"], None, "source")
