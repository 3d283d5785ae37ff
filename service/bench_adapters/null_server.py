"""A server that answers everything at once: what the load generator itself can send at most."""

from __future__ import annotations

import asyncio
import os
import re

PORT = int(os.environ["BENCH_PORT"])
BODY = b"\xff\xd8" + bytes(20_000)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            writer.write(ANSWER)
    except asyncio.IncompleteReadError:
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
