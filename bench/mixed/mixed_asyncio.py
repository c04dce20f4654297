"""The mixed load on Python's asyncio: heavy requests go to a process pool, a process a core."""

import asyncio
import concurrent.futures
import hashlib
import os
import signal
import sys


def derive_key(salt, rounds):
    return hashlib.pbkdf2_hmac("sha256", b"weft", salt, rounds, 16)


def ignore_signals():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


async def serve(reader, writer, pool):
    loop = asyncio.get_running_loop()
    try:
        while True:
            request = await reader.readexactly(16)
            rounds = int.from_bytes(request[:4], "little")
            answer = await loop.run_in_executor(pool, derive_key, request[4:], rounds) if rounds else request
            writer.write(answer)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(port, processes):
    with concurrent.futures.ProcessPoolExecutor(processes, initializer=ignore_signals) as pool:
        pool.submit(derive_key, b"", 1).result()  # so that the processes are there
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server = await asyncio.start_server(lambda r, w: serve(r, w, pool), "127.0.0.1", port)
        print("serving 127.0.0.1:%d" % server.sockets[0].getsockname()[1], file=sys.stderr, flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else len(os.sched_getaffinity(0))))
