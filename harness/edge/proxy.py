"""A TCP proxy that reads what passes: it cuts, swallows, drops one event or alters one, and notes what clients say.

Invariant: what it is not told to touch passes byte for byte.
"""

import asyncio
import json


def unmasked(payload, mask):
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class Units:
    """Splits one direction into a head, and then into frames, blocks of server-sent events or lines, whichever the head says."""

    def __init__(self, is_answer):
        self.is_answer = is_answer
        self.kind = "head"
        self.left = b""

    def feed(self, data):
        """Whole units, each with the text in it or None."""
        self.left += data
        while (length := self.length()) and length <= len(self.left):
            raw, self.left = self.left[:length], self.left[length:]
            yield raw, self.text(raw)

    def length(self):
        ends = {"head": b"\r\n\r\n", "blocks": b"\n\n", "lines": b"\n"}
        if self.kind in ends:
            at = self.left.find(ends[self.kind])
            return at + len(ends[self.kind]) if at >= 0 else 0
        if self.kind == "raw":
            return len(self.left)
        if len(self.left) < 2:
            return 0
        length, head = self.left[1] & 0x7F, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, head = int.from_bytes(self.left[2 : 2 + size], "big"), 2 + size
            if len(self.left) < head:
                return 0
        return head + (4 if self.left[1] & 0x80 else 0) + length

    def text(self, raw):
        if self.kind == "head":
            head = raw.lower()
            if self.is_answer and b" 101 " in head.split(b"\r\n")[0] or not self.is_answer and b"\nupgrade: websocket" in head:
                self.kind = "frames"
            elif b"text/event-stream" in head and self.is_answer:
                self.kind = "blocks"
            elif b"application/x-ndjson" in head and self.is_answer:
                self.kind = "lines"
            elif self.is_answer:
                self.kind = "raw"
            return None
        if self.kind == "lines":
            return raw.decode()
        if self.kind == "blocks":
            data = [line[6:] for line in raw.decode().split("\n") if line.startswith("data: ")]
            return data[0] if data else None
        if self.kind == "frames" and raw[0] == 0x81:
            size = {126: 2, 127: 8}.get(raw[1] & 0x7F, 0)
            payload = raw[2 + size :]
            return (unmasked(payload[4:], payload[:4]) if raw[1] & 0x80 else payload).decode()
        return None


class Proxy:
    """Listens on a port of its own, and passes on to another."""

    def __init__(self, port):
        self.to = port
        self.port = 0
        self.is_hole = False
        self.writers = set()
        self.tasks = set()
        # What clients and the server said: time, "client" or "server", message.
        self.said = []
        # Called with each message of the server; false drops it, bytes stand for it.
        self.touch = None

    async def open(self):
        server = await asyncio.start_server(self.passes, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return self

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def cut(self):
        """Ends every connection at once, as a reset."""
        for writer in list(self.writers):
            writer.transport.abort()

    def swallow(self):
        """Nothing passes any more, and nobody is told: the network is gone."""
        self.is_hole = True

    def restore(self):
        """The network is back, and knows nothing of the connections of before."""
        self.is_hole = False
        self.cut()

    async def passes(self, reader, writer):
        self.writers.add(writer)
        try:
            if self.is_hole:
                # Nobody answers. What waits here is cut when the network is back.
                while await reader.read(1 << 16):
                    pass
                return
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.to)
            self.writers.add(to_writer)
            ways = [self.way(reader, to_writer, False), self.way(to_reader, writer, True)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            self.tasks.update(tasks)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            for one in (writer, to_writer):
                one.close()
            self.writers.discard(to_writer)
        except (ConnectionError, OSError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)

    async def way(self, reader, writer, is_answer):
        units = Units(is_answer)
        try:
            while data := await reader.read(1 << 16):
                if self.is_hole:
                    continue
                for raw, text in units.feed(data):
                    kept = self.noted(raw, text, is_answer)
                    if kept:
                        writer.write(kept)
                await writer.drain()
        except (ConnectionError, OSError):
            pass

    def noted(self, raw, text, is_answer):
        if text is None:
            return raw
        try:
            message = json.loads(text)
        except ValueError:
            return raw
        self.said.append((asyncio.get_running_loop().time(), "server" if is_answer else "client", message))
        if not is_answer or self.touch is None:
            return raw
        touched = self.touch(message)
        if touched is False:
            return b""
        if touched is None:
            return raw
        old, new = touched
        # The length stays, so that a frame stays one.
        assert len(old) == len(new) and old in raw, (old, new)
        return raw.replace(old, new, 1)


def drops_one(behind=20):
    """Drops one event of the DAG, the one after so many."""
    left = [behind]

    def touch(message):
        if message["type"] in ("node_state", "edge_active") and left[0] >= 0:
            left[0] -= 1
            return False if left[0] < 0 else None
        return None

    return touch


def alters_some(behind=20):
    """Alters a value of the DAG, from that event on."""
    left = [behind]

    def touch(message):
        if message["type"] == "edge_active":
            left[0] -= 1
            if left[0] < 0:
                return b'"capacity":4096', b'"capacity":4097'
        return None

    return touch
