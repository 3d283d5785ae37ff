import asyncio
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.bundle import load_bundle
from model.image_io import FormatName
from model.styles import StyleChoice
from service.backends import Engine, EngineInput, load_engine
from service.errors import ServiceError
from service.pipeline import Job, Pipeline, StageTimes
from service.synthesizer import Synthesizer
from tests.service.conftest import pixels, png


class CountingEngine:
    """An engine that counts what it is asked to do."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.runs, self._engine = engine.name, 0, engine

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise, and count it."""
        self.runs += 1
        return self._engine.run(batch)

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> CountingEngine:
    """The engine under the pipeline."""
    return CountingEngine(load_engine(load_bundle(tiny_bundle), threads=1))


@pytest.fixture
def pipeline(tiny_bundle: Path, engine: CountingEngine) -> Pipeline:
    """A pipeline for scenes of at most 10,000 pixels."""
    engine.runs = 0
    return Pipeline(Synthesizer(load_bundle(tiny_bundle), engine), max_pixels=10_000)


GOOD = png(np.full((16, 24), 3, np.uint8))


def test_photograph_and_its_stages(pipeline: Pipeline, engine: CountingEngine) -> None:
    """One run of the engine makes the photograph; every stage's time is told in order."""
    times: StageTimes = {}
    photo = asyncio.run(pipeline.synthesize(Job(GOOD), times))
    assert pixels(photo).shape == (16, 24, 3)
    assert list(times) == ["decode", "queue", "infer", "encode"]
    assert all(seconds >= 0 for seconds in times.values())
    assert engine.runs == 1


@pytest.mark.parametrize(
    ("job", "reason", "pointer"),
    [
        (Job(b""), "EMPTY_UPLOAD", "#/label"),
        (Job(GOOD[:-20]), "INVALID_IMAGE", "#/label"),
        (Job(b"GIF89a"), "UNSUPPORTED_FORMAT", "#/label"),
        (Job(png(np.zeros((8, 8, 3), np.uint8))), "COLOUR_MAP", "#/label"),
        (Job(png(np.full((8, 8), 11, np.uint8))), "LABEL_OUT_OF_RANGE", "#/label"),
        (Job(png(np.zeros((101, 100), np.uint8))), "IMAGE_TOO_LARGE", "#/label"),
        (Job(png(np.zeros((1, 9_000), np.uint8))), "IMAGE_TOO_LARGE", "#/label"),
        (Job(GOOD, b"GIF89a"), "UNSUPPORTED_FORMAT", "#/instance"),
        (Job(GOOD, png(np.zeros((16, 23), np.uint8))), "SIZE_MISMATCH", "#/instance"),
        (Job(GOOD, choice=StyleChoice(instances={9: 0})), "STYLE_NOT_FOUND", "#/options"),
        (Job(GOOD, choice=StyleChoice(classes={3: (2.0, 0, 0)})), "STYLE_INVALID", "#/options"),
    ],
)
def test_bad_jobs_never_reach_the_engine(
    pipeline: Pipeline, engine: CountingEngine, job: Job, reason: str, pointer: str
) -> None:
    """Whatever is wrong with a job is found before the engine runs, and told with its field."""
    times: StageTimes = {}
    with pytest.raises(ServiceError) as caught:
        asyncio.run(pipeline.synthesize(job, times))
    assert caught.value.reason == reason
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert engine.runs == 0
    assert list(times) == ["decode"]


@pytest.mark.parametrize(("format_", "longest"), [("webp", 16383), ("jpeg", 65500)])
def test_sides_that_a_format_cannot_hold(
    tiny_bundle: Path, engine: CountingEngine, format_: FormatName, longest: int
) -> None:
    """A photograph that could not be encoded is not synthesised either."""
    engine.runs = 0
    pipeline = Pipeline(Synthesizer(load_bundle(tiny_bundle), engine), max_pixels=1 << 20)
    label = png(np.zeros((1, longest + 1), np.uint8))
    with pytest.raises(ServiceError, match=f"{longest + 1}x1 pixels do not fit into a {format_}"):
        asyncio.run(pipeline.synthesize(Job(label, format=format_), {}))
    assert engine.runs == 0


def test_event_loop_stays_free(pipeline: Pipeline) -> None:
    """The loop turns while a photograph is made, so probes are answered."""

    async def turns_meanwhile() -> int:
        job = asyncio.create_task(pipeline.synthesize(Job(GOOD), {}))
        turns = 0
        while not job.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(turns_meanwhile()) > 10
