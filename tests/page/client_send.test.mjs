// What a client sends: its outbox, its acks, and at what pace.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMITS } from "../../src/dashboard/assets/hopline.js";
import { follow, pair } from "./pair.mjs";

const said = (session, type) => session.got.filter((message) => message.type === type);

test("high priority: fifty wait, the next one is refused and the user is told", () => {
  const { client, told } = pair();
  for (let n = 1; n <= 50; n += 1) assert.deepEqual(client.send({ type: "publish", n }, "high"), { taken: true });
  assert.deepEqual(client.send({ type: "publish", n: 51 }, "high"), { taken: false, why: "full" });
  assert.deepEqual(told, [{ name: "refused", message: { type: "publish", n: 51 }, waiting: 50 }]);
});

test("normal priority: two hundred wait, the oldest gives way and that is told", () => {
  const { clock, server, client, told } = pair();
  for (let n = 1; n <= 203; n += 1) assert.equal(client.send({ type: "publish", n }).taken, true);
  assert.deepEqual(
    told,
    [1, 2, 3].map((n) => ({ name: "dropped", n })),
  );
  assert.equal(client.waiting, 200);
  client.open();
  clock.advance(10_000);
  assert.deepEqual(
    said(server.session, "publish").map(({ n }) => n),
    Array.from({ length: 200 }, (_, at) => at + 4),
  );
});

test("on open all of high priority comes first, and order holds within a class", () => {
  const { clock, server, client } = pair();
  for (let n = 1; n <= 4; n += 1) client.send({ type: "publish", n }, n % 2 ? "normal" : "high");
  client.open();
  clock.advance(100);
  assert.deepEqual(
    said(server.session, "publish").map(({ n }) => n),
    [2, 4, 1, 3],
  );
  assert.equal(server.session.got[0].type, "hello");
  assert.equal(client.waiting, 0);
});

test("a full outbox stays below the server's limit for floods", () => {
  const { clock, server, client } = pair();
  const arrived = [];
  server.channels.clear();
  client.open();
  for (let n = 0; n < 50; n += 1) client.send({ type: "publish", n }, "high");
  for (let n = 0; n < 200; n += 1) client.send({ type: "publish", n });
  for (let ms = 0; ms < 5_000; ms += 10) {
    clock.advance(10);
    arrived.push(server.session?.got.length ?? 0);
  }
  assert.equal(said(server.session, "publish").length, 250);
  // 200 at once and 100 a second is what a server lets pass.
  assert.ok(
    arrived.every((n, at) => n <= 200 + at),
    "too fast",
  );
  const second = arrived.map((n, at) => n - (arrived[at - 100] ?? 0)).slice(150);
  assert.ok(Math.max(...second) <= 100, `${Math.max(...second)} in a second`);
});

test("a message with a cid is sent again after a cut until it is answered, one without is not", () => {
  const { clock, server, client } = pair();
  server.answers = false;
  client.open();
  clock.advance(100);
  client.send({ type: "publish", cid: "c1" });
  client.send({ type: "publish", n: 1 });
  clock.advance(100);
  assert.equal(client.waiting, 1);
  server.cut();
  server.answers = true;
  clock.advance(3_000);
  assert.deepEqual(said(server.session, "publish"), [{ type: "publish", cid: "c1" }]);
  assert.equal(client.waiting, 0);
  server.cut();
  clock.advance(5_000);
  assert.deepEqual(said(server.session, "publish"), []);
});

test("an error with its cid is an answer too", () => {
  const { clock, server, client, told } = pair();
  server.answers = false;
  client.open();
  clock.advance(100);
  client.send({ type: "publish", cid: 7 });
  server.session.send({ type: "error", code: "not_served", message: "", temporary: false, cid: 7 });
  clock.advance(100);
  assert.equal(client.waiting, 0);
  assert.equal(told[0].code, "not_served");
});

test("alerts are acked at once, after they were handed on, and cumulatively", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "alerts/line");
  client.open();
  clock.advance(100);
  server.publish("alerts/line", "error", { message: "one" });
  clock.advance(2 * server.delayMs);
  assert.deepEqual(said(server.session, "ack"), [{ type: "ack", ch: "alerts/line", o: 1 }]);
  clock.advance(10_000);
  assert.equal(seen.length, 1);
  assert.equal(client.counters.duplicates, 0, "an ack ends the resends");
});

test("a critical event that comes again is not handed on again, and is acked again", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "alerts/line");
  client.open();
  clock.advance(100);
  const event = server.publish("alerts/line", "error", { message: "one" });
  clock.advance(100);
  for (let at = 0; at < 3; at += 1) server.session.send(event);
  clock.advance(100);
  assert.equal(seen.length, 1);
  assert.equal(client.counters.duplicates, 3);
  assert.equal(said(server.session, "ack").length, 4);
  assert.ok(said(server.session, "ack").every(({ o }) => o === 1));
});

test("a critical event survives a reconnect and is there within two seconds of it", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "alerts/line");
  client.open();
  clock.advance(100);
  server.loses = ({ type }) => type === "error";
  server.publish("alerts/line", "error", { message: "lost on the way" });
  clock.advance(50);
  server.loses = () => false;
  server.cut();
  while (client.status.state !== "open") clock.advance(10);
  const since = clock.now;
  while (seen.length === 0) clock.advance(10);
  assert.ok(clock.now - since <= 2_000);
});

test("a thousand alerts at once are acked without a flood", () => {
  const { clock, server, client } = pair();
  follow(client, "alerts/line");
  client.open();
  clock.advance(100);
  for (let at = 0; at < 1000; at += 1) server.publish("alerts/line", "error", { message: "" });
  clock.advance(100);
  const acks = said(server.session, "ack");
  assert.equal(acks.at(-1).o, 1000);
  assert.ok(acks.length <= LIMITS.SEND_BURST + 10, `${acks.length}`);
});

/** Publishes events of `dag/line` up to that offset. */
function upTo(server, o) {
  let last;
  while (server.channels.get("dag/line").o < o) last = server.publish("dag/line", "node_state", { node_id: "a" });
  return last;
}

const times = (session) => said(session, "ack").filter(({ rx }) => rx !== undefined);

test("a sample is acked with when it came, when it was painted, and how sure that is, by the server's clock", () => {
  const { clock, server, client } = pair();
  server.skewMs = 50_000.25;
  server.delayMs = 10;
  follow(client, "dag/line");
  client.open();
  clock.advance(1_000);
  upTo(server, 15);
  clock.advance(20);
  client.painted();
  assert.deepEqual(times(server.session), [], "none of them is a sample");
  const sent = clock.now + server.skewMs;
  upTo(server, 20);
  clock.advance(10);
  clock.advance(16);
  client.painted();
  client.painted();
  clock.advance(100);
  const acks = times(server.session);
  assert.equal(acks.length, 1);
  const [{ ch, o, rx, paint, rtt }] = acks;
  assert.deepEqual({ ch, o, rtt }, { ch: "dag/line", o: 16, rtt: 20 });
  assert.ok(Math.abs(rx - sent - 10) < 0.01, `${rx - sent}`);
  assert.ok(Math.abs(paint - rx - 16) < 0.01, `${paint - rx}`);
});

test("the server's clock is asked for more often while samples are taken, until it is known by several trips", () => {
  const { clock, server, client } = pair();
  server.delayMs = 40;
  follow(client, "dag/line");
  client.open();
  clock.advance(200);
  server.delayMs = 1;
  const asked = () => said(server.session, "ping").length;
  assert.equal(asked(), 1);
  for (let at = 1; at <= 30; at += 1) {
    upTo(server, 16 * at);
    clock.advance(LIMITS.SAMPLE_MS);
    client.painted();
  }
  clock.advance(100);
  assert.equal(asked(), LIMITS.CLOCK_SAMPLES);
  const acks = times(server.session);
  assert.deepEqual([acks[0].rtt, acks.at(-1).rtt], [80, 2]);
});

test("samples are acked no faster than four a second", () => {
  const { clock, server, client } = pair();
  follow(client, "dag/line");
  client.open();
  clock.advance(1_000);
  for (let at = 1; at <= 100; at += 1) {
    upTo(server, 16 * at);
    clock.advance(10);
    client.painted();
  }
  clock.advance(100);
  const acks = times(server.session);
  assert.equal(acks.length, 1_000 / LIMITS.SAMPLE_MS);
  assert.ok(acks.every(({ o }) => o % 16 === 0));
});

test("a server that asks for no samples gets no times, and one without fine clocks gets them by the millisecond", () => {
  const { clock, server, client } = pair();
  server.sampleEvery = undefined;
  server.isFine = false;
  follow(client, "dag/line");
  client.open();
  clock.advance(1_000);
  upTo(server, 64);
  clock.advance(100);
  client.painted();
  clock.advance(100);
  assert.deepEqual(times(server.session), []);
  server.sampleEvery = 16;
  server.cut();
  clock.advance(10);
  while (client.status.state !== "open") clock.advance(10);
  clock.advance(1_000);
  upTo(server, 128);
  clock.advance(100);
  client.painted();
  clock.advance(100);
  assert.equal(times(server.session).length, 1);
});

test("what was missed is no sample", () => {
  const { clock, server, client } = pair();
  const events = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  upTo(server, 1);
  clock.advance(100);
  server.cut();
  clock.advance(10);
  upTo(server, 40);
  while (client.status.state !== "open") clock.advance(10);
  clock.advance(100);
  assert.equal(events.at(-1).o, 40, "it came");
  client.painted();
  clock.advance(1_000);
  assert.deepEqual(times(server.session), []);
  upTo(server, 48);
  clock.advance(100);
  client.painted();
  clock.advance(100);
  assert.deepEqual(
    times(server.session).map(({ o }) => o),
    [48],
  );
});

test("what a hidden page does not paint has come, and no more is said of it", () => {
  const { clock, server, client, signals } = pair();
  follow(client, "dag/line");
  client.open();
  clock.advance(100);
  upTo(server, 16);
  clock.advance(10);
  signals.hidden();
  clock.advance(60_000);
  signals.visible();
  clock.advance(100);
  client.painted();
  clock.advance(100);
  const acks = times(server.session);
  assert.deepEqual(
    acks.map(({ o, paint }) => [o, paint]),
    [[16, undefined]],
  );
});

test("who paints nothing says when samples came", () => {
  const { clock, server, client } = pair();
  follow(client, "dag/line");
  client.open();
  clock.advance(100);
  for (const o of [16, 32, 48]) {
    upTo(server, o);
    clock.advance(LIMITS.PAINT_MS);
  }
  const acks = times(server.session);
  assert.deepEqual(
    acks.map(({ o, paint }) => [o, paint]),
    [
      [16, undefined],
      [32, undefined],
    ],
  );
});

test("messages of the server about this connection are told", () => {
  const { clock, server, client, told } = pair();
  follow(client, "stats/line");
  client.open();
  clock.advance(100);
  server.session.send({ type: "error", code: "bad_message", message: "no", temporary: true });
  server.session.send({ type: "shed", ch: "stats/line", n: 12, why: "slow" });
  clock.advance(100);
  assert.deepEqual(
    told.map(({ name, code, n }) => [name, code ?? n]),
    [
      ["error", "bad_message"],
      ["shed", 12],
    ],
  );
  assert.equal(client.counters.shed, 12);
});
