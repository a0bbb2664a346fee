"""The story of a person at the page: open it, lose the network for 45 s, find back, be told of an error.

And a browser's own EventSource, across the same cuts.
"""

import asyncio
import json
import pathlib

from proxy import Proxy

# How long the network is away: as long as a heartbeat may be missing.
AWAY_S = 45
# Within that an error is on the page, from when it happened or the connection was live again.
SOON_MS = 2_000
# What the page may hold after so many events of nodes.
HEAP_BYTES, HEAP_EVENTS = 50_000_000, 1_000
SIZES = ((360, 740), (1280, 800), (3840, 2160))

STATE = "() => document.getElementById('link-state').textContent"
DAG = "() => document.getElementById('dag').textContent"
NOTICES = "() => [...document.querySelectorAll('#notices li')].map((item) => item.textContent)"
# Notes from here on when the connection's state and the notices change.
NOTE = """() => {
  window.noted = [];
  const note = () => {
    // All of them are to be seen, however many there are.
    document.querySelector('#notices .tools button[aria-expanded="false"]:not([hidden])')?.click();
    const now = {
      at: performance.timeOrigin + performance.now(),
      state: document.getElementById("link-state").textContent.replace(/\\d+/, "N"),
      stale: document.body.classList.contains("stale"),
      panics: Math.max(0, ...[...document.querySelectorAll("#notices li")].map((item) => Number(/panicked, (\\d+) times/.exec(item.textContent)?.[1] ?? 0))),
    };
    const last = window.noted.at(-1);
    if (!last || last.state !== now.state || last.stale !== now.stale || last.panics !== now.panics) window.noted.push(now);
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  note();
}"""
NOTED = "() => window.noted"
# A browser's own client of server-sent events.
EVENTS = """(path) => {
  window.seen = [];
  window.source = new EventSource(path);
  window.source.onopen = () => window.seen.push({ opened: true });
  for (const type of ["hello", "subscribed", "snapshot", "gap", "node_state", "edge_active", "dag_mutated", "cost_update", "error"])
    window.source.addEventListener(type, ({ data, lastEventId }) => {
      // The browser's own errors have the name of one of ours, and no data.
      if (data !== undefined) window.seen.push({ type, data, id: lastEventId });
    });
}"""
# More than a page may hold.
BALLAST = "() => { window.ballast = Array.from({ length: 6_000_000 }, (_, at) => ({ at })); }"
SEEN = "() => { window.source.close(); return window.seen; }"


class Browser:
    """Chromium, driven by a script."""

    async def open(self, here, place, chromium):
        self.process = await asyncio.create_subprocess_exec(
            *["node", str(here / "browser.mjs"), str(place), chromium],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=64 << 20,
        )
        self.asked, self.count = {}, 0
        self.reads = asyncio.ensure_future(self.read())
        return self

    async def read(self):
        while line := await self.process.stdout.readline():
            answer = json.loads(line)
            self.asked.pop(answer["id"]).set_result(answer)
        for asked in self.asked.values():
            asked.set_exception(RuntimeError("the browser has ended"))

    async def __call__(self, what, **given):
        self.count += 1
        self.asked[self.count] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(json.dumps({"id": self.count, "what": what, **given}).encode() + b"\n")
        answer = await self.asked[self.count]
        if "error" in answer:
            raise RuntimeError(f"{what}: {answer['error']}")
        return answer.get("answer")

    async def end(self):
        self.process.stdin.close()
        await self.process.wait()


def acked(said, offset):
    """Whether a client acknowledged the alerts up to that offset."""
    acks = [message for _, who, message in said if who == "client" and message.get("type") == "ack" and message["ch"] == "alerts/line"]
    return any(ack["o"] >= offset for ack in acks)


def panics(said):
    """When the stage panicked as clients were told, in milliseconds since 1970, by offset."""
    told = [message for _, who, message in said if who == "server" and message.get("type") == "error" and message.get("code") == "panicked"]
    return {message["o"]: message["t"] for message in told}


def node_events(said):
    """How many events of nodes were sent."""
    return sum(who == "server" and message.get("type") == "node_state" for _, who, message in said)


def unrecovered(joined, gaps):
    """Joins of channels with offsets that did not go on where the client was, although the log may still have it.

    The DAG changes faster than its log lasts 45 s; a gap says so, and a snapshot follows. Alerts are all there.
    """
    told = [(gap["ch"], gap["to"]) for gap in gaps if gap["why"] == "history"]
    lost = [one for one in joined if not one["recovered"] and one["ch"] in ("dag/line", "alerts/line")]
    return [one for one in lost if one["ch"] == "alerts/line" or (one["ch"], one["o"]) not in told]


def of_event_source(seen, record, view, fail):
    """What a browser's EventSource got, held to the same rules as any other client."""
    for one in seen:
        if "opened" in one:
            record.opened += 1
            continue
        message = json.loads(one["data"])
        if message["type"] != one["type"]:
            fail(f"an event of type {one['type']}: {one['data']}")
        has_place = "o" in message and message["type"] not in ("subscribed", "snapshot")
        record.take(message, view.take(message), one["id"] if has_place else None)


async def story(line, place, chromium, Record, View, fail):
    here = pathlib.Path(__file__).resolve().parent
    browser = await Browser().open(here, place, chromium)
    proxy = await Proxy(line.port).open()
    clock = asyncio.get_running_loop().time

    # Open it.
    begin = clock()
    page = await browser("open", url=f"http://{proxy.address}/", width=1280, height=800, scheme="light")
    if not await browser("until", page=page, code=f"() => ({STATE})() === 'open' && ({DAG})().includes('signal')", ms=5_000):
        fail(f"the page is not connected within 5 s: {await browser('run', page=page, code=STATE)}")
    names = ["btc", "eth", "asked", "book", "signal", "risk", "encode", "orders", "tops", "fault", "end"]
    drawn = await browser("run", page=page, code=DAG)
    if missing := [name for name in names if name not in drawn]:
        fail(f"the DAG lacks {missing}: {drawn}")
    print(f"the page: open with its {len(names)} nodes after {clock() - begin:.1f} s")
    await browser("run", page=page, code=NOTE)
    source = await browser("open", url=f"http://{proxy.address}/", width=800, height=600, scheme="light")
    await browser("run", page=source, code=EVENTS, given="/dag")
    await asyncio.sleep(5)
    await browser("shot", page=page, file=str(place / "open.png"))

    # An error while all is well.
    line.panic()
    if not await browser("until", page=page, code="() => window.noted.at(-1).panics >= 1", ms=30_000):
        fail(f"an error is not on the page: {await browser('run', page=page, code=NOTICES)}")
    await asyncio.sleep(1)
    ((first, happened),) = panics(proxy.said).items()
    noted = await browser("run", page=page, code=NOTED)
    took = next(note["at"] for note in noted if note["panics"] >= 1) - happened
    if took > SOON_MS:
        fail(f"an error is on the page after {took:.0f} ms")
    if not acked(proxy.said, first):
        fail(f"the error at {first} is not acknowledged")
    print(f"the page: an error is shown {took:.0f} ms after it happened, and acknowledged")

    # A forced close, for the browser's own EventSource and the page.
    for _ in range(2):
        proxy.cut()
        await asyncio.sleep(7)

    # The network is gone; an error happens meanwhile.
    proxy.swallow()
    away = clock()
    # Long before a heartbeat is missed, the page no longer takes what it shows for the present.
    if not await browser("until", page=page, code=f"() => document.body.className === 'stale' && ({STATE})() === 'open'", ms=10_000):
        fail(f"the page shows old figures as if they were new: {await browser('run', page=page, code=NOTED)}")
    print(f"the page: says that its figures are old {clock() - away:.1f} s after the network went")
    await asyncio.sleep(away + AWAY_S / 2 - clock())
    line.panic()
    await browser("shot", page=page, file=str(place / "away.png"))
    await asyncio.sleep(away + AWAY_S - clock())
    marks = len(proxy.said)
    proxy.restore()
    back = clock()
    is_open = "() => window.noted.length > 1 && window.noted.at(-1).state === 'open' && !window.noted.at(-1).stale && window.noted.at(-1).panics >= 2"
    if not await browser("until", page=page, code=is_open, ms=60_000):
        fail(f"the page does not find back: {await browser('run', page=page, code=NOTED)}")
    after = clock() - back
    await asyncio.sleep(1)
    noted = await browser("run", page=page, code=NOTED)
    open_at = [note["at"] for before, note in zip(noted, noted[1:]) if note["state"] == "open" and before["state"] != "open"][-1]
    told_at = next(note["at"] for note in noted if note["panics"] >= 2)
    if told_at - open_at > SOON_MS:
        fail(f"the error came {told_at - open_at:.0f} ms after the connection: {noted}")
    fresh = proxy.said[marks:]
    hellos = [message for _, who, message in fresh if who == "client" and message.get("type") == "hello"]
    resumed = [message for _, who, message in fresh if who == "server" and message.get("type") == "subscribed"]
    since = [sub.get("since") for hello in hellos for sub in hello["subs"] if sub["ch"] in ("dag/line", "alerts/line")]
    if not since or None in since:
        fail(f"the page did not say where it was: {hellos}")
    gaps = [message for _, who, message in fresh if who == "server" and message.get("type") == "gap"]
    if wrong := unrecovered(resumed, gaps):
        fail(f"the page did not resume: {wrong}")
    second = max(panics(proxy.said))
    if second == first or not acked(fresh, second):
        fail(f"the error at {second} is not acknowledged")
    if [message for _, who, message in proxy.said if who == "client" and message.get("type") == "resync_request"]:
        fail("the page had to ask for a snapshot")
    print(f"the page: open again {after:.1f} s after the network came back, the error {told_at - open_at:.0f} ms later, acknowledged")
    # What looks for an acknowledgement does not see one that is not there.
    without = [one for one in proxy.said if one[2].get("type") != "ack"]
    if acked(without, first) or acked(proxy.said, second + 1):
        fail("an acknowledgement is seen that is not there")

    # What the browser's own client got.
    is_back = "() => window.seen.filter(({ opened }) => opened).length >= 4 && window.seen.at(-1).id"
    await browser("until", page=source, code=is_back, ms=30_000)
    record = Record("EventSource (Chromium)")
    of_event_source(await browser("run", page=source, code=SEEN), record, View(), fail)
    print(record.told())
    if record.wrong or record.opened < 4 or len(record.events) < 100:
        fail(f"{record.told()}: {record.wrong[:3]}")
    if wrong := unrecovered(record.joined[1:], record.gaps):
        fail(f"EventSource did not resume: {wrong}")

    # A person looks at these.
    for width, height in SIZES:
        await browser("size", page=page, width=width, height=height)
        for scheme in ("light", "dark"):
            await browser("scheme", page=page, scheme=scheme)
            await asyncio.sleep(1)
            await browser("shot", page=page, file=str(place / f"{width}x{height}-{scheme}.png"), full=False)
    await browser("shot", page=page, file=str(place / "whole.png"), full=True)
    # It stays open, and holds no more than a page may.
    until = clock() + 180
    while (events := node_events(proxy.said)) < HEAP_EVENTS:
        if clock() > until:
            fail(f"only {events} events of nodes came")
        await asyncio.sleep(1)
    heap = await browser("heap", page=page)
    if heap > HEAP_BYTES:
        fail(f"the page holds {heap / 1e6:.1f} MB after {events} events of nodes")
    await browser("run", page=page, code=BALLAST)
    if await browser("heap", page=page) <= HEAP_BYTES:
        fail("a page that holds too much is not seen")
    print(f"the page: {heap / 1e6:.1f} MB of JavaScript's memory after {events} events of nodes")
    said = await browser("said", page=page)
    if errors := [text for text in said if text.startswith("error") and "ERR_" not in text]:
        fail(f"the page says {errors}")
    await browser.end()
