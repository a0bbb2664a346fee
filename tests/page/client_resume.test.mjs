// What a client has of its channels: nothing twice, nothing missing without a word, and the same view as the server's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { View, keyOf, valueOf } from "../../src/dashboard/assets/hopline.js";
import { follow, pair, unlike } from "./pair.mjs";
import { sumOf } from "./server.mjs";
import { chance } from "./virtual.mjs";

const node = (name, depth = 0) => ({ node_id: name, status: "run", metrics: { depth }, culprit: false, fault: null });
const offsets = (events) => events.filter(({ o, type }) => o !== undefined && type !== "snapshot").map(({ o }) => o);
const same = (client, server) => {
  assert.deepEqual(Object.fromEntries(client.channel("dag/line").view.entries()), server.channels.get("dag/line").state);
  assert.equal(client.channel("dag/line").view.sum, sumOf(server.channels.get("dag/line").state));
};

test("a join begins with a snapshot, and events follow it", () => {
  const { clock, server, client } = pair();
  server.publish("dag/line", "node_state", node("a", 1));
  server.publish("dag/line", "node_state", node("b", 2));
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  assert.deepEqual(
    seen.map(({ type, o }) => [type, o]),
    [["snapshot", 2]],
  );
  server.publish("dag/line", "node_state", node("a", 3));
  clock.advance(100);
  assert.deepEqual(offsets(seen), [3]);
  same(client, server);
  const late = follow(client, "dag/line");
  assert.deepEqual(
    late.map(({ type, o }) => [type, o]),
    [["snapshot", 3]],
    "who comes later gets the view at once",
  );
  assert.deepEqual(late[0].data, server.channels.get("dag/line").state);
});

test("a resume goes on from epoch and offset", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  for (let at = 1; at <= 10; at += 1) server.publish("dag/line", "node_state", node("a", at));
  clock.advance(100);
  server.cut();
  for (let at = 11; at <= 20; at += 1) server.publish("dag/line", "node_state", node("a", at));
  clock.advance(3_000);
  assert.deepEqual(server.session.hello.subs, [{ ch: "dag/line", since: `${server.epoch}:10` }]);
  assert.deepEqual(unlike(offsets(seen), 20), []);
  assert.equal(seen.filter(({ type }) => type === "snapshot").length, 1);
  same(client, server);
});

test("a resume with zero events received", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "alerts/line");
  client.open();
  clock.advance(100);
  server.cut();
  server.publish("alerts/line", "error", { code: "stage_failed", message: "", temporary: false, node_id: null });
  clock.advance(3_000);
  assert.deepEqual(server.session.hello.subs, [{ ch: "alerts/line", since: `${server.epoch}:0` }]);
  assert.deepEqual(offsets(seen), [1]);
});

test("a log that no longer has it: a gap that says which, then a snapshot", () => {
  const { clock, server, client, told } = pair();
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  server.publish("dag/line", "node_state", node("a"));
  clock.advance(100);
  server.cut();
  for (let at = 0; at < 1500; at += 1) server.publish("dag/line", "node_state", node(`n${at % 7}`, at));
  clock.advance(3_000);
  const after = seen.slice(2).map(({ type, o, from, to, why }) => ({ type, o, from, to, why }));
  assert.deepEqual(after, [
    { type: "gap", o: undefined, from: 2, to: 1501, why: "history" },
    { type: "snapshot", o: 1501, from: undefined, to: undefined, why: undefined },
  ]);
  assert.equal(told.filter(({ name }) => name === "gap").length, 1);
  same(client, server);
  server.publish("dag/line", "node_state", node("a", 9));
  clock.advance(100);
  assert.equal(seen.at(-1).o, 1502);
});

test("a channel without a snapshot goes on behind its gap", () => {
  const { clock, server, client } = pair();
  server.add("alerts/line", { critical: true, most: 3 });
  const seen = follow(client, "alerts/line", { since: "earliest" });
  client.open();
  clock.advance(100);
  server.cut();
  for (let at = 0; at < 5; at += 1) server.publish("alerts/line", "error", { message: `${at}` });
  clock.advance(3_000);
  server.publish("alerts/line", "error", { message: "after" });
  clock.advance(100);
  assert.deepEqual(
    seen.map(({ type, o, from, to }) => [type, o ?? `${from}-${to}`]),
    [
      ["gap", "1-5"],
      ["error", 6],
    ],
  );
});

test("a gap in the middle of a stream moves on by itself", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "alerts/line");
  client.open();
  clock.advance(100);
  server.loses = ({ type, o }) => type === "error" && o <= 3;
  for (let at = 1; at <= 3; at += 1) server.publish("alerts/line", "error", { message: `${at}` });
  server.session.send({ type: "gap", ch: "alerts/line", from: 1, to: 3, why: "deadline" });
  server.publish("alerts/line", "error", { message: "4" });
  clock.advance(50);
  assert.deepEqual(
    seen.map(({ type, o, from, to }) => [type, o ?? `${from}-${to}`]),
    [
      ["gap", "1-3"],
      ["error", 4],
    ],
  );
  assert.equal(client.counters.resyncs, 0);
});

test("cut between the promise of a snapshot and the snapshot: no place to go on from", () => {
  const { clock, server, client } = pair();
  server.publish("dag/line", "node_state", node("a"));
  const seen = follow(client, "dag/line");
  client.open();
  server.cutAfter = 2;
  clock.advance(50);
  assert.equal(client.status.state, "closed");
  clock.advance(2_000);
  assert.deepEqual(server.session.hello.subs, [{ ch: "dag/line" }]);
  assert.equal(seen.length, 1);
  same(client, server);
});

test("another epoch is another stream: a snapshot, and its offsets from there", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  for (let at = 0; at < 50; at += 1) server.publish("dag/line", "node_state", node("old", at));
  clock.advance(100);
  server.restart("00000000000000e2");
  server.publish("dag/line", "node_state", node("new"));
  clock.advance(3_000);
  assert.equal(client.channel("dag/line").epoch, "00000000000000e2");
  assert.equal(client.channel("dag/line").o, 1);
  assert.deepEqual(
    seen.slice(-2).map(({ type, why }) => [type, why]),
    [
      ["gap", "epoch"],
      ["snapshot", undefined],
    ],
  );
  same(client, server);
});

test("who wants all of a channel gets all of the next epoch's", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "alerts/line", { since: "earliest" });
  server.publish("alerts/line", "error", { message: "before" });
  client.open();
  clock.advance(100);
  server.restart("00000000000000e2");
  for (const message of ["one", "two"]) server.publish("alerts/line", "error", { message });
  clock.advance(3_000);
  assert.deepEqual(
    seen.filter(({ type }) => type === "error").map(({ message }) => message),
    ["before", "one", "two"],
  );
  server.publish("alerts/line", "error", { message: "three" });
  clock.advance(100);
  assert.equal(seen.at(-1).message, "three");
  assert.equal(client.counters.resyncs, 0);
});

test("what the server conflates is skipped, and is no loss", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  server.publish("dag/line", "node_state", node("a", 0));
  server.session.hold("dag/line");
  for (let at = 1; at <= 100; at += 1) server.publish("dag/line", "node_state", node(["a", "b", "c"][at % 3], at));
  server.session.release("dag/line");
  clock.advance(100);
  assert.deepEqual(offsets(seen), [1, 99, 100, 101]);
  assert.equal(seen.find(({ o }) => o === 99).skip, 97);
  assert.deepEqual([client.counters.skipped, client.counters.lost, client.counters.resyncs], [97, 0, 0]);
  same(client, server);
});

test("a hole without a skip is a loss: asked for from the last one seen, once, and made good", () => {
  const { clock, server, client, told } = pair();
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  server.loses = ({ o }) => o === 5;
  for (let at = 1; at <= 8; at += 1) server.publish("dag/line", "node_state", node("a", at));
  server.loses = () => false;
  clock.advance(100);
  assert.deepEqual(server.resyncRequests, [{ type: "resync_request", ch: "dag/line", last_seen: `${server.epoch}:4` }]);
  assert.deepEqual(unlike(offsets(seen), 8), []);
  assert.deepEqual(told, [{ name: "resync", ch: "dag/line", why: "lost" }]);
  assert.equal(client.counters.lost, 1);
  same(client, server);
});

test("a loss on a channel without a state is made good as well", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "alerts/line");
  client.open();
  clock.advance(100);
  server.loses = ({ o }) => o === 2;
  for (let at = 1; at <= 4; at += 1) server.publish("alerts/line", "error", { message: `${at}` });
  clock.advance(50);
  server.loses = () => false;
  clock.advance(10_000);
  assert.deepEqual(unlike(offsets(seen), 4), []);
});

test("a resync that nobody answers becomes a new join", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  server.honoursResync = false;
  server.loses = ({ o }) => o === 2;
  for (let at = 1; at <= 3; at += 1) server.publish("dag/line", "node_state", node("a", at));
  server.loses = () => false;
  clock.advance(6_000);
  assert.deepEqual(unlike(offsets(seen), 3), []);
  assert.deepEqual(
    server.session.got.filter(({ type }) => /subscribe/.test(type)).map(({ type }) => type),
    ["unsubscribe", "subscribe"],
  );
});

test("losses one after another are not asked for faster and faster", () => {
  const { clock, server, client } = pair();
  follow(client, "dag/line");
  client.open();
  clock.advance(100);
  server.loses = ({ type, o }) => type === "node_state" && o % 2 === 0;
  for (let at = 0; at < 600; at += 1) {
    server.publish("dag/line", "node_state", node("a", at));
    clock.advance(100);
  }
  assert.ok(client.counters.resyncs <= 8, `${client.counters.resyncs} in a minute`);
  server.loses = () => false;
  clock.advance(40_000);
  same(client, server);
});

test("a check sum with every 64th event finds a view that has gone wrong", () => {
  const { clock, server, client, told } = pair();
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  for (let at = 1; at <= 63; at += 1) server.publish("dag/line", "node_state", node(`n${at % 5}`, at));
  clock.advance(100);
  client.channel("dag/line").view.set("node:n1", { planted: true });
  server.publish("dag/line", "node_state", node("n2", 64));
  clock.advance(100);
  assert.equal(client.counters.mismatches, 1);
  assert.deepEqual(told, [{ name: "resync", ch: "dag/line", why: "view" }]);
  assert.deepEqual(server.resyncRequests, [{ type: "resync_request", ch: "dag/line" }]);
  assert.equal(seen.at(-1).type, "snapshot");
  same(client, server);
});

test("a view that has gone wrong is asked for again after a cut", () => {
  const { clock, server, client } = pair();
  follow(client, "dag/line");
  client.open();
  clock.advance(100);
  for (let at = 1; at <= 63; at += 1) server.publish("dag/line", "node_state", node("a", at));
  clock.advance(100);
  client.channel("dag/line").view.set("node:b", { planted: true });
  server.honoursResync = false;
  server.publish("dag/line", "node_state", node("a", 64));
  clock.advance(100);
  server.cut();
  clock.advance(3_000);
  assert.deepEqual(server.session.hello.subs, [{ ch: "dag/line" }]);
  same(client, server);
});

test("an event before the snapshot that was to come: it is asked for", () => {
  const { clock, server, client, told } = pair();
  follow(client, "dag/line");
  server.loses = ({ type }) => type === "snapshot";
  client.open();
  clock.advance(100);
  assert.equal(client.channel("dag/line").stale, true);
  server.loses = () => false;
  server.publish("dag/line", "node_state", node("a"));
  clock.advance(100);
  assert.deepEqual(told, [{ name: "resync", ch: "dag/line", why: "view" }]);
  assert.equal(client.channel("dag/line").stale, false);
  same(client, server);
});

test("sums that never agree are given up with an alarm, not asked for for ever", () => {
  const { clock, server, client, told } = pair();
  server.wrongSums = 1;
  follow(client, "dag/line");
  client.open();
  clock.advance(600_000);
  assert.equal(client.counters.mismatches, 5);
  assert.deepEqual(told.at(-1), { name: "alarm", what: "sum", n: 5 });
  assert.equal(server.attempts.length, 1);
});

test("a type of event that is not known yet spoils the sum, and nothing else", () => {
  const { clock, server, client } = pair();
  follow(client, "dag/line");
  client.open();
  clock.advance(100);
  server.publish("dag/line", "node_state", node("a"));
  server.session.send({ type: "human_gate_waiting", ch: "dag/line", o: 2, sum: 17 });
  clock.advance(100);
  assert.deepEqual([client.counters.mismatches, client.counters.bad], [0, 0]);
  assert.equal(client.channel("dag/line").o, 2);
});

test("too slow for the server: the next join begins with a snapshot", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "dag/line");
  const alerts = follow(client, "alerts/line", { since: "earliest" });
  client.open();
  clock.advance(100);
  server.publish("dag/line", "node_state", node("a"));
  server.publish("alerts/line", "error", { message: "" });
  clock.advance(100);
  server.session.socket.hangUp(3008, "slow");
  clock.advance(3_000);
  assert.deepEqual(server.session.hello.subs, [{ ch: "dag/line" }, { ch: "alerts/line", since: `${server.epoch}:1` }]);
  assert.equal(seen.filter(({ type }) => type === "snapshot").length, 2);
  assert.deepEqual(offsets(alerts), [1]);
});

test("events without an offset never move the resume point", () => {
  const { clock, server, client } = pair();
  const stats = follow(client, "stats/line");
  client.open();
  clock.advance(100);
  for (let at = 0; at < 5; at += 1) server.publish("stats/line", "hop_stats", { hops: [] });
  clock.advance(100);
  assert.equal(stats.length, 5);
  server.cut();
  clock.advance(3_000);
  assert.deepEqual(server.session.hello.subs, [{ ch: "stats/line" }]);
});

test("what still comes of a subscription that was given up is not taken", () => {
  const { clock, server, client } = pair();
  const first = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  first.stop();
  server.publish("dag/line", "node_state", node("a"));
  const second = follow(client, "dag/line");
  clock.advance(100);
  assert.deepEqual(offsets(first), []);
  assert.deepEqual(
    second.map(({ type, o }) => [type, o]),
    [["snapshot", 1]],
  );
  assert.deepEqual(
    server.session.got.filter(({ type }) => /subscribe/.test(type)).map(({ type }) => type),
    ["unsubscribe", "subscribe"],
  );
});

test("messages that are none are counted and hurt nothing", () => {
  const { clock, server, client } = pair();
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  const { socket } = server.session;
  for (const data of [
    "",
    "{",
    "null",
    "[]",
    "7",
    '{"type":7}',
    new ArrayBuffer(4),
    '{"type":"snapshot","ch":"dag/line","data":3}',
    '{"type":"node_state","ch":"dag/line","o":"1"}',
  ])
    socket.onmessage({ data });
  for (const data of ['{"type":"whatever"}', '{"type":"subscribed"}', '{"type":"gap"}', '{"type":"shed"}', '{"type":"pong"}']) {
    socket.onmessage({ data });
  }
  assert.equal(client.counters.bad, 9);
  server.publish("dag/line", "node_state", node("a"));
  clock.advance(100);
  assert.deepEqual(offsets(seen), [1]);
  assert.equal(client.status.state, "open");
});

test("a handler that throws takes nothing from the others, nor from the connection", () => {
  const { clock, server, client, faults } = pair();
  client.subscribe("dag/line", () => {
    throw new Error("planted");
  });
  const seen = follow(client, "dag/line");
  client.open();
  clock.advance(100);
  server.publish("dag/line", "node_state", node("a"));
  clock.advance(100);
  assert.deepEqual(offsets(seen), [1]);
  assert.equal(faults.length, 2);
});

/** A line that lives for a while, cut by `cut`; then both ends have to agree. */
function story(cut, seed) {
  const all = pair({ seed });
  const { clock, server, client } = all;
  const random = chance(seed);
  const state = follow(client, "dag/line");
  const alerts = follow(client, "alerts/line", { since: "earliest" });
  client.open();
  cut(all);
  for (let at = 1; at <= 150; at += 1) {
    server.publish("dag/line", "node_state", node(`n${Math.floor(random() * 9)}`, at));
    if (at % 10 === 0) server.publish("alerts/line", "error", { message: `${at}` });
    clock.advance(Math.floor(random() * 40));
  }
  server.cutAfter = Infinity;
  server.loses = () => false;
  // A loss shows with what comes after it.
  server.publish("dag/line", "node_state", node("last"));
  server.publish("alerts/line", "error", { message: "last" });
  clock.advance(180_000);
  assert.equal(client.status.state, "open");
  same(client, server);
  assert.deepEqual(unlike(offsets(alerts), 16), []);
  const taken = offsets(state);
  assert.ok(
    taken.every((o, at) => at === 0 || o > taken[at - 1]),
    "offsets only rise",
  );
  assert.equal(all.faults.length, 0);
  return all;
}

test("cut after every message of a stream: nothing missing, nothing doubled, the same view", () => {
  const whole = story(() => {}, 1);
  const messages = whole.client.counters.received;
  assert.ok(messages > 150);
  for (let at = 1; at < 200; at += 1)
    story(({ server }) => {
      server.cutAfter = at;
    }, 1);
});

test("cuts and losses at random: nothing missing, nothing doubled, the same view", () => {
  let resyncs = 0;
  for (let seed = 1; seed <= 150; seed += 1) {
    const random = chance(seed * 7919);
    const { client } = story(({ server, clock }) => {
      server.loses = ({ t }) => t !== undefined && random() < 0.02;
      if (seed % 2 === 0) clock.after(random() * 2_000, () => server.cut());
      server.delayMs = Math.floor(random() * 30);
    }, seed);
    resyncs += client.counters.resyncs;
  }
  assert.ok(resyncs > 100, `${resyncs}: losses were planted`);
});

test("what finds a hole, a double and a wrong order finds them", () => {
  assert.deepEqual(unlike([1, 2, 3], 3), []);
  for (const wrong of [[1, 3], [1, 2, 2, 3], [2, 1, 3], [], [1, 2]]) assert.notDeepEqual(unlike(wrong, 3), []);
});

test("an outage of 45 seconds: live again by itself, nothing lost", () => {
  const { clock, server, client, states } = pair({ seed: 3 });
  const seen = follow(client, "dag/line");
  const alerts = follow(client, "alerts/line", { since: "earliest" });
  client.open();
  clock.advance(35_000);
  server.cut();
  server.network = "refuses";
  for (let at = 1; at <= 45; at += 1) {
    server.publish("dag/line", "node_state", node("a", at));
    clock.advance(1_000);
  }
  server.publish("alerts/line", "error", { message: "while away" });
  server.network = "up";
  const since = clock.now;
  while (client.status.state !== "open") clock.advance(100);
  assert.ok(clock.now - since < 1.3 * 30_000);
  clock.advance(100);
  assert.deepEqual(unlike(offsets(seen), 45), []);
  assert.deepEqual(
    alerts.map(({ message }) => message),
    ["while away"],
  );
  assert.deepEqual(states.slice(-3), ["closed", "connecting", "open"]);
  same(client, server);
});

test("a view's keys and values are the protocol's", () => {
  // Two hops may join the same nodes, one for each port or class: each has its state.
  assert.equal(keyOf({ type: "edge_active", from: "a", to: "b", hop: "a.left->b#fast" }), "edge:a.left->b#fast");
  assert.equal(keyOf({ type: "hop_stats" }), undefined);
  assert.deepEqual(valueOf({ type: "cost_update", ch: "dag/line", o: 64, t: 5, spent: 1, skip: 3, sum: 9 }), { spent: 1 });
  const view = new View();
  view.replace({ "node:a": { x: 1 }, __proto__: { y: 2 } });
  view.set("node:a", { x: 2 });
  assert.equal(view.sum, sumOf(Object.fromEntries(view.entries())));
});
