import asyncio
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.bundle import load_bundle
from model.image_io import FormatName
from model.styles import StyleChoice
from service.backends import load_engine
from service.engine_errors import EngineFaultError, EngineLostError
from service.errors import ServiceError
from service.jobs import ElementType, Job, Lane, MapData
from service.metrics import REGISTRY
from service.pipeline import Pipeline, PipelineConfig, StageTimes
from service.queue_metrics import watch_queue
from service.synthesizer import Synthesizer
from tests.service.conftest import pixels, png
from tests.service.fake_engines import BACKEND, POISON, SLOW


def config(folder: Path, backend: str = BACKEND) -> PipelineConfig:
    """Describe a pipeline for scenes of at most 10,000 pixels."""
    bundle = load_bundle(folder)
    return PipelineConfig(bundle, backend, threads=1, buckets=((64, 64),), max_pixels=10_000)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the pipeline that the tests share."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def pipeline(runner: asyncio.Runner, tiny_bundle: Path) -> Iterator[Pipeline]:
    """A pipeline around the engine of known speed."""

    async def start() -> Pipeline:
        pipeline = Pipeline(config(tiny_bundle))
        await pipeline.start()
        return pipeline

    pipeline = runner.run(start())
    yield pipeline
    runner.run(pipeline.close())


IDS = np.full((16, 24), 3, np.uint8)
GOOD = png(IDS)
LABEL = MapData(GOOD)
INSTANCES = (np.arange(384).reshape(16, 24) % 5).astype(np.uint8)
SCENE = Job(LABEL, MapData(png(INSTANCES)))


def raw(ids: np.ndarray, element_type: ElementType = "uint8", deflated: bool = False) -> MapData:
    """Send a map without a file around it."""
    data = ids.astype(f"<{np.dtype(element_type).str[1:]}").tobytes()
    height, width = ids.shape
    if deflated:
        return MapData(zlib.compress(data, 1), "raw_zlib", element_type, width, height)
    return MapData(data, "raw", element_type, width, height)


def test_photograph_and_its_stages(runner: asyncio.Runner, pipeline: Pipeline) -> None:
    """One run of the engine makes the photograph; every stage's time is told in order."""
    before = runner.run(pipeline.stats())
    times: StageTimes = {}
    photo = runner.run(pipeline.synthesize(SCENE, times))
    assert pixels(photo.data).shape == (16, 24, 3)
    assert (photo.width, photo.height, photo.format) == (24, 16, "png")
    assert list(times) == ["decode", "queue", "infer", "encode"]
    assert all(seconds >= 0 for seconds in times.values())
    assert runner.run(pipeline.stats()).runs == before.runs + 1


def test_real_engine(runner: asyncio.Runner, tiny_bundle: Path, pipeline: Pipeline) -> None:
    """With a real engine the pixels are those of the same engine in this process."""
    bundle = pipeline.bundle
    here = Synthesizer(bundle, load_engine(bundle, "onnx", 1))

    async def there() -> bytes:
        real = Pipeline(config(tiny_bundle, "onnx"))
        await real.start()
        photo = await real.synthesize(replace(SCENE, format="raw"), {})
        await real.drain(10)
        return photo.data

    (expected,) = here.run([here.prepare(IDS, INSTANCES)])
    assert runner.run(there()) == expected.tobytes()


@pytest.mark.parametrize("element_type", ["uint8", "uint16", "int32"])
@pytest.mark.parametrize("deflated", [False, True])
def test_raw_maps_say_the_same_as_files(
    runner: asyncio.Runner, pipeline: Pipeline, element_type: ElementType, deflated: bool
) -> None:
    """However the maps travel, the photograph is the same; and it can travel raw as well."""
    job = Job(
        raw(IDS, element_type, deflated), raw(INSTANCES, element_type, deflated), format="raw"
    )
    photo = runner.run(pipeline.synthesize(job, {}))
    files = runner.run(pipeline.synthesize(SCENE, {}))
    sent = np.frombuffer(photo.data, np.uint8).reshape(photo.height, photo.width, 3)
    assert np.array_equal(sent, pixels(files.data))


PLANE = raw(IDS)
DEFLATED = raw(IDS, deflated=True)
BOMB = zlib.compress(bytes(1 << 26), 9)


@pytest.mark.parametrize(
    ("job", "reason", "pointer"),
    [
        (Job(MapData(b"")), "EMPTY_UPLOAD", "#/label"),
        (Job(MapData(GOOD[:-20])), "INVALID_IMAGE", "#/label"),
        (Job(MapData(b"GIF89a")), "UNSUPPORTED_FORMAT", "#/label"),
        (Job(MapData(png(np.zeros((8, 8, 3), np.uint8)))), "COLOUR_MAP", "#/label"),
        (Job(MapData(png(np.full((8, 8), 11, np.uint8)))), "LABEL_OUT_OF_RANGE", "#/label"),
        (Job(MapData(png(np.zeros((101, 100), np.uint8)))), "IMAGE_TOO_LARGE", "#/label"),
        (Job(MapData(png(np.zeros((1, 9_000), np.uint8)))), "IMAGE_TOO_LARGE", "#/label"),
        (Job(LABEL, MapData(b"GIF89a")), "UNSUPPORTED_FORMAT", "#/instance"),
        (Job(LABEL, MapData(png(np.zeros((16, 23), np.uint8)))), "SIZE_MISMATCH", "#/instance"),
        (Job(LABEL, choice=StyleChoice(instances={9: 0})), "STYLE_NOT_FOUND", "#/options"),
        (Job(LABEL, choice=StyleChoice(classes={3: (2.0, 0, 0)})), "STYLE_INVALID", "#/options"),
        (Job(replace(PLANE, data=b"")), "EMPTY_UPLOAD", "#/label"),
        (Job(replace(PLANE, data=PLANE.data[:-1])), "INVALID_IMAGE", "#/label"),
        (Job(replace(PLANE, data=PLANE.data + b"\0")), "INVALID_IMAGE", "#/label"),
        (Job(replace(PLANE, width=0)), "INVALID_IMAGE", "#/label"),
        (Job(replace(PLANE, width=1 << 31, height=1 << 31)), "IMAGE_TOO_LARGE", "#/label"),
        (Job(replace(DEFLATED, data=b"no zlib")), "INVALID_IMAGE", "#/label"),
        (Job(replace(DEFLATED, data=DEFLATED.data[:-2])), "INVALID_IMAGE", "#/label"),
        (Job(replace(DEFLATED, data=DEFLATED.data + b"\0")), "INVALID_IMAGE", "#/label"),
        (Job(replace(DEFLATED, data=BOMB)), "INVALID_IMAGE", "#/label"),
        (Job(LABEL, replace(DEFLATED, height=15)), "INVALID_IMAGE", "#/instance"),
    ],
)
def test_bad_jobs_never_reach_the_engine(
    runner: asyncio.Runner, pipeline: Pipeline, job: Job, reason: str, pointer: str
) -> None:
    """Whatever is wrong with a job is found before the engine runs, and told with its field."""
    before = runner.run(pipeline.stats())
    times: StageTimes = {}
    with pytest.raises(ServiceError) as caught:
        runner.run(pipeline.synthesize(job, times))
    assert caught.value.reason == reason
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert runner.run(pipeline.stats()) == before
    assert list(times) == ["decode"]


@pytest.mark.parametrize(("format_", "longest"), [("webp", 16383), ("jpeg", 65500)])
def test_sides_that_a_format_cannot_hold(
    tiny_bundle: Path, format_: FormatName, longest: int
) -> None:
    """A photograph that could not be encoded is not synthesised either."""
    label = MapData(png(np.zeros((1, longest + 1), np.uint8)))

    async def decode() -> None:
        pipeline = Pipeline(replace(config(tiny_bundle), max_pixels=1 << 20))
        await pipeline.decode(Job(label, format=format_), {})

    with pytest.raises(ServiceError, match=f"{longest + 1}x1 pixels do not fit into a {format_}"):
        asyncio.run(decode())


def test_engine_fault_is_no_service_error(runner: asyncio.Runner, pipeline: Pipeline) -> None:
    """The engine's own words are for the log; a face that passes on messages cannot leak them."""
    job = Job(MapData(png(np.full((8, 8), POISON, np.uint8))))
    with pytest.raises(EngineFaultError, match="0x7f3a"):
        runner.run(pipeline.synthesize(job, {}))


def test_event_loop_stays_free(runner: asyncio.Runner, pipeline: Pipeline) -> None:
    """The loop turns while a photograph is made, so probes are answered."""

    async def turns_meanwhile() -> int:
        job = asyncio.create_task(pipeline.synthesize(SCENE, {}))
        turns = 0
        while not job.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert runner.run(turns_meanwhile()) > 10


def test_overload_is_refused_before_decoding(runner: asyncio.Runner, pipeline: Pipeline) -> None:
    """A request that would wait too long costs nothing, and is told when to come back."""

    async def overload() -> None:
        job = Job(raw(np.ones((20, 20), np.uint8)))
        pipeline.scheduler.queue.times.observe((20, 20), 400, 60.0)
        pipeline.scheduler.pause()
        scene = await pipeline.decode(job, {})
        first = asyncio.create_task(pipeline.infer(scene, {}))
        await asyncio.sleep(0)
        times: StageTimes = {}
        with pytest.raises(ServiceError) as caught:
            await pipeline.synthesize(job, times)
        assert caught.value.reason == "QUEUE_FULL"
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s > 10
        assert times == {}
        pipeline.scheduler.resume()
        await first

    runner.run(overload())


def test_gauges_show_the_queue(runner: asyncio.Runner, pipeline: Pipeline) -> None:
    """What waits is counted by lane and by bucket; sizes that nobody configured are one bucket."""

    def depth(bucket: str, lane: str) -> float | None:
        labels = {"model": "tiny", "bucket": bucket, "lane": lane}
        return REGISTRY.get_sample_value("hdsynth_queue_depth", labels)

    async def fill() -> None:
        watch_queue(pipeline.scheduler, pipeline.config.buckets)
        pipeline.scheduler.pause()
        sizes = (64, 64), (64, 64), (16, 16), (8, 8)
        scenes = [await pipeline.decode(Job(raw(np.ones(s, np.uint8))), {}) for s in sizes]
        waiting = [asyncio.create_task(pipeline.infer(s, {}, Lane.BULK)) for s in scenes]
        await asyncio.sleep(0)
        assert (depth("64x64", "bulk"), depth("other", "bulk")) == (2, 2)
        assert (depth("64x64", "stream"), depth("other", "stream")) == (0, 0)
        age = REGISTRY.get_sample_value("hdsynth_queue_oldest_age_seconds", {"model": "tiny"})
        assert age is not None
        assert age > 0
        pipeline.scheduler.resume()
        await asyncio.gather(*waiting)
        assert (depth("64x64", "bulk"), depth("other", "bulk")) == (0, 0)

    runner.run(fill())


def test_deadline_holds_in_every_stage(tiny_bundle: Path) -> None:
    """A caller is answered at his deadline, whatever his photograph is waiting for."""

    async def be_late() -> None:
        pipeline = Pipeline(config(tiny_bundle))
        await pipeline.start()
        slow = Job(MapData(png(np.full((8, 8), SLOW, np.uint8))))
        reasons = []
        for job, in_s in ((slow, 0.2), (SCENE, 0.05), (SCENE, -1)):
            with pytest.raises(ServiceError) as caught:  # in the engine, the queue, the decoder
                await pipeline.synthesize(replace(job, deadline=time.monotonic() + in_s), {})
            reasons.append(caught.value.reason)
        assert reasons[0] == reasons[2] == "DEADLINE_EXCEEDED"
        assert reasons[1] in {"DEADLINE_EXCEEDED", "DEADLINE_UNREACHABLE"}
        await pipeline.close()

    asyncio.run(be_late())


def test_drain_lets_work_finish(tiny_bundle: Path) -> None:
    """What was accepted is finished, what comes later is refused, and the engine ends."""

    async def drain() -> None:
        pipeline = Pipeline(config(tiny_bundle, "fake:base_ms=50"))
        await pipeline.start()
        accepted = [asyncio.create_task(pipeline.synthesize(SCENE, {})) for _ in range(12)]
        await asyncio.sleep(0)
        draining = asyncio.create_task(pipeline.drain(30))
        await asyncio.sleep(0)
        assert not pipeline.ready
        with pytest.raises(ServiceError) as caught:
            await pipeline.synthesize(SCENE, {})
        assert caught.value.reason == "DRAINING"
        photos = await asyncio.gather(*accepted)
        assert {photo.width for photo in photos} == {24}
        await draining
        with pytest.raises(EngineLostError):
            await pipeline.stats()

    asyncio.run(drain())


def test_drain_ends_in_time(tiny_bundle: Path) -> None:
    """Work that does not finish in time is given up with an error that asks to try again."""

    async def drain() -> None:
        pipeline = Pipeline(config(tiny_bundle))
        await pipeline.start()
        slow = Job(MapData(png(np.full((8, 8), SLOW, np.uint8))))
        accepted = asyncio.create_task(pipeline.synthesize(slow, {}))
        await asyncio.sleep(0)
        await pipeline.drain(0.1)
        with pytest.raises(ServiceError) as caught:
            await accepted
        assert caught.value.reason == "ENGINE_LOST"

    asyncio.run(drain())


def test_sizes_that_the_engine_was_not_built_for(tiny_bundle: Path) -> None:
    """An engine of fixed sizes never sees another one; the refusal names those that it has."""

    async def ask() -> None:
        built = config(tiny_bundle, "fake:width=24,height=16")
        pipeline = Pipeline(replace(built, buckets=((24, 16),)))
        await pipeline.start()
        before = await pipeline.stats()
        for size in ((16, 23), (24, 16)):
            with pytest.raises(ServiceError, match=f"{size[1]}x{size[0]} .* built for 24x16") as no:
                await pipeline.synthesize(Job(MapData(png(np.ones(size, np.uint8)))), {})
            assert no.value.reason == "SIZE_NOT_SERVED"
            assert no.value.errors[0].pointer == "#/label"
        assert await pipeline.stats() == before
        photo = await pipeline.synthesize(Job(MapData(png(np.ones((16, 24), np.uint8)))), {})
        assert (photo.width, photo.height) == (24, 16)
        await pipeline.close()

    asyncio.run(ask())
