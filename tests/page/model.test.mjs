// What the page makes of events: its figures, what it warns of, its bounds.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { BOUNDS, Model, blame, faultOf, figure, judged, level, over, used } from "../../src/dashboard/assets/model.js";

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

/** A sample as the server tells it: hops as `[name, after, at, wait, service]`. */
const sample = (total, hops, more = {}) => ({
  type: "sample",
  ch: "samples/line",
  t: T,
  id: "000000003b9aca00",
  source: "in",
  left: true,
  slowest: false,
  together: 1,
  total_ns: total,
  hops: hops.map(([hop, after, at, wait, service]) => ({ hop, after, at_ns: at, wait_ns: wait, service_ns: service, gap_ns: null })),
  one_in: 64,
  shed: 0,
  ...more,
});

/** Parts of a way without their steps. */
const parts = ({ parts: all }) => all.map(({ hop, part, ns }) => [hop, part, ns]);

test("a sample becomes a way whose parts are its total", () => {
  const model = made(
    sample(1_000, [
      ["in->a", null, 100, 200, 500],
      ["a.out->b", 0, 600, 150, 250],
    ]),
    sample(1, []),
  );
  assert.equal(model.samples.length, 1);
  // The second hop had it while it was still in the first one's handler.
  assert.deepEqual(parts(model.samples[0]), [
    ["in", "source", 100],
    ["in->a", "wait", 200],
    ["in->a", "service", 300],
    ["a.out->b", "wait", 150],
    ["a.out->b", "service", 250],
  ]);
  assert.ok(model.take().has("sample"));
});

test("of a way that splits only what leads to its end counts, and what a stage held is its own part", () => {
  const model = made(
    sample(900, [
      ["in->a", null, 0, 10, 90],
      ["a->fast", 0, 50, 10, 20],
      ["a->batch", 0, 60, 10, 30],
      ["batch.out->out", 2, 800, 40, 60],
    ]),
  );
  const told = parts(model.samples[0]);
  assert.deepEqual(told, [
    ["in", "source", 0],
    ["in->a", "wait", 10],
    ["in->a", "service", 50],
    ["a->batch", "wait", 10],
    ["a->batch", "service", 30],
    ["batch", "held", 700],
    ["batch.out->out", "wait", 40],
    ["batch.out->out", "service", 60],
  ]);
  assert.equal(
    told.reduce((sum, [, , ns]) => sum + ns, 0),
    900,
  );
});

test("what the host took is a part of its own: of the wait first, then of the work", () => {
  for (const [gap, host, wait, service] of [
    [0, undefined, 200, 300],
    [50, 50, 150, 300],
    [350, 350, 0, 150],
    [9_999, 500, 0, 0],
  ]) {
    const event = sample(600, [["in->a", null, 100, 200, 300]]);
    event.hops[0].gap_ns = gap;
    const model = made(event);
    const of = (name) => model.samples[0].parts.find(({ part }) => part === name)?.ns;
    assert.deepEqual([of("host"), of("wait"), of("service")], [host, wait, service]);
  }
});

test("a way that makes no sense has no parts, and does no harm", () => {
  const model = made(sample(5, [["in->a", 7, 0, 1, 1]]), sample(2, [["in->a", 0, 0, 1, 1]]));
  assert.deepEqual(parts(model.samples[0]), []);
  assert.equal(parts(model.samples[1]).length, 3);
});

test("messages of a hop are those that passed over it", () => {
  const model = made(sample(2, [["in->a", null, 0, 1, 1]]), sample(4, [["in->b", null, 0, 2, 2]]));
  assert.equal(over(model.samples, null).length, 2);
  assert.deepEqual(
    over(model.samples, "in->b").map(({ total }) => total),
    [4],
  );
});

test("the tail is blamed on what takes longer in it, not on what always takes long", () => {
  const one = (wait, service, more) =>
    sample(
      50_000 + wait + service,
      [
        ["a->b", null, 0, wait, 50_000],
        ["b->c", 0, wait + 50_000, 0, service],
      ],
      more,
    );
  const model = made(
    ...Array.from({ length: 90 }, () => one(1_000, 2_000)),
    ...Array.from({ length: 10 }, () => one(31_000, 12_000, { slowest: true })),
  );
  const told = blame(model.samples);
  assert.deepEqual([told.events, told.tail, told.excess], [100, 10, 40_000]);
  assert.deepEqual(told.parts, [
    { hop: "a->b", part: "wait", ns: 30_000, share: 0.75 },
    { hop: "b->c", part: "service", ns: 10_000, share: 0.25 },
  ]);
  assert.equal(blame(model.samples.slice(0, 9)), null);
  assert.deepEqual(blame(model.samples.slice(0, 50)).parts, [], "all alike: nothing to blame");
});

test("slow ones that were chosen for it do not count as usual", () => {
  const one = (wait, slowest) => sample(wait, [["a->b", null, 0, wait, 0]], { slowest });
  const model = made(...Array.from({ length: 60 }, (_, n) => one(n % 5 < 3 ? 90_000 : 1_000, n % 5 < 3)));
  assert.equal(blame(model.samples).excess, 89_000);
});

test("of a line's own samples the tail is blamed on the stage that was made slow", () => {
  const events = JSON.parse(readFileSync(new URL("samples.json", import.meta.url), "utf8"));
  const model = made(...events);
  assert.equal(model.samples.length, events.length);
  for (const { total, parts: all, steps } of model.samples) {
    assert.equal(
      all.reduce((sum, { ns }) => sum + ns, 0),
      total,
    );
    assert.equal(steps.length, 7);
  }
  const told = blame(model.samples);
  const [first] = told.parts;
  assert.deepEqual([first.hop, first.part], ["parse->right", "service"]);
  assert.ok(first.share > 0.9, `${first.share}`);
  // One hop's messages are all of them here, and it is blamed for nothing.
  const left = blame(over(model.samples, "parse->left"));
  assert.deepEqual(left.parts[0], first);
});

test("a culprit says why", () => {
  const model = made(DAG, { ...state("risk"), culprit: true, why: "risk holds back book for 40 % of the time." });
  const node = model.nodes.get("risk");
  assert.equal(faultOf(node), "To blame: risk holds back book for 40 % of the time");
  model.apply({ ...state("risk"), culprit: true });
  assert.equal(faultOf(node), "risk is to blame for what is held back or shed");
});

test("everything has a bound", () => {
  const model = made(DAG);
  for (let at = 0; at < 3000; at += 1) {
    model.apply(state(`n${at}`));
    model.apply({ type: "edge_active", from: `n${at}`, to: "x", hop: `n${at}->x`, rate: 1 });
    model.apply({ type: "error", t: T, message: `${at}`, node_id: null });
    model.apply(sample(2, Array(99).fill(["a->b", null, 0, 1, 1])));
    model.apply({ ...stats(T + at, at), hops: [{ ...stats(T, at).hops[0], hop: `h${at}->x` }] });
  }
  assert.equal(model.nodes.size, BOUNDS.NODES);
  assert.equal(model.hops.size, BOUNDS.HOPS);
  assert.ok(model.history.hops.size <= BOUNDS.HOPS);
  assert.equal(model.notices.length, BOUNDS.NOTICES);
  assert.equal(model.samples.length, BOUNDS.SAMPLES);
  assert.equal(model.samples[0].steps.length, BOUNDS.STEPS);
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
