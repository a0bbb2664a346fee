"""A WebSocket server of PyPI's websockets that does what exchanges do, and what they should not.

Writes its port on standard output, serves one connection after the other by the list of manners in its arguments (the last
one for all that follow), and writes a line for each text that it hears and for each end of a connection. Numbers go on from
one connection to the next.
"""

import asyncio
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

number = 0
served = 0


def trade():
    global number
    number += 1
    return (
        '{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":%d,"p":"61800.30","q":"0.006","m":false}}'
        % number
    )


def say(*words):
    print(*words, flush=True)


async def listen(connection):
    try:
        async for text in connection:
            say("heard", text)
    except ConnectionClosed:
        pass


async def handle(connection):
    global served
    manners = sys.argv[1:]
    manner = manners[min(served, len(manners) - 1)]
    served += 1
    listener = asyncio.create_task(listen(connection))
    try:
        for _ in range(100):
            await connection.send(trade())
        if manner == "fragments":
            for _ in range(100):
                text = trade()
                await connection.send(iter_pieces(text))
                await connection.ping()
        elif manner == "long":
            await connection.send("x" * 700_000)
        elif manner == "longer":
            await connection.send("x" * 2_000_000)
        elif manner == "pings":
            for _ in range(2_000):
                await connection.ping()
        elif manner == "abort":
            connection.transport.abort()
            return
        elif manner.isdigit():
            await connection.close(int(manner), "as told")
            return
        while True:
            await connection.send(trade())
            await asyncio.sleep(0.002)
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else "none"
        say("closed", code, number)
    finally:
        listener.cancel()


async def iter_pieces(text):
    for at in range(0, len(text), 40):
        yield text[at : at + 40]


async def main():
    async with serve(handle, "127.0.0.1", 0, compression="deflate", ping_interval=1) as server:
        say("port", server.sockets[0].getsockname()[1])
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
