"""Proves that an edge gets on with clients which nobody here wrote, through cuts, and that its page finds back.

Arguments: the command, the folder of what was installed, the browser. The views are those that docs/EDGE.md shows.
"""

import asyncio
import json
import os
import pathlib
import re
import signal
import socket
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import proxy as proxies
from proxy import Proxy
from story import story

HERE = pathlib.Path(__file__).resolve().parent
DOC = (HERE / "../../docs/EDGE.md").resolve()
HOPLINE, PLACE, CHROMIUM = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), sys.argv[3]
CASE = HERE / "case"


def shown(language, has):
    """The code of the text in that language that has these words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOC.read_text(), re.S)
    (block,) = [block for block in blocks if has in block]
    return block


VIEW = {}
exec(compile(shown("python", "class View"), str(DOC), "exec"), VIEW)
View = VIEW["View"]


class Line:
    """A run with an edge, and a branch that panics when it is asked to."""

    async def open(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.asked = free.getsockname()
        self.process = await asyncio.create_subprocess_exec(
            *[HOPLINE, "run", str(CASE), "--live", "--bind", f"asked=127.0.0.1:{self.asked[1]}"],
            *["--edge", "127.0.0.1:0", "--for", "15m", "--json"],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "RUST_BACKTRACE": "0"},
        )
        while line := (await self.process.stderr.readline()).decode():
            if line.startswith("edge: http://"):
                self.port = int(line.strip().rstrip("/").rsplit(":", 1)[1])
                break
        self.rest = asyncio.ensure_future(self.process.stderr.read())
        self.price = 0
        # The first one is passed on, every second one panics.
        self.ask()
        return self

    def ask(self):
        self.price += 1
        text = {"e": "bookTicker", "u": self.price, "s": "ETHUSDT", "B": "1.000", "A": "2.000", "T": self.price, "E": self.price}
        text |= {"b": f"{2000 + self.price}.00", "a": f"{2001 + self.price}.00"}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(json.dumps(text).encode(), self.asked)

    def panic(self):
        """The stage panics with this, and is made anew; the next one finds it as this one did."""
        self.ask()
        self.ask()

    async def end(self):
        self.process.send_signal(signal.SIGTERM)
        report = json.loads(await self.process.stdout.read())
        code = await self.process.wait()
        return code, report


class Record:
    """What a client got of the DAG, and what is wrong with it."""

    def __init__(self, name):
        self.name, self.wrong, self.opened, self.sums = name, [], 0, 0
        self.joined, self.gaps, self.events, self.skips, self.last = [], [], {}, 0, None

    def take(self, message, verdict, id=None):
        kind = message["type"]
        if verdict is not None:
            self.wrong.append(f"{verdict} at {message}")
        if kind == "subscribed":
            self.joined.append(message)
            self.last = message["o"] - message["replayed"]
        elif kind == "snapshot":
            self.last = message["o"]
            self.sums += 1
        elif kind == "gap":
            self.gaps.append(message)
        elif "o" in message:
            offset, skip = message["o"], message.get("skip", 0)
            if offset in self.events:
                self.wrong.append(f"{offset} came twice")
            if offset != self.last + 1 + skip:
                self.wrong.append(f"{offset} came behind {self.last}")
            if id is not None and id != f"{self.joined[-1]['epoch']}:{offset}":
                self.wrong.append(f"the id of {offset} is {id}")
            self.events[offset], self.last = message, offset
            self.skips += skip
            self.sums += "sum" in message

    def against(self, witness):
        """What the witness got otherwise."""
        beside = ("skip", "head")
        for offset, message in self.events.items():
            theirs = witness.events.get(offset)
            if theirs and {k: v for k, v in message.items() if k not in beside} != {k: v for k, v in theirs.items() if k not in beside}:
                self.wrong.append(f"the witness got {theirs}, not {message}")
        both = self.events.keys() & witness.events.keys()
        return len(both)

    def told(self):
        return f"{self.name}: {len(self.events)} events, {self.skips} skipped, {self.opened} connections, {self.sums} sums, {len(self.gaps)} gaps"


async def python(address, record, stop):
    """PyPI's websockets, with the view of the text, through whatever happens to the connection."""
    view = View()
    while not stop.is_set():
        try:
            async with connect(f"ws://{address}/ws", subprotocols=["hopline.v1.json"], open_timeout=5) as ws:
                record.opened += 1
                subscription = {"ch": "dag/line"} | ({"since": view.position} if view.epoch else {})
                await ws.send(json.dumps({"type": "hello", "subs": [subscription]}))
                while not stop.is_set():
                    text = await asyncio.wait_for(ws.recv(), 20)
                    message = json.loads(text)
                    if json.dumps(message, ensure_ascii=False, separators=(",", ":")) != text:
                        record.wrong.append(f"not canonical: {text}")
                    record.take(message, view.take(message))
        except (ConnectionClosed, OSError, asyncio.TimeoutError):
            await asyncio.sleep(0.2)


async def node(address, how, record, stop):
    """npm's ws or eventsource, with the view of the text."""
    arguments = [str(HERE / "follow.mjs"), address, how, str(PLACE / "view.mjs"), str(PLACE)]
    process = await asyncio.create_subprocess_exec(
        "node", *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20
    )
    ends = asyncio.ensure_future(stop.wait())
    while not stop.is_set():
        reads = asyncio.ensure_future(process.stdout.readline())
        await asyncio.wait([reads, ends], return_when=asyncio.FIRST_COMPLETED)
        if not reads.done():
            reads.cancel()
            break
        if not (line := reads.result()):
            record.wrong.append("node has ended")
            break
        line = json.loads(line)
        if "opened" in line:
            record.opened += 1
        if "message" in line:
            if not line["is_canonical"]:
                record.wrong.append(f"not canonical: {line['message']}")
            has_id = how == "sse" and "o" in line["message"] and line["message"]["type"] != "subscribed"
            record.take(line["message"], line.get("wrong"), line["id"] if has_id and line["message"]["type"] != "gap" else None)
    process.stdin.close()
    await process.wait()


async def curl(address, record, stop):
    """curl -N, which knows nothing of coming back: who calls it does."""
    view = View()
    while not stop.is_set():
        since = f"?since={view.position}" if view.epoch else ""
        process = await asyncio.create_subprocess_exec(
            "curl", "-sN", f"http://{address}/dag{since}", stdout=asyncio.subprocess.PIPE, limit=1 << 20
        )
        record.opened += 1
        ends = asyncio.ensure_future(stop.wait())
        while not stop.is_set():
            reads = asyncio.ensure_future(process.stdout.readline())
            await asyncio.wait([reads, ends], return_when=asyncio.FIRST_COMPLETED)
            if not reads.done():
                reads.cancel()
                process.kill()
                break
            if not (line := reads.result()).endswith(b"\n"):
                break
            message = json.loads(line)
            record.take(message, view.take(message))
        ends.cancel()
        await process.wait()
        await asyncio.sleep(0.2)


class Failed(Exception):
    """What does not hold."""


def fail(words):
    raise Failed(words)


async def through_cuts(line):
    """Everybody follows the DAG through a proxy that cuts them off again and again; a witness follows it without."""
    proxy, stop = await Proxy(line.port).open(), asyncio.Event()
    witness = Record("the witness")
    records = [Record(name) for name in ("websockets (Python)", "ws (Node)", "eventsource (Node)", "curl -N")]
    running = [python(f"127.0.0.1:{line.port}", witness, stop)]
    running += [python(proxy.address, records[0], stop)]
    running += [node(proxy.address, how, record, stop) for how, record in zip(("ws", "sse"), records[1:3])]
    running += [curl(proxy.address, records[3], stop)]
    running = [asyncio.ensure_future(one) for one in running]
    await asyncio.sleep(3)
    for _ in range(3):
        proxy.cut()
        await asyncio.sleep(6)
    # Long enough that what was missed is more than a client gets one by one.
    proxy.swallow()
    await asyncio.sleep(4)
    proxy.restore()
    await asyncio.sleep(6)
    stop.set()
    await asyncio.gather(*running)
    print(witness.told())
    if witness.wrong or witness.skips or witness.opened != 1:
        fail(f"{witness.told()}: {witness.wrong[:3]}")
    for record in records:
        both = record.against(witness)
        print(f"{record.told()}, {both} of them the witness's")
        if record.wrong:
            fail(f"{record.name}: {record.wrong[:3]}")
        if record.opened < 5 or both < 100 or record.sums < 3:
            fail(f"{record.name} was not cut, or saw too little")
        if not all(joined["recovered"] for joined in record.joined[1:]) or record.gaps:
            fail(f"{record.name} did not recover: {record.joined} {record.gaps}")
    return witness


async def beyond_the_log(line, witness):
    """A position that the log no longer has: a gap, and a snapshot from which the view goes on."""
    while witness.last <= 1_100:
        await asyncio.sleep(1)
        await asyncio.wait_for(python_once(line, witness, 200), 60)
    view, record = View(), Record("from the beginning")
    async with connect(f"ws://127.0.0.1:{line.port}/ws", subprotocols=["hopline.v1.json"]) as ws:
        since = f"{witness.joined[0]['epoch']}:1"
        await ws.send(json.dumps({"type": "hello", "subs": [{"ch": "dag/line", "since": since}]}))
        while len(record.events) < 100:
            message = json.loads(await ws.recv())
            record.take(message, view.take(message))
    whys = [gap["why"] for gap in record.gaps]
    if record.wrong or whys != ["history"] or record.joined[0]["recovered"]:
        fail(f"beyond the log: {record.wrong[:3]} {record.gaps} {record.joined}")
    print(f"beyond the log: a gap {record.gaps[0]['from']} to {record.gaps[0]['to']}, then a snapshot and {len(record.events)} events")


async def python_once(line, witness, events):
    """Follows on for so many events, from where the witness was."""
    view = View()
    async with connect(f"ws://127.0.0.1:{line.port}/ws", subprotocols=["hopline.v1.json"]) as ws:
        await ws.send(json.dumps({"type": "hello", "subs": [{"ch": "dag/line"}]}))
        count = 0
        while count < events:
            message = json.loads(await ws.recv())
            view.take(message)
            count += "o" in message
        witness.last = view.last


async def planted(line):
    """A proxy that drops one event, and one that alters one, are found by the very same clients."""
    for fault, words in ((proxies.drops_one, "lost"), (proxies.alters_some, "differs")):
        proxy, stop = await Proxy(line.port).open(), asyncio.Event()
        # Each connection has its own fault, so they follow one after the other.
        for follows, name in ((python, "Python"), (curl, "curl"), (None, "ws"), (None, "sse")):
            proxy.touch, record = fault(), Record(name)
            stop = asyncio.Event()
            one = follows(proxy.address, record, stop) if follows else node(proxy.address, name, record, stop)
            running = asyncio.ensure_future(one)
            for _ in range(200):
                await asyncio.sleep(0.1)
                if record.wrong:
                    break
            stop.set()
            await running
            if not any(verdict.startswith(words) for verdict in record.wrong):
                fail(f"a planted fault is not found: {fault.__name__} by {name}: {record.told()} {record.wrong[:2]}")
            print(f"planted: {fault.__name__} is found by {name}: {record.wrong[0][:60]}")


async def main():
    (PLACE / "view.mjs").write_text(shown("js", "class View"))
    line = await Line().open()
    await planted(line)
    witness = await through_cuts(line)
    await beyond_the_log(line, witness)
    await story(line, PLACE, CHROMIUM, Record, View, fail)
    code, report = await line.end()
    if code != 0 or not report["ledger"]["closed"]:
        fail(f"the line: exit {code}, {report['ledger']}")
    print("the line: drained by a signal, ledger closed, exit 0")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except Failed as words:
        sys.exit(f"FAILED: {words}")
