"""Where the models that ship with hdsynth are, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# A wheel carries the checkout's models/ as model/bundles/; the wheel's place comes first, because
# beside an installed package a folder named models/ may be anybody's.
_FOLDERS = (_PACKAGE / "bundles", _PACKAGE.parent / "models")


def bundled_model_path(name: str = "facades") -> Path:
    """Return the directory of the bundled model called ``name``.

    Raises:
        FileNotFoundError: no bundled model has that name; the message lists those that exist.
    """
    models = _bundled_models()
    if name not in models:
        known = ", ".join(sorted(models)) or "none: the installation is incomplete"
        raise FileNotFoundError(
            f"no bundled model is called {name!r}; bundled models: {known}. "
            "To use a model of your own, give the path of its bundle directory."
        )
    return models[name]


def _bundled_models() -> dict[str, Path]:
    """Map the name of every bundled model to its directory, from the first folder that exists."""
    for folder in _FOLDERS:
        if folder.is_dir():
            return {path.parent.name: path.parent for path in folder.glob("*/bundle.json")}
    return {}
