import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.demo import demo
from cli.demo_drive.drive import Drive, drive
from cli.demo_drive.mesh import Mesh, decode, instance_colour, label_colour
from cli.demo_drive.picture import GAP
from cli.demo_drive.render import Renderer, pose_at
from cli.demo_drive.street import build_street
from model.scene_parts import IDS_PER_CLASS, SceneClass
from service.bench_server import LocalServer, local_server

PACKAGE = Path(__file__).resolve().parents[2] / "clients" / "python"
if str(PACKAGE) not in sys.path:
    sys.path.insert(0, str(PACKAGE))

from hdsynth_client.stream import open_stream  # noqa: E402, found where the line above points
from hdsynth_client.stream_config import StreamConfig  # noqa: E402

pytest.importorskip("panda3d", reason="the drive needs the demo extra")

FRAMES, WIDTH, HEIGHT = 100, 192, 96


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    """The engine, with the street in it."""
    engine = Renderer(build_street(), WIDTH, HEIGHT)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def server(tiny_bundle: Path) -> Iterator[LocalServer]:
    """A server whose photographs show the maps that it was sent, at ten frames a second."""
    settings = {"model": tiny_bundle, "buckets": f"{WIDTH}x{HEIGHT}", "result_cache_mb": 0}
    with local_server(backend="fake:base_ms=100", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def driven(server: LocalServer, renderer: Renderer) -> Drive:
    """A drive of 100 frames, 30 a second, which the server cannot follow."""
    poses = [pose_at(number / 30, speed=6.0) for number in range(FRAMES)]
    with open_stream(server.grpc_address, StreamConfig(format="raw")) as stream:
        return drive(stream, renderer, poses, fps=30)


def test_a_colour_encodes_an_id_exactly() -> None:
    """Every id comes back from its colour, and from one that is slightly off."""
    ids = np.array([0, 1, 31, 32, 7001, 10_999, 32_767]).reshape(1, -1)
    picture = np.array([[instance_colour(i) for i in ids[0].tolist()]], np.uint8)

    for shift in (-2, 0, 2):
        assert (decode((picture + np.int8(shift)).astype(np.uint8)) == ids).all()
    assert label_colour(7) == instance_colour(7)


def test_a_smoothed_colour_is_an_error() -> None:
    """A mixture of two codes is no third id."""
    picture = np.full((4, 6, 3), instance_colour(0), np.uint8)
    picture[2, 5] = 8

    with pytest.raises(RuntimeError, match=r"\(8, 8, 8\) at x=5, y=2 is no code"):
        decode(picture)


def test_the_engine_draws_exact_ids(renderer: Renderer) -> None:
    """Label and instance buffers agree in every pixel, and all that is seen was built."""
    built = {instance for _, _, instance in build_street().polygons}
    seen = set()

    for number in range(5):
        label, instance = renderer.render(pose_at(number, speed=6.0))
        assert label.shape == instance.shape == (HEIGHT, WIDTH)
        assert (instance // IDS_PER_CLASS == label).all()
        seen |= {*np.unique(instance).tolist()}

    assert seen - {0} <= built
    assert {SceneClass.FACADE, SceneClass.WINDOW, SceneClass.STREET, SceneClass.VEGETATION} <= {
        instance // IDS_PER_CLASS for instance in seen
    }


def test_the_picture_stands_upright(renderer: Renderer) -> None:
    """Sky is above, street below: the engine's rows run from bottom to top."""
    label, _ = renderer.render(pose_at(0.0, speed=6.0, turn=0.0))

    assert label[0, WIDTH // 2] == SceneClass.UNLABELED
    assert label[-1, WIDTH // 2] == SceneClass.STREET


def test_the_same_seed_builds_the_same_street() -> None:
    """Streets differ by seed alone."""
    assert build_street(3) == build_street(3)
    assert build_street(3) != build_street(4)
    assert isinstance(build_street(), Mesh)


def test_every_frame_is_answered_once(driven: Drive) -> None:
    """Drops are announced: frames in = photographs + drops, and none comes twice."""
    dropped = [drop.frame_id for drop in driven.drops]

    assert sorted([*driven.photos, *dropped]) == list(range(FRAMES))
    assert {drop.reason for drop in driven.drops} == {"superseded"}
    assert 10 < len(driven.photos) < FRAMES


def test_photographs_come_in_order(driven: Drive) -> None:
    """Later results are of later frames."""
    assert list(driven.photos) == sorted(driven.photos)


def test_every_photograph_is_of_its_own_frame(driven: Drive) -> None:
    """The server's engine shows label and instance: they are those of the frame of that id."""
    for number, photo in driven.photos.items():
        shot = driven.sent[number]
        assert (photo[..., 0] == shot.label).all(), number
        assert (photo[..., 1] == (shot.instance & 255)).all(), number


def test_an_instance_keeps_its_style(driven: Drive) -> None:
    """Every object that is seen is told once, with one style for life."""
    keys = [(style.instance, style.label) for style in driven.styles]
    shown = {
        number
        for frame in driven.photos
        for number in np.unique(driven.sent[frame].instance).tolist()
    }

    assert len(keys) == len({*keys})
    assert shown <= {instance for instance, _ in keys}
    assert all(len(style.code) == 3 for style in driven.styles)


def test_a_second_drive_has_the_same_styles(
    server: LocalServer, renderer: Renderer, driven: Drive
) -> None:
    """Same id, same code, whatever else is to be seen and whichever stream asks."""
    with open_stream(server.grpc_address, StreamConfig(format="raw")) as stream:
        again = drive(stream, renderer, [pose_at(t, speed=6.0) for t in (0.4, 1.6, 2.4)], fps=5)
    first = {(style.instance, style.label): style.code for style in driven.styles}
    second = {(style.instance, style.label): style.code for style in again.styles}

    common = first.keys() & second.keys()
    assert len(common) > 20
    assert all(first[key] == second[key] for key in common)


def test_headless_writes_an_animation(server: LocalServer, tmp_path: Path) -> None:
    """The command shows label map and photograph side by side, in as many frames as asked for."""
    path = tmp_path / "drive.gif"
    options = ["--headless", "--frames", "4", "--fps", "20", "--size", f"{WIDTH}x{HEIGHT}"]

    done = CliRunner().invoke(
        demo, ["drive", *options, "--address", server.grpc_address, "-o", str(path)]
    )

    assert done.exit_code == 0, done.output
    with Image.open(path) as picture:
        assert picture.size == (2 * WIDTH + GAP, HEIGHT)
        assert getattr(picture, "n_frames", 1) == 4


def test_the_drive_measures_flicker(tiny_bundle: Path, tmp_path: Path) -> None:
    """Steadiness lowers the flicker of a real engine, and the table says by how much."""
    path = tmp_path / "drive.md"
    options = ["--frames", "6", "--size", "96x64", "--model", str(tiny_bundle)]

    done = CliRunner().invoke(demo, ["drive", "--flicker", str(path), *options])

    assert done.exit_code == 0, done.output
    rows = [line.split("|") for line in path.read_text().splitlines() if "`steady`" in line[:20]]
    without, with_ = (float(row[2]) for row in rows)
    assert with_ < without


def test_cli_starts_without_panda() -> None:
    """Neither the engine nor the client is imported before the drive begins."""
    code = (
        "import sys, cli.demo; "
        "sys.exit(any(name in sys.modules for name in ('panda3d', 'hdsynth_client', 'grpc')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
