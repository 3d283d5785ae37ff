from __future__ import annotations

import pytest

from model.bundled import bundled_model_path


def test_default_model_is_found() -> None:
    """The model that ships with hdsynth is there without being asked for by name."""
    assert (bundled_model_path() / "bundle.json").is_file()
    assert bundled_model_path() == bundled_model_path("facades")


@pytest.mark.parametrize("name", ["cityscapes", "", "..", "facades/../facades"])
def test_unknown_name_lists_the_known_ones(name: str) -> None:
    """A wrong name, or a path in place of a name, is answered with the names that exist."""
    with pytest.raises(FileNotFoundError, match=r"bundled models: .*facades"):
        bundled_model_path(name)
