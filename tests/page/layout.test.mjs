// The layout of a DAG: nothing overlaps, lines run forwards, few of them cross, and the same graph is the same picture.

import assert from "node:assert/strict";
import { test } from "node:test";
import { layout } from "../../src/dashboard/assets/layout.js";
import { chance } from "./virtual.mjs";

const box = (id, width = 100, height = 52) => ({ id, width, height });
const line = (from, to, id = `${from}->${to}`) => ({ id, from, to, width: 64, height: 36 });
const graph = (text, extra = {}) => {
  const lines = text.split(" ").map((hop) => line(...hop.split(">")));
  const ids = [...new Set(lines.flatMap(({ from, to }) => [from, to]))];
  return { boxes: ids.map((id) => box(id)), lines, ...extra };
};
const laid = (text, options) => {
  const { boxes, lines } = graph(text);
  return layout(boxes, lines, options);
};
const overlap = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/** What is wrong with a layout, in words. */
function faults({ width, height, nodes, lines }, { direction = "right" } = {}) {
  const found = [];
  const places = [...nodes.entries(), ...[...lines].map(([id, { label }]) => [`label ${id}`, label])];
  places.forEach(([a, one], at) => {
    if (one.x < -1e-6 || one.y < -1e-6 || one.x + one.width > width + 1e-6 || one.y + one.height > height + 1e-6)
      found.push(`${a} is outside`);
    if (![one.x, one.y, one.width, one.height].every(Number.isFinite)) found.push(`${a} is nowhere`);
    for (const [b, other] of places.slice(at + 1)) if (overlap(one, other)) found.push(`${a} on ${b}`);
  });
  for (const [id, { points, back, label }] of lines) {
    const along = points.map((point) => (direction === "right" ? point.x : point.y));
    if (!back && along.some((x, at) => at > 0 && x < along[at - 1])) found.push(`${id} runs backwards`);
    for (const [name, node] of nodes) {
      // Straight pieces lie within a layer, where boxes are.
      for (let at = 1; at < points.length - 2; at += 1) {
        const [p, q] = [points[at], points[at + 1]];
        const piece = { x: Math.min(p.x, q.x), y: Math.min(p.y, q.y), width: Math.abs(q.x - p.x), height: Math.abs(q.y - p.y) };
        const isStraight = piece.width === 0 || piece.height === 0;
        if (isStraight && overlap({ ...piece, width: piece.width || 0.1, height: piece.height || 0.1 }, node))
          found.push(`${id} through ${name}`);
      }
    }
    const middle = { x: label.x + label.width / 2, y: label.y + label.height / 2 };
    const on = points.some((p, at) => at > 0 && Math.abs(direction === "right" ? p.y - middle.y : p.x - middle.x) < 1e-6);
    if (!on) found.push(`the label of ${id} is not on its line`);
  }
  return found;
}

/** Pairs of lines that cross between label layers, of a drawn graph. */
function crossings({ lines }) {
  const pieces = [...lines.values()].flatMap(({ points }) =>
    points
      .slice(1)
      .map((q, at) => [points[at], q])
      .filter(([p, q]) => p.x !== q.x),
  );
  let count = 0;
  pieces.forEach(([a, b], at) => {
    for (const [c, d] of pieces.slice(at + 1)) {
      if (a.x === c.x && b.x === d.x && (a.y - c.y) * (b.y - d.y) < -1e-6) count += 1;
    }
  });
  return count;
}

const MARKET = "btc>book eth>book book>signal signal>risk risk>encode encode>orders";

test("a line of stages is a row, its sources one above the other", () => {
  const drawn = laid(MARKET);
  assert.deepEqual(
    [...drawn.nodes.values()].map(({ layer }) => layer),
    [0, 1, 0, 2, 3, 4, 5],
  );
  assert.deepEqual(faults(drawn), []);
  assert.equal(crossings(drawn), 0);
  const middle = (id) => drawn.nodes.get(id).y + 26;
  for (const id of ["signal", "risk", "encode", "orders"]) assert.ok(Math.abs(middle(id) - middle("book")) < 0.5, id);
  assert.ok(Math.abs((middle("btc") + middle("eth")) / 2 - middle("book")) < 0.5);
});

test("down is right, turned", () => {
  const right = laid(MARKET);
  const down = laid(MARKET, { direction: "down" });
  assert.deepEqual(faults(down, { direction: "down" }), []);
  assert.ok(down.height > down.width && right.width > right.height);
  assert.deepEqual(
    [...down.nodes.values()].map(({ layer }) => layer),
    [...right.nodes.values()].map(({ layer }) => layer),
  );
});

test("a source stands next to what it feeds, a long line passes no box", () => {
  const drawn = laid("a>b b>c c>d late>d a>d");
  assert.equal(drawn.nodes.get("late").layer, 2);
  assert.deepEqual(faults(drawn), []);
});

test("lines that need not cross do not", () => {
  for (const text of [
    "a>x b>y c>z",
    "a>z b>y c>x x>1 y>2 z>3",
    "in>left in>right left>join right>join join>out",
    "s>a s>b s>c a>t b>t c>t s>t",
  ]) {
    assert.equal(crossings(laid(text)), 0, text);
  }
});

test("it fills the length it is given, within reason", () => {
  const natural = laid(MARKET);
  assert.ok(Math.abs(laid(MARKET, { length: natural.width + 200 }).width - natural.width - 200) < 1e-6);
  assert.ok(laid(MARKET, { length: 1e6 }).width < 2 * natural.width);
  assert.equal(laid(MARKET, { length: 10 }).width, natural.width);
});

test("cycles, lines to nowhere, doubles, loners and nothing at all do no harm", () => {
  const cycle = laid("a>b b>c c>a c>d");
  assert.deepEqual(faults(cycle), []);
  assert.deepEqual(
    [...cycle.lines].filter(([, { back }]) => back).map(([id]) => id),
    ["c->a"],
  );
  const { points } = cycle.lines.get("c->a");
  assert.ok(points[0].x > points.at(-1).x, "from c to a");
  const odd = layout([box("a"), box("b"), box("alone")], [line("a", "b"), line("a", "b", "again"), line("a", "gone"), line("b", "b")]);
  assert.deepEqual([...odd.lines.keys()], ["a->b", "again"]);
  assert.deepEqual(faults(odd), []);
  assert.deepEqual(layout([], []), { width: 0, height: 0, nodes: new Map(), lines: new Map() });
});

test("random graphs: nothing overlaps, and the same again is the same", () => {
  for (let seed = 1; seed <= 150; seed += 1) {
    const random = chance(seed);
    const many = 2 + Math.floor(random() * 24);
    const boxes = Array.from({ length: many }, (_, at) => box(`n${at}`, 60 + Math.floor(random() * 90)));
    const lines = [];
    for (let at = 0; at < many * 1.6; at += 1) {
      const [from, to] = [Math.floor(random() * many), Math.floor(random() * many)];
      // One in twenty closes a cycle, perhaps.
      if (from !== to)
        lines.push(
          line(`n${random() < 0.95 ? Math.min(from, to) : Math.max(from, to)}`, `n${random() < 0.95 ? Math.max(from, to) : to}`, `l${at}`),
        );
    }
    const options = { direction: seed % 2 ? "right" : "down", length: random() * 3000 };
    const drawn = layout(boxes, lines, options);
    assert.deepEqual(faults(drawn, options), [], `seed ${seed}`);
    assert.deepEqual(layout(boxes, lines, options), drawn, `seed ${seed}`);
  }
});

test("three hundred nodes, the way a line would have them", () => {
  const random = chance(5);
  const boxes = Array.from({ length: 300 }, (_, at) => box(`n${at}`));
  const lines = Array.from({ length: 450 }, (_, at) => {
    const from = Math.floor(random() * 290);
    return line(`n${from}`, `n${from + 1 + Math.floor(random() * 9)}`, `l${at}`);
  });
  assert.deepEqual(faults(layout(boxes, lines)), []);
});

test("what finds faults finds them", () => {
  const drawn = laid(MARKET);
  Object.assign(drawn.nodes.get("risk"), drawn.nodes.get("signal"));
  assert.ok(faults(drawn).some((fault) => fault === "signal on risk"));
  const bent = laid(MARKET);
  bent.lines.get("btc->book").points.reverse();
  assert.ok(faults(bent).includes("btc->book runs backwards"));
  const crossed = laid("a>x b>y");
  for (const { points } of crossed.lines.values()) points.at(-1).y = -points.at(-1).y;
  assert.equal(crossings(crossed), 1);
});
