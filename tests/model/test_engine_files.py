"""Compiled engines on disk: a hit, and each reason for which an engine is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from model.bundle import Parity
from model.engine_files import default_cache, find, read_manifest, store, write_manifest
from model.engine_key import (
    EngineKey,
    EngineRejectedError,
    Profile,
    Rejection,
    batch_profiles,
    choose_profile,
    graph_hash,
)

KEY = EngineKey(
    model="street",
    graph="a" * 64,
    flavour="tensorrt_rtx",
    version="1.7.1.116",
    compute_capability="8.9",
    precision="float16",
    profiles=(Profile(512, 256, 1, 1), Profile(512, 256, 2, 4)),
)


def rejection(folder: Path, wanted: EngineKey) -> EngineRejectedError:
    """Search the cache for what is not there and return the refusal."""
    with pytest.raises(EngineRejectedError) as caught:
        find(folder, wanted)
    return caught.value


def test_stored_engine_is_found(tmp_path: Path) -> None:
    """What was stored comes back under the same key, with its content and hash."""
    store(tmp_path / "cache", KEY, b"engine")
    found = find(tmp_path / "cache", KEY)
    assert found.path.read_bytes() == b"engine"
    assert (found.key, found.sha256) == (KEY, hashlib.sha256(b"engine").hexdigest())


def test_part_of_the_profiles_is_enough(tmp_path: Path) -> None:
    """A search for one size and batch, or for none, finds an engine with more."""
    stored = store(tmp_path, KEY, b"engine")
    for profiles in [(), (Profile(512, 256, 3, 3),), (Profile(512, 256, 2, 4),)]:
        assert find(tmp_path, dataclasses.replace(KEY, profiles=profiles)) == stored


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"graph": "b" * 64}, Rejection.CHANGED_GRAPH, "another graph or weights"),
        ({"compute_capability": "12.0"}, Rejection.FOREIGN_GPU, "8.9, this is 12.0"),
        ({"version": "1.8.0"}, Rejection.OTHER_VERSION, "1.7.1.116, but 1.8.0 is installed"),
        ({"flavour": "tensorrt"}, Rejection.OTHER_FLAVOUR, "tensorrt_rtx, not tensorrt"),
        ({"precision": "float32"}, Rejection.OTHER_PRECISION, "float16, not float32"),
        (
            {"profiles": (Profile(1024, 512, 1, 1),)},
            Rejection.MISSING_PROFILE,
            "no profile for 1024x512 batch 1, only for 512x256 batch 1, 512x256 batch 2-4",
        ),
        ({"model": "other"}, Rejection.MISSING, "no engine for 'other'"),
    ],
)
def test_foreign_engine_is_refused_with_its_reason(
    tmp_path: Path, change: dict[str, object], reason: Rejection, words: str
) -> None:
    """One difference in the key is enough; the message says which and what to do."""
    store(tmp_path, KEY, b"engine")
    refused = rejection(tmp_path, dataclasses.replace(KEY, **change))  # type: ignore[arg-type]
    assert refused.reason is reason
    assert words in str(refused)
    assert "hdsynth export" in str(refused)


@pytest.mark.parametrize("damage", ["changed", "cut off", "gone"])
def test_damaged_engine_is_refused(tmp_path: Path, damage: str) -> None:
    """An engine whose content is not what was stored never reaches the GPU."""
    path = store(tmp_path, KEY, b"engine").path
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"engin" if damage == "cut off" else b"Engine")
    refused = rejection(tmp_path, KEY)
    assert refused.reason is Rejection.CORRUPT
    assert str(path) in str(refused)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}'])
def test_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    """Without a readable manifest nothing is known about an engine."""
    manifest = store(tmp_path, KEY, b"engine").path.with_suffix(".json")
    manifest.write_text(text)
    assert rejection(tmp_path, KEY).reason is Rejection.CORRUPT


def test_closest_engine_gives_the_reason(tmp_path: Path) -> None:
    """Among several unusable engines the one with the least against it is named."""
    store(tmp_path, dataclasses.replace(KEY, graph="b" * 64, version="1.6"), b"old")
    store(tmp_path, dataclasses.replace(KEY, compute_capability="8.6"), b"other GPU")
    assert rejection(tmp_path, KEY).reason is Rejection.FOREIGN_GPU


def test_engines_of_several_gpus_lie_side_by_side(tmp_path: Path) -> None:
    """One cache serves nodes of different kinds."""
    keys = [dataclasses.replace(KEY, compute_capability=c) for c in ("8.6", "8.9", "12.0")]
    for key in keys:
        store(tmp_path, key, key.compute_capability.encode())
    assert [find(tmp_path, key).path.read_bytes() for key in keys] == [b"8.6", b"8.9", b"12.0"]


def test_storing_again_replaces(tmp_path: Path) -> None:
    """A rebuilt engine takes the place of the old one; nothing else is left in the folder."""
    store(tmp_path, KEY, b"old")
    store(tmp_path, KEY, b"new")
    assert find(tmp_path, KEY).path.read_bytes() == b"new"
    assert {p.suffix for p in tmp_path.iterdir()} == {".engine", ".json"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_broken_off_build_leaves_no_engine(tmp_path: Path) -> None:
    """When the new engine cannot be written, the old manifest does not vouch for it."""
    stored = store(tmp_path, KEY, b"old")
    stored.path.unlink()
    stored.path.mkdir()  # a file cannot replace a folder
    with pytest.raises(OSError, match="directory"):
        store(tmp_path, KEY, b"new")
    assert rejection(tmp_path, KEY).reason is Rejection.MISSING
    assert [p.name for p in tmp_path.iterdir()] == [stored.path.name]


def test_parity_is_added_to_the_manifest(tmp_path: Path) -> None:
    """What a later comparison on the GPU found is kept beside the engine."""
    stored = store(tmp_path, KEY, b"engine")
    assert stored.parity is None
    parity = Parity(1.0, 0.01, 1.0, 1.0, 4, ("512x256",))
    write_manifest(dataclasses.replace(stored, parity=parity))
    assert find(tmp_path, KEY).parity == parity
    assert read_manifest(stored.path.with_suffix(".json")).parity == parity


def test_manifest_is_readable_json(tmp_path: Path) -> None:
    """People and scripts can see for what an engine was built."""
    stored = store(tmp_path, KEY, b"engine")
    data = json.loads(stored.path.with_suffix(".json").read_text())
    assert data["key"]["compute_capability"] == "8.9"
    assert data["key"]["profiles"][1] == {
        "width": 512, "height": 256, "smallest_batch": 2, "batch": 4,
    }  # fmt: skip


def test_file_names_are_safe() -> None:
    """A model's name cannot lead out of the cache folder."""
    assert dataclasses.replace(KEY, model="../a b").stem.startswith(".._a_b-sm89-tensorrt_rtx-")


def test_graph_hash_covers_graph_and_weights(tmp_path: Path) -> None:
    """Changing either file, or swapping them, gives another hash."""
    graph, weights = tmp_path / "graph", tmp_path / "weights"
    graph.write_bytes(b"g")
    weights.write_bytes(b"w")
    before = graph_hash(graph, weights)
    assert before == graph_hash(graph, weights)
    assert before != graph_hash(weights, graph)
    weights.write_bytes(b"v")
    assert before != graph_hash(graph, weights)


def test_cache_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's variable wins over the desktop's, which wins over the home folder."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HDSYNTH_ENGINE_CACHE", raising=False)
    assert default_cache() == Path("/home/me/.cache/hdsynth/engines")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_cache() == Path("/caches/hdsynth/engines")
    monkeypatch.setenv("HDSYNTH_ENGINE_CACHE", "/engines")
    assert default_cache() == Path("/engines")


def test_profiles_cover_every_batch_once() -> None:
    """Batches 1 and 4 at two sizes: 1, and 2 to 4, for each."""
    profiles = batch_profiles([(512, 256), (64, 32)], [4, 1, 4])
    assert [str(p) for p in profiles] == [
        "512x256 batch 1", "512x256 batch 2-4", "64x32 batch 1", "64x32 batch 2-4",
    ]  # fmt: skip
    assert [choose_profile(profiles, n, 64, 32) for n in (1, 2, 3, 4)] == [2, 3, 3, 3]


@pytest.mark.parametrize("batches", [[], [0], [-1, 2]])
def test_impossible_batches_are_refused(batches: list[int]) -> None:
    """An engine needs at least one batch of at least one scene."""
    with pytest.raises(ValueError, match="at least one"):
        batch_profiles([(64, 64)], batches)


@pytest.mark.parametrize("shape", [(5, 512, 256), (1, 256, 512)])
def test_a_shape_without_profile_is_refused(shape: tuple[int, int, int]) -> None:
    """The message lists what the engine was built for."""
    with pytest.raises(EngineRejectedError, match="only for 512x256 batch 1, 512x256 batch 2-4"):
        choose_profile(KEY.profiles, *shape)
