"""Senders that nobody here wrote, against the case telemetry: the ledger has what they sent, to the datagram and to the line.

Usage: proof.py HOPLINE CASE [COLLECTD], with the packages statsd and datadog installed.
"""

import json
import multiprocessing
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

SPAN_S = 2.0
RUN_S = 12


class Counting:
    """A socket that counts what its sends were given and what the system took."""

    def __init__(self, inner):
        self.inner, self.datagrams, self.lines = inner, 0, 0

    def note(self, payload):
        self.datagrams += 1
        self.lines += sum(1 for line in payload.split(b"\n") if line.strip(b"\r"))

    def sendto(self, payload, address):
        taken = self.inner.sendto(payload, address)
        self.note(payload)
        return taken

    def send(self, payload):
        taken = self.inner.send(payload)
        self.note(payload)
        return taken

    def __getattr__(self, name):
        return getattr(self.inner, name)


def statsd_client(port, result):
    """PyPI statsd: one line a datagram, and pipelines of several."""
    import statsd

    client = statsd.StatsClient("127.0.0.1", port)
    client._sock = counting = Counting(client._sock)
    counted, until = 0, time.monotonic() + SPAN_S
    while time.monotonic() < until:
        for _ in range(100):
            client.incr("py.hits")
        counted += 100
        client.gauge("py.level", 7)
        client.timing("py.span", 3.5)
        client.set("py.users", str(counted % 50))
        with client.pipeline() as pipe:
            for _ in range(40):
                pipe.incr("py.hits")
        counted += 40
    result.put(("statsd", counting.datagrams, counting.lines, {"py.hits": counted}))


def datadog_client(port, result):
    """PyPI datadog: tags, buffers, distributions, events, service checks, and the client's own telemetry."""
    from datadog.dogstatsd.base import DogStatsd

    client = DogStatsd(host="127.0.0.1", port=port, disable_buffering=False, flush_interval=0.05)
    counting = Counting(client.get_socket())
    client.socket = counting
    counted, until = 0, time.monotonic() + SPAN_S
    while time.monotonic() < until:
        for at in range(100):
            client.increment("dd.hits", tags=["env:prod", f"shard:{at % 4}"])
        counted += 100
        client.distribution("dd.bytes", 512, tags=["env:prod"])
        client.histogram("dd.size", 3)
        client.event("deployed", "all of it\nand more", tags=["env:prod"])
        client.service_check("db", 0, message="well")
    client.flush()
    client.stop() if hasattr(client, "stop") else None
    result.put(("datadog", counting.datagrams, counting.lines, {"dd.hits": counted}))


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Run:
    """The case on ports of its own, its text in a file of its own."""

    def __init__(self, hopline, case, folder, span_s=RUN_S):
        copy = pathlib.Path(folder) / "telemetry"
        copy.mkdir()
        self.out = copy / "out.ndjson"
        for file in ("line.toml", "load.toml", "budget.toml"):
            text = (pathlib.Path(case) / file).read_text()
            (copy / file).write_text(text.replace("/dev/null", str(self.out)))
        self.ports = {
            name: free_port(socket.SOCK_DGRAM if name in ("statsd", "influx-udp") else socket.SOCK_STREAM)
            for name in ("statsd", "graphite", "influx", "influx-udp")
        }
        binds = [f"--bind={name}=127.0.0.1:{port}" for name, port in self.ports.items()]
        binds.append(f"--bind=dogstatsd=@hopline-senders-{os.getpid()}")
        command = [hopline, "run", str(copy), "--for", f"{span_s}s", "--json", *binds]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.ports["influx"])).close()
                return
            except OSError:
                assert time.monotonic() < until, "the case does not listen"
                time.sleep(0.01)

    def end(self):
        report = json.loads(self.child.communicate()[0])
        assert report["ledger"]["closed"], report["ledger"]
        rows = [json.loads(line) for line in self.out.read_text().splitlines()]
        return report["ledger"]["sources"], rows


def lines_add_up(source):
    rejected = sum(source["rejected"].values())
    assert source["lines"] == source["ingested"] + source["shed"] + rejected, source


def clients(hopline, case):
    with tempfile.TemporaryDirectory() as folder:
        run = Run(hopline, case, folder)
        result = multiprocessing.Queue()
        jobs = [multiprocessing.Process(target=job, args=(run.ports["statsd"], result)) for job in (statsd_client, datadog_client)]
        for job in jobs:
            job.start()
        told = [result.get() for _ in jobs]
        for job in jobs:
            job.join()
        sources, rows = run.end()
    source = sources["statsd"]
    sent = sum(datagrams for _, datagrams, _, _ in told)
    lines = sum(lines for _, _, lines, _ in told)
    for name, datagrams, of_lines, _ in told:
        print(f"  {name}: {datagrams} datagrams, {of_lines} lines in {SPAN_S} s")
    print(f"  ledger: received {source['datagrams_received']}, kernel {source['kernel_dropped']}, lines {source['lines']}, "
          f"ingested {source['ingested']}, shed {source['shed']}, rejected {source['rejected']}")
    assert sent == source["datagrams_received"] + source["kernel_dropped"], (sent, source)
    lines_add_up(source)
    if source["kernel_dropped"] == 0:
        assert lines == source["lines"], (lines, source)
        for _, _, _, counters in told:
            for name, counted in counters.items():
                total = sum(row["sum"] for row in rows if row.get("name") == name)
                assert total == counted, (name, total, counted)
    assert not source["rejected"] or not any(source["rejected"].values()), source
    assert any("event" in row for row in rows) and any("service_check" in row for row in rows)


class Pieces(threading.Thread):
    """Between a sender and the case: hands its bytes on in pieces of a few, so that every read is a partial one."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.to = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen = b""

    def run(self):
        prng = random.Random(7)
        while True:
            inbound, _ = self.listener.accept()
            outbound = socket.create_connection(("127.0.0.1", self.to))
            outbound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := inbound.recv(65536):
                self.seen += data
                while data:
                    cut = prng.randint(1, 17)
                    outbound.sendall(data[:cut])
                    data = data[cut:]
            outbound.close()


def collectd(hopline, case, program):
    with tempfile.TemporaryDirectory() as folder:
        run = Run(hopline, case, folder)
        pieces = Pieces(run.ports["graphite"])
        pieces.start()
        config = pathlib.Path(folder) / "collectd.conf"
        config.write_text(f"""
Hostname "proof"
BaseDir "{folder}"
PIDFile "{folder}/pid"
Interval 0.2
LoadPlugin cpu
LoadPlugin load
LoadPlugin memory
LoadPlugin write_graphite
<Plugin write_graphite>
  <Node "case">
    Host "127.0.0.1"
    Port "{pieces.port}"
    Protocol "tcp"
    LogSendErrors true
    StoreRates true
    Prefix "collectd."
  </Node>
</Plugin>
""")
        child = subprocess.Popen([program, "-f", "-C", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(6)
        child.terminate()
        child.wait(20)
        sources, rows = run.end()
    source, seen = sources["graphite"], pieces.seen
    lines = [line for line in seen.split(b"\n") if line.strip(b"\r")]
    print(f"  collectd: {len(lines)} lines, {len(seen)} bytes in pieces of 1 to 17")
    print(f"  ledger: lines {source['lines']}, ingested {source['ingested']}, rejected {source['rejected']}")
    assert len(lines) > 50, "collectd sent next to nothing"
    lines_add_up(source)
    assert source["lines"] == len(lines), source
    # A rate that has no value yet is sent as nan.
    words = [re.split(rb"\s+", line.strip()) for line in lines]
    good = [name for name, value, _ in words if value not in (b"nan", b"-nan")]
    refused = {why: count for why, count in source["rejected"].items() if count}
    assert refused == ({"not_finite": len(lines) - len(good)} if len(good) < len(lines) else {}), source
    assert source["ingested"] == len(good), source
    names = {name.decode() for name in good}
    assert names == {row["name"] for row in rows if row.get("name", "").startswith("collectd.")}


def main():
    hopline, case, *more = sys.argv[1:]
    print("statsd and datadog at full speed:")
    clients(hopline, case)
    if more:
        print("collectd's write_graphite over partial reads:")
        collectd(hopline, case, more[0])


if __name__ == "__main__":
    main()
