"""Open a stream of frames; the twin of ``AsyncStream`` for callers without ``await``."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Self, TypeVar

from hdsynth_client.async_stream import AsyncStream
from hdsynth_client.retry import Retry
from hdsynth_client.stream_config import StreamConfig
from hdsynth_client.stream_events import Event
from hdsynth_client.types import Map, Styles

T = TypeVar("T")
_DEFAULT = StreamConfig()


def open_async_stream(
    address: str = "localhost:8001",
    config: StreamConfig = _DEFAULT,
    *,
    key: str | None = None,
    tls: bool = False,
    ca: str | None = None,
    reconnect: bool = False,
    retry: Retry | None = None,
) -> AsyncStream:
    """Return a stream that ``async with`` opens.

    ``key`` is an API key; ``ca`` is a PEM file of the authorities to trust instead of the
    system's, and implies ``tls``. ``reconnect`` opens the stream again when the server sends it
    away (a restart, a new version) or the connection breaks; frame ids go on counting, and
    styles stay. Opening, for the first time and again, is as patient as ``retry``; then it raises
    ServiceError or ConnectionFailedError.
    """
    return AsyncStream(
        address, config, key=key, tls=tls, ca=ca, reconnect=reconnect, retry=retry or Retry()
    )


def open_stream(
    address: str = "localhost:8001",
    config: StreamConfig = _DEFAULT,
    *,
    key: str | None = None,
    tls: bool = False,
    ca: str | None = None,
    reconnect: bool = False,
    retry: Retry | None = None,
) -> Stream:
    """Open a stream; arguments and errors as of ``open_async_stream``."""

    def make() -> AsyncStream:
        return open_async_stream(
            address, config, key=key, tls=tls, ca=ca, reconnect=reconnect, retry=retry
        )

    return Stream(make)


class Stream:
    """An open stream; a context manager and iterator of events. Opened by ``open_stream``.

    Its connection lives in a thread, so that frames leave and events come in while the caller
    draws. Safe to use from several threads.
    """

    def __init__(self, make: Callable[[], AsyncStream]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hdsynth", daemon=True)
        self._thread.start()
        try:
            self._stream: AsyncStream = self._run(_opened(make))
        except BaseException:
            self._stop()
            raise

    def send(self, label: Map, instance: Map | None = None, **fields: Any) -> int:
        """Hand in a frame and return its id; as ``AsyncStream.send``."""
        return self._run(self._stream.send(label, instance, **fields))

    def restyle(self, styles: Styles) -> None:
        """Replace the stream's styles from the next frame on."""
        self._loop.call_soon_threadsafe(self._stream.restyle, styles)

    def take(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the next event; None = the stream has ended.

        Raises TimeoutError, and the error that ended the stream.
        """
        return self._run(_within(timeout_s, self._stream.take()))

    def poll(self) -> list[Event]:
        """Return the events that are there, without waiting: once per picture of a game loop."""
        return self._run(self._stream.poll())

    def pump(self, frames: Iterable[tuple[Map, Map | None]], fps: float) -> Iterator[Event]:
        """Send (label, instance) frames at a pace; yield events until all have been answered.

        Frames are drawn in the caller's thread, between events.
        """
        due = time.monotonic()
        for label, instance in frames:
            while (wait := due - time.monotonic()) > 0 or not self._stream.has_room:
                try:
                    event = self.take(wait if wait > 0 else None)
                except TimeoutError:
                    continue
                if event is None:
                    return
                yield event
            due = max(due + 1 / fps, time.monotonic())
            self.send(label, instance)
            yield from self.poll()
        self.end()
        yield from self

    def end(self) -> None:
        """Send no more frames; events come until all have been answered."""
        self._loop.call_soon_threadsafe(self._stream.end)

    def close(self) -> None:
        """Give up what is on its way and close the connection."""
        if not self._loop.is_closed():
            self._run(self._stream.aclose())
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.take()) is not None:
            yield event

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _opened(make: Callable[[], AsyncStream]) -> AsyncStream:
    return await make().__aenter__()


async def _within(timeout_s: float | None, work: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(timeout_s):
        return await work
