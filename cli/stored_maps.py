"""Find the maps in a folder that may lie in an object store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.layout import SUFFIXES, InputKind

if TYPE_CHECKING:
    from service.bulk import MapFile
    from service.bulk_store import Store


def find_stored_maps(store: Store, kind: InputKind = "label") -> list[MapFile]:
    """Return the maps of a folder, laid out as ``cli.folders`` has it, sorted by name.

    A map without its instance map, where others have one, is returned with the name that the
    file should have, so that the run records what is missing. Raises ValueError if nothing is
    found, and when two files would make the same photograph.
    """
    from service.bulk import MapFile

    inside = store.names(kind)
    names = inside or store.names()
    labels = [name for name in names if name.lower().endswith(SUFFIXES[kind])]
    if not labels:
        wanted = "PNG label maps" if kind == "label" else "PNG, JPEG or WebP source images"
        raise ValueError(f"{store}: no {wanted} in it")
    instances = {_stem(name): name for name in store.names("instance")} if inside else {}
    found: dict[str, MapFile] = {}
    for label in labels:
        stem = _stem(label)
        if stem in found:
            raise ValueError(f"{store}: {label} and {found[stem].label} would make the same file")
        instance = f"instance/{instances.get(stem, f'{stem}.png')}" if instances else ""
        found[stem] = MapFile(stem, f"{kind}/{label}" if inside else label, instance)
    return list(found.values())


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
