"""HTTP/1.1 with keep-alive on Python's asyncio, on streams: says hello to every request. asyncio has no HTTP of its
own, so the header is read up to its end and taken apart by hand. One thread, whatever is asked."""

import asyncio
import signal
import sys

HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
NOT_UNDERSTOOD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


async def serve(reader, writer):
    try:
        more = True
        while more:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
            fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            good = len(first.split()) == 3 and first.endswith("HTTP/1.1") and "host" in fields
            more = good and fields.get("connection", "").lower() != "close"
            writer.write(HELLO if good else NOT_UNDERSTOOD)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("serving 127.0.0.1:%d" % server.sockets[0].getsockname()[1], file=sys.stderr, flush=True)
    await stop.wait()


asyncio.run(main())
