// States, back-off, breaker, heartbeat and clock of the client, in virtual time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, LIMITS, Retries, ServerClock } from "../../src/dashboard/assets/hopline.js";
import { follow, pair, waits } from "./pair.mjs";
import { chance } from "./virtual.mjs";

test("the states of a connection are connecting, open, closing, closed", () => {
  const { clock, server, client, states } = pair();
  assert.equal(client.status.state, "closed");
  client.open();
  assert.equal(client.status.state, "connecting");
  clock.advance(100);
  assert.equal(client.status.state, "open");
  assert.equal(client.status.sid, "s1");
  assert.equal(client.status.epoch, server.epoch);
  client.close();
  assert.equal(client.status.state, "closing");
  clock.advance(100);
  assert.deepEqual(states, ["connecting", "open", "closing", "closed"]);
  assert.equal(client.status.final, true);
  clock.advance(600_000);
  assert.equal(server.attempts.length, 1, "closed is closed");
  assert.equal(clock.pending, 0, "nothing is left running");
});

test("a close that is not answered is over after two seconds", () => {
  const { clock, server, client } = pair();
  client.open();
  clock.advance(100);
  server.network = "silent";
  client.close();
  clock.advance(LIMITS.CLOSE_MS - 1);
  assert.equal(client.status.state, "closing");
  clock.advance(1);
  assert.equal(client.status.state, "closed");
});

test("what it says first: who it is, how often it failed, what it wants", () => {
  const { clock, server, client } = pair({ token: () => "secret" });
  follow(client, "dag/line", { rate: 10, budgetMs: 250 });
  follow(client, "alerts/line", { since: "earliest" });
  client.open();
  clock.advance(100);
  const subs = [
    { ch: "dag/line", rate: 10, budget_ms: 250 },
    { ch: "alerts/line", since: "earliest" },
  ];
  assert.deepEqual(server.session.got[0], { type: "hello", token: "secret", attempt: 0, subs });
  assert.deepEqual(server.session.socket.protocols, ["hopline.v1.json"]);
  server.cut();
  clock.advance(2_000);
  const { sid, attempt } = server.session.hello;
  assert.deepEqual({ sid, attempt }, { sid: "s1", attempt: 1 });
});

test("an attempt times out at ten seconds", () => {
  const { clock, server, client } = pair();
  server.network = "silent";
  client.open();
  clock.advance(LIMITS.CONNECT_MS - 1);
  assert.equal(client.status.state, "connecting");
  clock.advance(1);
  assert.equal(client.status.state, "closed");
  assert.match(client.status.reason, /10 s/);
});

test("a server that accepts and says nothing is no connection", () => {
  const { clock, server, client } = pair();
  server.loses = (message) => message.type === "hello";
  client.open();
  clock.advance(LIMITS.CONNECT_MS);
  assert.equal(client.status.state, "closed");
});

test("waits are 1, 2, 4, 8, 16, 30, 30 seconds", () => {
  const { clock, server, client } = pair();
  server.delayMs = 0;
  server.network = "refuses";
  client.open();
  clock.advance(91_000);
  assert.deepEqual(
    waits(server),
    [1, 2, 4, 8, 16, 30, 30].map((s) => s * 1000),
  );
});

test("each wait is longer by up to 30 %, and evenly so", () => {
  const random = chance(7);
  const first = [];
  for (let at = 0; at < 2000; at += 1) first.push(new Retries().failed(random));
  assert.ok(Math.min(...first) >= 1000 && Math.max(...first) < 1300);
  const mean = first.reduce((sum, ms) => sum + ms) / first.length;
  assert.ok(Math.abs(mean - 1150) < 10, `${mean}`);
  const { clock, server, client } = pair({ seed: 1 });
  server.delayMs = 0;
  server.network = "refuses";
  client.open();
  clock.advance(100_000);
  for (const [at, ms] of waits(server).entries()) {
    const least = LIMITS.BACKOFF_MS[Math.min(at, 5)];
    assert.ok(ms >= least && ms < 1.3 * least, `wait ${at}: ${ms}`);
  }
});

test("failures are forgotten only after 30 seconds of connection", () => {
  const { clock, server, client } = pair();
  client.open();
  clock.advance(100);
  server.cut();
  clock.advance(1_100);
  assert.equal(client.status.state, "open");
  clock.advance(29_000);
  assert.equal(client.status.failures, 1);
  server.cut();
  clock.advance(1_100);
  assert.equal(client.status.state, "closed", "the second wait is two seconds");
  clock.advance(1_000);
  assert.equal(client.status.state, "open");
  clock.advance(30_000);
  assert.equal(client.status.failures, 0);
  server.cut();
  clock.advance(1_100);
  assert.equal(client.status.state, "open", "the first wait again");
});

for (const signal of ["online", "visible"]) {
  test(`${signal} ends a wait, but not within its first second`, () => {
    const { clock, server, client, signals } = pair();
    server.network = "refuses";
    client.open();
    clock.advance(40_000);
    assert.equal(server.attempts.length, 6, "in the wait of 30 seconds");
    server.network = "up";
    signals[signal]();
    clock.advance(10);
    assert.equal(client.status.state, "open");
    server.cut();
    clock.advance(100);
    for (let at = 0; at < 50; at += 1) signals[signal]();
    clock.advance(10);
    assert.equal(client.status.state, "closed", "a flickering signal is no storm");
    clock.advance(1_000);
    assert.equal(client.status.state, "open");
  });
}

test("a client that does not wait for anything hears no signal", () => {
  const { clock, server, client, signals } = pair();
  signals.online();
  client.open();
  signals.online();
  clock.advance(100);
  assert.equal(server.attempts.length, 1);
  client.close();
  clock.advance(100);
  signals.online();
  clock.advance(10_000);
  assert.equal(server.attempts.length, 1);
});

test("a time that the server names replaces the wait, and no signal ends it", () => {
  const { clock, server, client, signals } = pair();
  client.open();
  clock.advance(100);
  server.session.send({ type: "disconnect", code: 3000, reason: "drain", retry_after_ms: 7_500 });
  server.session.socket.hangUp(1006, "");
  clock.advance(10);
  const { state, code, reason, retryByServer } = client.status;
  assert.deepEqual({ state, code, reason, retryByServer }, { state: "closed", code: 3000, reason: "drain", retryByServer: true });
  signals.online();
  signals.visible();
  clock.advance(7_480);
  assert.equal(server.attempts.length, 1);
  clock.advance(20);
  assert.equal(server.attempts.length, 2);
});

test("to be told when to come is no failure: the wait behind it is the first one", () => {
  const { clock, server, client } = pair();
  client.open();
  clock.advance(100);
  for (let told = 0; told < 12; told += 1) {
    server.session.send({ type: "disconnect", code: 3002, reason: "busy", retry_after_ms: 500 });
    server.session.socket.hangUp(3002, "");
    clock.advance(600);
    assert.equal(client.status.state, "open", `told ${told}`);
  }
  assert.deepEqual([client.status.failures, client.status.breaker], [0, "closed"]);
  server.cut();
  clock.advance(1_400);
  assert.equal(client.status.state, "open");
});

test("a time beyond an hour is an hour", () => {
  const { clock, server, client } = pair();
  client.open();
  clock.advance(100);
  server.session.send({ type: "disconnect", code: 3000, reason: "drain", retry_after_ms: 1e15 });
  server.cut();
  clock.advance(10);
  assert.ok(client.status.retryAt - clock.now <= 3_600_000);
});

test("a server that says disconnect and does not close is left", () => {
  const { clock, server, client } = pair();
  client.open();
  clock.advance(100);
  server.session.send({ type: "disconnect", code: 3001, reason: "ends" });
  clock.advance(10);
  assert.equal(client.status.state, "closing");
  clock.advance(LIMITS.CLOSE_MS);
  assert.equal(client.status.state, "closed");
  assert.equal(client.status.code, 3001);
});

test("after ten failures the breaker is open for 60 seconds, then there is one probe", () => {
  const { clock, server, client } = pair();
  server.delayMs = 0;
  server.network = "refuses";
  client.open();
  const tenth = [1, 2, 4, 8, 16, 30, 30, 30, 30].reduce((sum, s) => sum + s * 1000, 0);
  clock.advance(tenth);
  assert.equal(server.attempts.length, 10);
  assert.equal(client.status.breaker, "open");
  clock.advance(59_999);
  assert.equal(server.attempts.length, 10);
  clock.advance(1);
  assert.equal(server.attempts.length, 11, "one probe");
  assert.equal(client.status.breaker, "open", "which failed");
  clock.advance(59_999);
  assert.equal(server.attempts.length, 11);
  server.network = "up";
  clock.advance(1);
  assert.equal(client.status.state, "open");
  assert.equal(client.status.breaker, "half-open");
  clock.advance(LIMITS.STABLE_MS);
  assert.equal(client.status.breaker, "closed");
});

test("a probe that is lost at once opens the breaker again", () => {
  const { clock, server, client } = pair();
  server.delayMs = 0;
  server.network = "refuses";
  client.open();
  clock.advance(151_000);
  server.network = "up";
  clock.advance(60_000);
  assert.equal(client.status.state, "open");
  server.cut();
  clock.advance(10);
  assert.equal(client.status.breaker, "open");
  assert.ok(client.status.retryAt - clock.now > 59_000);
});

test("more than five reconnects in 60 seconds are thrash; failures alone are not", () => {
  const calm = pair();
  calm.server.network = "refuses";
  calm.client.open();
  calm.clock.advance(200_000);
  assert.ok(calm.told.every(({ name }) => name !== "thrash"));
  const { clock, server, client, told, signals } = pair();
  client.open();
  clock.advance(100);
  for (let at = 0; at < 5; at += 1) {
    server.cut();
    clock.advance(1_100);
    signals.online();
    clock.advance(100);
    assert.equal(client.status.state, "open");
  }
  assert.deepEqual(told, []);
  server.cut();
  clock.advance(1_100);
  signals.online();
  clock.advance(100);
  assert.deepEqual(told, [{ name: "thrash", n: 6 }]);
  assert.equal(client.status.thrash, 6);
  clock.advance(75_000);
  assert.equal(client.status.thrash, 0, "and it is over");
});

test("heartbeats go both ways, every 15 seconds", () => {
  const { clock, server, client } = pair();
  client.open();
  clock.advance(100);
  clock.advance(150_000);
  const { got } = server.session;
  assert.equal(got.filter(({ type }) => type === "ping").length, 11, "one at once, and ten");
  assert.equal(got.filter(({ type }) => type === "pong").length, 10);
  assert.equal(server.attempts.length, 1);
});

test("a half-open connection is found within 45 seconds, and told with a code", () => {
  const { clock, server, client } = pair();
  client.open();
  clock.advance(20_000);
  const { socket } = server.session;
  server.network = "silent";
  const since = clock.now;
  while (client.status.state === "open") clock.advance(100);
  assert.ok(clock.now - since <= 45_000 && clock.now - since > 15_000, `${clock.now - since}`);
  assert.equal(client.status.code, 3009);
  assert.equal(socket.closedWith, 3009);
});

test("any traffic counts as life", () => {
  const { clock, server, client } = pair();
  server.pings = server.answersPings = false;
  follow(client, "stats/line");
  client.open();
  clock.advance(100);
  for (let at = 0; at < 10; at += 1) {
    clock.advance(40_000);
    server.publish("stats/line", "hop_stats", { hops: [] });
  }
  clock.advance(100);
  assert.equal(server.attempts.length, 1);
  clock.advance(45_000);
  assert.notEqual(client.status.state, "open");
});

test("the server names the heartbeat", () => {
  const { clock, server, client } = pair();
  server.pingMs = 2_000;
  client.open();
  clock.advance(10_100);
  assert.equal(server.session.got.filter(({ type }) => type === "ping").length, 6);
  server.network = "silent";
  clock.advance(6_000);
  assert.equal(client.status.state, "closed");
});

test("a page that slept asks before it gives a connection up", () => {
  const { clock, server, client } = pair();
  client.open();
  clock.advance(100);
  clock.sleep(8 * 3_600_000);
  clock.advance(10_000);
  assert.equal(server.attempts.length, 1, "the server was there all the time");
  server.network = "silent";
  clock.sleep(8 * 3_600_000);
  clock.advance(LIMITS.PROBE_MS);
  assert.equal(client.status.code, 3009);
});

test("a half-open connection is found in five seconds when the network or the page is back", () => {
  const { clock, server, client, signals } = pair();
  client.open();
  clock.advance(100);
  signals.visible();
  clock.advance(10_000);
  assert.equal(client.status.state, "open");
  server.network = "silent";
  signals.online();
  clock.advance(LIMITS.PROBE_MS);
  assert.equal(client.status.state, "closed");
});

test("final codes stay closed, until somebody opens it again", () => {
  for (const code of [1002, 1007, 1009, 3500, 3501, 3999]) {
    const { clock, server, client } = pair();
    client.open();
    clock.advance(100);
    server.session.socket.hangUp(code, "no");
    clock.advance(600_000);
    assert.equal(server.attempts.length, 1);
    assert.deepEqual([client.status.final, client.status.code, client.status.reason], [true, code, "no"]);
    client.open();
    clock.advance(100);
    assert.equal(client.status.state, "open");
  }
});

test("all other codes come back", () => {
  for (const code of [1000, 1001, 1011, 3000, 3001, 3008, 3009, 3013, 3499]) {
    const { clock, server, client } = pair();
    client.open();
    clock.advance(100);
    server.session.socket.hangUp(code, "");
    clock.advance(2_000);
    assert.equal(client.status.state, "open", `${code}`);
  }
});

test("another version of the protocol, or no address at all, is final and says why", () => {
  const { clock, server, client, env } = pair();
  server.version = 2;
  client.open();
  clock.advance(60_000);
  assert.equal(server.attempts.length, 1);
  assert.match(client.status.reason, /version 2/);
  const lost = new Client("nowhere", { env });
  lost.open();
  assert.deepEqual([lost.status.state, lost.status.final], ["closed", true]);
  assert.match(lost.status.reason, /not an address/);
});

test("the user's wish to connect ends any wait", () => {
  const { clock, server, client } = pair();
  server.network = "refuses";
  client.open();
  clock.advance(200_000);
  assert.equal(client.status.breaker, "open");
  server.network = "up";
  client.open();
  clock.advance(100);
  assert.equal(client.status.state, "open");
});

test("whoever hears of a state may open or close at once", () => {
  const { clock, server, client } = pair();
  let left = 3;
  client.on("status", ({ state }) => {
    if (state === "closed" && left > 0) {
      left -= 1;
      client.open();
    }
  });
  client.open();
  clock.advance(100);
  server.cut();
  clock.advance(100);
  assert.equal(client.status.state, "open");
  assert.equal(server.attempts.length, 2);
  clock.advance(60_000);
  assert.equal(server.attempts.length, 2, "no attempt is left over");
  left = 0;
  const stop = client.on("status", ({ state }) => {
    if (state === "connecting") client.close();
  });
  server.cut();
  clock.advance(10_000);
  assert.deepEqual([client.status.state, client.status.final, server.attempts.length], ["closed", true, 2]);
  stop();
  client.open();
  clock.advance(100);
  assert.equal(client.status.state, "open");
});

test("the server's clock is known to half a round trip, and the best round trip counts", () => {
  const { clock, server, client } = pair();
  Object.assign(server, { skewMs: -3_600_000, delayMs: 20, thinkMs: 5 });
  client.open();
  clock.advance(100);
  // The server says that it took 5 ms and takes none, so both ways together look 5 ms shorter.
  assert.equal(Math.round(client.status.rttMs), 35);
  assert.ok(Math.abs(client.status.clockOffsetMs + 3_600_000) <= 20, `${client.status.clockOffsetMs}`);
  assert.ok(Math.abs(client.now() - server.time()) <= 20);
  const known = new ServerClock();
  known.pong(0, 1100, 1100, 200);
  known.pong(1000, 2005, 2005, 1010);
  known.pong(2000, 3300, 3300, 2400);
  assert.equal(known.offset, 1000, "the one of 10 ms, not the later one of 400");
  for (let at = 0; at < 8; at += 1) known.pong(3000, 3550, 3550, 3100);
  assert.equal(known.offset, 500, "the old one is forgotten");
});

test("six clients of one page on one address are an alarm", () => {
  const { env, clock } = pair();
  const alarms = [];
  const many = Array.from({ length: 6 }, () => new Client("ws://crowd.test/ws", { env }));
  for (const client of many) {
    client.on("alarm", (alarm) => alarms.push(alarm));
    client.open();
  }
  assert.deepEqual(alarms, [{ what: "clients", n: 6 }]);
  for (const client of many) client.close();
  clock.advance(10_000);
  many[0].on("alarm", () => assert.fail("they are gone"));
  many[0].open();
});
