"""The producers and consumers on Python's asyncio: see producer_consumer_weft.cpp, which does the same."""

import asyncio
import json
import sys
import time


async def receive(item):
    await asyncio.sleep(item[1] / 1000)
    return item


async def consume(item):
    number, _, departure = item
    result = 0
    while number:
        number, digit = divmod(number, 10)
        result += digit * digit
    await asyncio.sleep(departure / 1000)
    return result


async def one_after_the_other(items):
    return sum([await consume(await receive(item)) for item in items])


async def two_producers(items, consumers):
    queue = asyncio.Queue(8)
    end = object()

    async def produce(first):
        for item in items[first::2]:
            await queue.put(await receive(item))

    async def consume_all():
        result = 0
        while (item := await queue.get()) is not end:
            result += await consume(item)
        return result

    consuming = [asyncio.create_task(consume_all()) for _ in range(consumers)]
    await asyncio.gather(produce(0), produce(1))
    for _ in consuming:
        await queue.put(end)
    return sum(await asyncio.gather(*consuming))


async def measure(name, work):
    start = time.monotonic()
    result = await work
    print(json.dumps({"set_up": name, "seconds": time.monotonic() - start, "sum": result}), flush=True)


async def main():
    items = [(int(n), float(a), float(d)) for n, a, d in (line.split() for line in sys.stdin)]
    await measure("synchronous", one_after_the_other(items))
    await measure("2-producers-1-consumer", two_producers(items, 1))
    await measure("2-producers-3-consumers", two_producers(items, 3))


asyncio.run(main())
