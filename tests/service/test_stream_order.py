"""The order of a stream's results, with photographs that are encoded when the test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from hdsynth.v1 import synthesis_pb2 as pb

from model.bundle import load_bundle
from model.scenes import Scene
from service.engine_batch import Pixels
from service.jobs import OutputFormat, Photo
from service.pipeline import Pipeline, PipelineConfig, StageTimes
from service.schemas import ModelDescription
from service.served import ServedModel
from service.stream_config import StreamSettings
from service.stream_session import Request, Session
from tests.service.streaming import frame

LIMIT_S = 30


class HoldsFirst(Pipeline):
    """Encodes the first photograph only once ``released`` is set."""

    def __init__(self, config: PipelineConfig) -> None:
        super().__init__(config)
        self.released, self.held, self.passed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def encode(
        self, pixels: Pixels, format_: OutputFormat, quality: int | None, times: StageTimes
    ) -> Photo:
        """Encode a photograph (H, W, 3) uint8."""
        is_first = not self.held.is_set()
        if is_first:
            self.held.set()
            await self.released.wait()
        photo = await super().encode(pixels, format_, quality, times)
        if not is_first:
            self.passed.set()
        return photo


def test_no_frame_overtakes_another_behind_one_that_is_dropped(
    tiny_bundle: Path, scene: Scene
) -> None:
    """Frame 1 is being encoded, 2 is dropped by the engine's queue, and 3 is ready before 1."""
    messages = asyncio.run(_told(tiny_bundle, scene))
    assert [message.WhichOneof("message") for message in messages] == [
        "ready", "dropped", "result", "result",
    ]  # fmt: skip
    assert messages[1].dropped.first_frame_id == messages[1].dropped.last_frame_id == 2
    assert messages[1].dropped.reason == pb.DROP_REASON_EXPIRED
    assert [message.result.frame_id for message in messages[2:]] == [1, 3]


async def _told(folder: Path, scene: Scene) -> list[pb.SynthesizeStreamResponse]:
    """Send the frames and return all that the client is told of them."""
    bundle = load_bundle(folder)
    async with asyncio.timeout(LIMIT_S):
        pipeline = HoldsFirst(PipelineConfig(bundle, "fake:base_ms=600", 1, ((96, 80),)))
        await pipeline.start()
        try:
            about = ModelDescription.of(bundle, pipeline.engine_name, 1 << 20, samples=True)
            model = ServedModel(pipeline, about)
            session = Session(model, StreamSettings.of(pb.StreamConfig(), bundle.classes))
            is_dropped = asyncio.Event()

            async def frames() -> AsyncIterator[Request]:
                yield Request(frame=frame(1, scene))
                await pipeline.held.wait()
                # It gets too old while the engine has it.
                yield Request(frame=frame(2, scene, max_age_ms=300))
                await is_dropped.wait()
                yield Request(frame=frame(3, scene))
                await pipeline.passed.wait()
                # All is done of frame 3 that can be done before frame 1.
                for _ in range(20):
                    await asyncio.sleep(0)
                pipeline.released.set()

            session.start(frames())
            messages = []
            while (message := await session.outbox.next()) is not None:
                if message.HasField("dropped"):
                    is_dropped.set()
                if not message.HasField("pacing"):
                    messages.append(message)
            return messages
        finally:
            await pipeline.close()
