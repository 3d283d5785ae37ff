from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.errors import MapError
from training.evaluation.lpips import ALEXNET_FILE, AlexNet
from training.evaluation.segmenter import (
    Segmenter,
    SegmenterConfig,
    load_segmenter,
    train_segmenter,
)

COLOURS = np.array([[200, 60, 40], [40, 90, 220]], np.uint8)


def scene(seed: int, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Draw a photo (size, size, 3), noisy red with a blue rectangle, and its label map."""
    rng = np.random.default_rng(seed)
    label = np.zeros((size, size), np.uint8)
    top, left = rng.integers(0, size // 2, 2)
    label[top : top + size // 2, left : left + size // 2] = 1
    noise = rng.integers(-20, 21, (size, size, 3))
    return (COLOURS[label] + noise).clip(0, 255).astype(np.uint8), label


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of six scenes."""
    folder = tmp_path_factory.mktemp("data")
    for kind in ("label", "image"):
        (folder / kind).mkdir()
    for seed in range(6):
        photo, label = scene(seed)
        Image.fromarray(photo).save(folder / "image" / f"{seed}.png")
        Image.fromarray(label).save(folder / "label" / f"{seed}.png")
    (folder / "classes.json").write_text('{"classes": ["wall", "window"]}', encoding="utf-8")
    return folder


@pytest.fixture
def config(data: Path) -> SegmenterConfig:
    """A training of a few seconds."""
    return SegmenterConfig(
        str(data), steps=6, batch=2, size=32, width=8, learning_rate=1e-2, checkpoint_every=2
    )


def as_tensor(photo: np.ndarray) -> torch.Tensor:
    """Return a photo as a batch (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1


def same_weights(first: Segmenter, second: Segmenter) -> bool:
    """Say whether two networks hold the same numbers, bit for bit."""
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def test_training_learns_the_classes(
    config: SegmenterConfig, weights: Path, tmp_path: Path
) -> None:
    """After a short training, the loss is low and an unseen photo is segmented nearly right."""
    losses: list[float] = []
    longer = dataclasses.replace(config, steps=40)
    network = train_segmenter(
        longer, weights, tmp_path / "s.safetensors", on_step=lambda _, loss: losses.append(loss)
    )
    photo, label = scene(seed=100)
    predicted = network.predict(as_tensor(photo))[0].numpy()
    assert len(losses) == 40
    assert losses[-1] < 0.3 * losses[0]
    assert (predicted == label).mean() > 0.9


def test_interrupted_training_resumes_exactly(
    config: SegmenterConfig, weights: Path, tmp_path: Path
) -> None:
    """Stopped after five steps and started again, the result is the uninterrupted one."""
    straight = train_segmenter(config, weights, tmp_path / "straight.safetensors")

    def interrupt(step: int, _loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    out = tmp_path / "resumed.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_segmenter(config, weights, out, on_step=interrupt)
    assert not out.exists()
    steps: list[int] = []
    resumed = train_segmenter(config, weights, out, on_step=lambda step, _: steps.append(step))
    assert steps == [5, 6]
    assert same_weights(straight, resumed)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "resumed.json", "resumed.safetensors", "straight.json", "straight.safetensors",
    ]  # fmt: skip


def test_finished_training_is_loaded(
    config: SegmenterConfig, weights: Path, tmp_path: Path
) -> None:
    """The same call again trains nothing and returns the same network."""
    out = tmp_path / "s.safetensors"
    network = train_segmenter(config, weights, out)
    steps: list[int] = []
    again = train_segmenter(config, weights, out, on_step=lambda step, _: steps.append(step))
    assert steps == []
    assert same_weights(network, again)
    assert same_weights(network, load_segmenter(out))


def test_file_describes_itself(config: SegmenterConfig, weights: Path, tmp_path: Path) -> None:
    """The .json names the classes and all settings; loading needs no other file."""
    out = tmp_path / "s.safetensors"
    train_segmenter(config, weights, out)
    saved = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert saved == {"classes": ["wall", "window"], "config": dataclasses.asdict(config)}
    assert load_segmenter(out).classes == ("wall", "window")


def test_other_settings_are_refused(config: SegmenterConfig, weights: Path, tmp_path: Path) -> None:
    """A file made with other settings is not taken for the result."""
    out = tmp_path / "s.safetensors"
    train_segmenter(config, weights, out)
    with pytest.raises(ValueError, match="was made with steps 6, not 7"):
        train_segmenter(dataclasses.replace(config, steps=7), weights, out)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 80), (37, 50), (5, 9)])
def test_any_size_is_segmented(height: int, width: int) -> None:
    """Every pixel gets a class, whatever the size of the photo."""
    network = Segmenter(("a", "b", "c"), 8, AlexNet())
    predicted = network.predict(torch.zeros(2, 3, height, width))
    assert predicted.shape == (2, height, width)
    assert predicted.dtype == torch.uint8
    assert int(predicted.max()) < 3


def test_backbone_stays_fixed(config: SegmenterConfig, weights: Path, tmp_path: Path) -> None:
    """Training leaves the ImageNet features as they were loaded."""
    network = train_segmenter(config, weights, tmp_path / "s.safetensors")
    loaded = torch.load(weights / ALEXNET_FILE, weights_only=True)
    kept = network.backbone.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in loaded.items())


@pytest.mark.parametrize(
    ("field", "value", "multiple"), [("size", 40, 16), ("width", 12, 8), ("steps", 0, 1)]
)
def test_impossible_settings_are_refused(field: str, value: int, multiple: int) -> None:
    """The error names the setting, its value and the rule."""
    with pytest.raises(ValueError, match=f"{field} is {value}; .* multiple of {multiple}"):
        SegmenterConfig("data", **{field: value})


def test_file_name_must_tell_the_format(config: SegmenterConfig, weights: Path) -> None:
    """A name without .safetensors is refused before any work."""
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        train_segmenter(config, weights, Path("segmenter.pth"))


def test_photo_of_another_size_than_its_labels_is_refused(
    config: SegmenterConfig, weights: Path, tmp_path: Path
) -> None:
    """A pair that does not fit together stops the training with both sizes."""
    for kind in ("label", "image"):
        (tmp_path / kind).mkdir()
    photo, label = scene(0)
    Image.fromarray(photo[:40]).save(tmp_path / "image" / "a.png")
    Image.fromarray(label).save(tmp_path / "label" / "a.png")
    (tmp_path / "classes.json").write_text('{"classes": ["a", "b"]}', encoding="utf-8")
    bad = dataclasses.replace(config, data=str(tmp_path))
    with pytest.raises(MapError, match=r"a\.png: 48x40 pixels, but .*a\.png has 48x48"):
        train_segmenter(bad, weights, tmp_path / "s.safetensors")


def test_damaged_file_is_refused(config: SegmenterConfig, weights: Path, tmp_path: Path) -> None:
    """A truncated file of weights raises an error that names it."""
    out = tmp_path / "s.safetensors"
    train_segmenter(config, weights, out)
    out.write_bytes(out.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"s\.safetensors: does not fit"):
        load_segmenter(out)
