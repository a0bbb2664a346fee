// What the page makes of events: its figures, what it warns of, its bounds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BOUNDS, Model, blame, figure, judged, level, used } from "../../src/dashboard/assets/model.js";

const T = 1_790_000_000_000;
const DAG = {
  type: "dag_mutated",
  t: T,
  mutation: "line",
  name: "tick-to-trade",
  nodes: [
    { id: "btc", role: "source", core: 0 },
    { id: "book", role: "stage", core: 1 },
    { id: "out", role: "sink", core: null },
  ],
  edges: [
    { from: "btc", to: "book", hop: "btc->book", capacity: 4096, policy: "block", budget_us: 100 },
    { from: "book", to: "out", hop: "book->out", capacity: 1024, policy: "drop_newest", budget_us: null },
  ],
};
const state = (id, more = {}) => ({
  type: "node_state",
  t: T,
  node_id: id,
  status: "run",
  role: "stage",
  metrics: { p50_us: 1, p99_us: 12, budget_us: 100, depth: 3, age_us: 40, shed: 2, tainted: 21 },
  culprit: false,
  fault: null,
  ...more,
});
const stats = (t, shed, more = {}) => ({
  type: "hop_stats",
  t,
  hops: [
    {
      hop: "btc->book",
      raw: { p50_ns: 181, p90_us: 1, p99_us: 35, p999_us: 900, max_us: 4000 },
      clean: { p50_ns: 180, p90_us: 1, p99_us: 11, p999_us: 40, max_us: 50 },
      wait_p99_us: 9,
      service_p99_us: 2,
      depth: 3,
      depth_max: 62,
      shed,
      offered: 1000,
      delivered: 900,
      gap_us: 2100,
      ...more,
    },
  ],
});
const made = (...events) => {
  const model = new Model();
  for (const event of events) model.apply(event);
  return model;
};

test("the structure comes first, whatever the order of a snapshot's keys", () => {
  const { type, t, ...dag } = DAG;
  const { type: _, t: __, ...book } = state("book");
  const model = made({
    type: "snapshot",
    ch: "dag/line",
    o: 9,
    data: { "node:book": book, cost: { spent: 100, budget: 1000, remaining: 900 }, dag },
  });
  assert.equal(model.name, "tick-to-trade");
  assert.deepEqual([...model.nodes.keys()], ["btc", "book", "out"]);
  assert.deepEqual([...model.hops.keys()], ["btc->book", "book->out"]);
  assert.equal(model.nodes.get("book").p99, 12_000);
  assert.equal(model.nodes.get("book").tainted, 0.021);
  assert.deepEqual(model.cost, { spent: 0.0001, budget: 0.001, remaining: 0.9 });
  assert.deepEqual([...model.take()].sort(), ["cost", "figures", "structure"]);
  assert.deepEqual([...model.take()], []);
});

test("figures are nanoseconds, whether they came as such or not", () => {
  assert.equal(figure({ p99_us: 12 }, "p99"), 12_000);
  assert.equal(figure({ p99_ns: 181, p99_us: 0 }, "p99"), 181);
  assert.equal(figure({ budget_us: null }, "budget"), null);
  assert.equal(figure({}, "budget"), null);
});

test("a hop is judged by the messages that the host did not touch", () => {
  const model = made(DAG, {
    type: "edge_active",
    t: T,
    from: "btc",
    to: "book",
    hop: "btc->book",
    rate: 10_000,
    depth: 5,
    depth_max: 62,
    capacity: 4096,
    p99_us: 35,
    budget_us: 20,
    shed: 1,
  });
  const hop = model.hops.get("btc->book");
  assert.deepEqual([hop.rate, hop.depth, hop.depthMax, hop.budget, judged(hop)], [10_000, 5, 62, 20_000, 35_000]);
  assert.equal(level(used(hop)), "over");
  model.apply(stats(T, 1));
  assert.deepEqual([judged(hop), level(used(hop))], [11_000, "near"]);
  assert.deepEqual([hop.raw.p50, hop.clean.p99, hop.waitP99, hop.serviceP99, hop.gap], [181, 11_000, 9_000, 2_000, 2_100_000]);
  assert.equal(level(used(model.hops.get("book->out"))), "none");
  assert.equal(level(0.2), "low");
});

test("hops beyond the line have figures of their own, and are no part of the DAG", () => {
  const raw = { p50_ns: 90_000, p90_ns: 200_000, p99_ns: 400_000, p999_ns: 500_000, max_ns: 600_000 };
  const beyond = [
    { hop: "edge.queue", samples: 12, raw, budget_us: 300 },
    { hop: "client.paint", samples: 0, raw: { p50_ns: 0, p90_ns: 0, p99_ns: 0, p999_ns: 0, max_ns: 0 }, budget_us: null },
  ];
  const model = made(DAG, { ...stats(T, 0), beyond });
  assert.deepEqual([...model.beyond.keys()], ["edge.queue", "client.paint"]);
  const queue = model.beyond.get("edge.queue");
  assert.deepEqual([judged(queue), level(used(queue))], [400_000, "over"]);
  const paint = model.beyond.get("client.paint");
  assert.deepEqual([judged(paint), used(paint)], [null, null], "nothing was sampled, which is not nothing at all");
  assert.deepEqual([...model.hops.keys()], ["btc->book", "book->out"]);
  const many = Array.from({ length: 100 }, (_, n) => ({ hop: `h${n}`, samples: 0, raw: {}, budget_us: null }));
  model.apply({ ...stats(T, 0), beyond: many });
  assert.equal(model.beyond.size, BOUNDS.BEYOND);
  // A server that knows nothing of them.
  assert.equal(made(DAG, stats(T, 0)).beyond.size, 0);
});

test("a change of the DAG keeps what is known of what stays, and nothing of what goes", () => {
  const model = made(DAG, state("book"), stats(T, 0));
  model.apply({ ...DAG, nodes: DAG.nodes.slice(0, 2), edges: DAG.edges.slice(0, 1) });
  assert.deepEqual([...model.nodes.keys()], ["btc", "book"]);
  assert.equal(model.nodes.get("book").p99, 12_000);
  assert.equal(model.hops.get("btc->book").raw.p50, 181);
  model.apply({ ...DAG, nodes: [], edges: [] });
  assert.deepEqual([model.nodes.size, model.hops.size, model.history.hops.size], [0, 0, 0]);
});

test("the culprit's hop is shown first, else the one that used most of its budget", () => {
  const model = made(DAG);
  assert.equal(model.worst().hop, "btc->book");
  model.apply(state("out", { culprit: true }));
  assert.equal(model.worst().hop, "book->out");
  model.apply(state("out"));
  model.apply({ type: "edge_active", from: "book", to: "out", hop: "book->out", p99_us: 90, budget_us: 100 });
  model.apply({ type: "edge_active", from: "btc", to: "book", hop: "btc->book", p99_us: 90, budget_us: 50 });
  assert.equal(model.worst().hop, "btc->book");
  assert.equal(new Model().worst(), undefined);
});

test("ticks keep what was shed since the one before, and the deepest", () => {
  const model = made(DAG, stats(T, 5), stats(T + 250, 12), stats(T + 500, 12), stats(T + 750, 3, { depth_max: 7, gap_us: 0 }));
  const { history } = model;
  const column = history.hops.get("btc->book");
  const at = history.after(T - 1);
  assert.deepEqual(
    at.map((n) => column.shed[n]),
    [0, 7, 0, 3],
    "a count that falls is another run's",
  );
  assert.deepEqual(
    at.map((n) => column.depth[n]),
    [62, 62, 62, 7],
  );
  assert.deepEqual(
    at.map((n) => history.gaps[n]),
    [2_100_000, 2_100_000, 2_100_000, 0],
  );
  assert.deepEqual(history.after(T + 400).length, 2);
});

test("the timeline's ring keeps two minutes, and a hop that falls silent shows nothing", () => {
  const model = made(DAG);
  for (let at = 0; at < 1000; at += 1) model.apply(stats(T + at * 250, at));
  const at = model.history.after(0);
  assert.equal(at.length, BOUNDS.TICKS);
  assert.deepEqual(
    at.map((n) => model.history.times[n]),
    Array.from({ length: 480 }, (_, n) => T + (520 + n) * 250),
  );
  model.apply({ type: "hop_stats", t: T + 250_000, hops: [] });
  const last = model.history.after(0).at(-1);
  assert.equal(model.history.hops.get("btc->book").depth[last], 0);
  assert.equal(model.history.gaps[last], 0);
});

test("errors become notices with their node, the same again counts up", () => {
  const error = {
    type: "error",
    ch: "alerts/line",
    o: 1,
    t: T,
    code: "stage_failed",
    message: "book panicked",
    temporary: false,
    node_id: "book",
  };
  const model = made(DAG, error, { ...error, o: 2, node_id: "out" }, { ...error, o: 3, t: T + 5 });
  assert.deepEqual(
    model.notices.map(({ node, times, grade }) => [node, times, grade]),
    [
      ["book", 2, "bad"],
      ["out", 1, "bad"],
    ],
  );
  assert.equal(model.notices[0].t, T + 5);
  model.dismiss(model.notices[0].id);
  assert.deepEqual(
    model.notices.map(({ node }) => node),
    ["out"],
  );
  model.dismiss();
  assert.deepEqual(model.notices, []);
  model.apply({ ...error, message: "", temporary: true });
  assert.deepEqual([model.notices[0].text, model.notices[0].grade], ["stage_failed", "warn"]);
});

test("the budget warns once when it falls below a fifth, and again after it was above", () => {
  const cost = (remaining) => ({ type: "cost_update", t: T, spent: 1000 - remaining, budget: 1000, remaining });
  const model = made(cost(500), cost(200));
  assert.equal(model.notices.length, 0);
  model.apply(cost(199));
  model.apply(cost(150));
  assert.deepEqual(
    model.notices.map(({ times }) => times),
    [1],
  );
  model.apply(cost(900));
  model.apply(cost(10));
  assert.deepEqual(
    model.notices.map(({ times }) => times),
    [2],
  );
});

test("the end says whether every message is accounted for", () => {
  const end = (closed) => ({
    type: "execution_complete",
    ch: "alerts/line",
    o: 9,
    t: T,
    results: { cause: "stopped", closed, delivered: 7 },
  });
  assert.deepEqual(made(end(true)).notices[0].grade, "good");
  const open = made(end(false));
  assert.match(open.notices[0].text, /not closed/);
  assert.deepEqual(open.end, { cause: "stopped", closed: false, delivered: 7 });
});

test("a gap among the alerts is told, one of the state is not: its snapshot says all", () => {
  const model = made({ type: "gap", ch: "dag/line", from: 1, to: 9, why: "history" });
  assert.equal(model.notices.length, 0);
  model.apply({ type: "gap", ch: "alerts/line", from: 3, to: 9, why: "history" });
  assert.match(model.notices[0].text, /^7 notices/);
});

test("figures are old when none came for long, and not once the line has ended", () => {
  const model = made();
  assert.equal(model.isOld(T + 60_000), false, "nothing was told yet");
  model.apply({ type: "hop_stats", ch: "stats/line", t: T, hops: [] });
  assert.deepEqual([model.isOld(T + 5_000), model.isOld(T + 5_001)], [false, true]);
  model.apply({ type: "hop_stats", ch: "stats/line", t: T + 5_000, hops: [] });
  assert.equal(model.isOld(T + 5_001), false);
  model.apply({ type: "execution_complete", ch: "alerts/line", t: T + 5_000, results: { cause: "duration", closed: true, delivered: 1 } });
  assert.equal(model.isOld(T + 60_000), false);
});

test("samples in microseconds or nanoseconds become a way with its total", () => {
  const model = made(
    {
      type: "sample",
      ch: "samples/risk->out",
      t: T,
      hops: [
        ["a->b", 5, 2],
        ["b->c", 1],
      ],
    },
    { type: "sample", ch: "samples/risk->out", t: T, hops_ns: [["a->b", 181, 60]] },
    { type: "sample", ch: "samples/risk->out", t: T, hops: [] },
  );
  assert.deepEqual(
    model.samples.map(({ total }) => total),
    [8_000, 241],
  );
  assert.deepEqual(model.samples[0].path[1], { hop: "b->c", wait: 1_000, service: 0 });
});

test("the tail is blamed on what takes longer in it, not on what always takes long", () => {
  const sample = (wait, service) => ({
    t: T,
    ch: "",
    total: wait + service + 50_000,
    path: [
      { hop: "a->b", wait, service: 50_000 },
      { hop: "b->c", wait: 0, service },
    ],
  });
  const samples = [...Array.from({ length: 90 }, () => sample(1_000, 2_000)), ...Array.from({ length: 10 }, () => sample(31_000, 12_000))];
  const told = blame(samples);
  assert.deepEqual([told.events, told.tail, told.excess], [100, 10, 40_000]);
  assert.deepEqual(told.parts, [
    { hop: "a->b", part: "wait", ns: 30_000, share: 0.75 },
    { hop: "b->c", part: "service", ns: 10_000, share: 0.25 },
  ]);
  assert.equal(blame(samples.slice(0, 9)), null);
  assert.deepEqual(blame(samples.slice(0, 50)).parts, [], "all alike: nothing to blame");
});

test("everything has a bound", () => {
  const model = made(DAG);
  for (let at = 0; at < 3000; at += 1) {
    model.apply(state(`n${at}`));
    model.apply({ type: "edge_active", from: `n${at}`, to: "x", hop: `n${at}->x`, rate: 1 });
    model.apply({ type: "error", t: T, message: `${at}`, node_id: null });
    model.apply({ type: "sample", ch: "", t: T, hops: [["a->b", 1, 1]] });
    model.apply({ ...stats(T + at, at), hops: [{ ...stats(T, at).hops[0], hop: `h${at}->x` }] });
  }
  assert.equal(model.nodes.size, BOUNDS.NODES);
  assert.equal(model.hops.size, BOUNDS.HOPS);
  assert.ok(model.history.hops.size <= BOUNDS.HOPS);
  assert.equal(model.notices.length, BOUNDS.NOTICES);
  assert.equal(model.samples.length, BOUNDS.SAMPLES);
  assert.ok(model.unseen > 0);
});

test("what it does not know it leaves alone", () => {
  const model = made(DAG);
  const before = JSON.stringify([...model.nodes]);
  for (const event of [
    { type: "presence" },
    { type: "snapshot", data: { "doc:x": {} } },
    { type: "hop_stats", t: T },
    { type: "node_state", node_id: "new" },
  ]) {
    model.apply(event);
  }
  assert.ok(JSON.stringify([...model.nodes]).startsWith(before.slice(0, -1)));
});
