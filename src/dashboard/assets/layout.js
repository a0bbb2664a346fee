/**
 * Where the boxes and lines of a DAG go: in layers, after Sugiyama, Tagawa and Toda (1981).
 *
 * Between two layers of nodes lies one of labels, so that each line has a straight piece of its own that a label may stand on;
 * lines over several layers have a place in each, so none crosses a box. Deterministic: the same graph gives the same picture.
 *
 * @module
 */

/**
 * @typedef {object} Options
 * @property {"right" | "down"} [direction] where lines go
 * @property {number} [gap] least space between two layers
 * @property {number} [space] least space between two neighbours of a layer
 * @property {number} [length] length to fill along the direction; gaps grow up to three times for it
 */

/** @typedef {{id: string, width: number, height: number}} Box */
/** @typedef {Box & {from: string, to: string}} Line width and height are its label's */
/** @typedef {{x: number, y: number, width: number, height: number}} Place of the upper left corner, and size */
/** @typedef {{x: number, y: number}} Point */

/**
 * @typedef {object} Layout
 * @property {number} width
 * @property {number} height
 * @property {Map<string, Place & {layer: number}>} nodes
 * @property {Map<string, {label: Place, points: Point[], back: boolean}>} lines `points`: from box to box; consecutive ones are
 *   joined by a curve that leaves and arrives along the direction. `back`: it closes a cycle and is drawn against the direction
 */

/**
 * An item of a layer: a box, a label, or the place where a line passes.
 * @typedef {object} Item
 * @property {number} layer
 * @property {number} length along the direction
 * @property {number} breadth across it
 * @property {number} at centre across the direction
 * @property {number} order
 * @property {boolean} bends whether a line bends here
 * @property {Item[]} before
 * @property {Item[]} after
 */

/**
 * Lays out a graph. Lines from or to nodes that are not there, and from a node to itself, are left out.
 * @param {Box[]} boxes
 * @param {Line[]} lines
 * @param {Options} [options]
 * @returns {Layout}
 */
export function layout(boxes, lines, { direction = "right", gap = 24, space = 18, length = 0 } = {}) {
  const down = direction === "down";
  const known = new Set(boxes.map(({ id }) => id));
  const usable = lines.filter(({ from, to }) => from !== to && known.has(from) && known.has(to));
  const { ranks, back } = rank(
    boxes.map(({ id }) => id),
    usable,
  );
  /** @param {Box} box @param {number} layer @returns {Item} */
  const item = (box, layer) => ({
    layer,
    length: down ? box.height : box.width,
    breadth: down ? box.width : box.height,
    at: 0,
    order: 0,
    bends: false,
    before: [],
    after: [],
  });

  /** @type {Item[][]} */
  const layers = [];
  const put = (/** @type {Item} */ placed) => {
    (layers[placed.layer] ??= []).push(placed);
    return placed;
  };
  /** @type {Map<string, Item>} */
  const nodes = new Map();
  for (const box of boxes) nodes.set(box.id, put(item(box, 2 * /** @type {number} */ (ranks.get(box.id)))));
  /** @type {Map<string, {items: Item[], label: Item}>} */
  const ways = new Map();
  for (const line of usable) {
    const reversed = back.has(line.id);
    const first = /** @type {Item} */ (nodes.get(reversed ? line.to : line.from));
    const last = /** @type {Item} */ (nodes.get(reversed ? line.from : line.to));
    // The label stands in the middle, on a layer of labels.
    const span = (last.layer - first.layer) / 2;
    const middle = first.layer + 1 + 2 * Math.floor((span - 1) / 2);
    const items = [first];
    let label = first;
    for (let layer = first.layer + 1; layer < last.layer; layer += 1) {
      const here = put(item(layer === middle ? line : { id: "", width: 0, height: 0 }, layer));
      here.bends = true;
      if (layer === middle) label = here;
      items.push(here);
    }
    items.push(last);
    for (let at = 1; at < items.length; at += 1) {
      items[at - 1].after.push(items[at]);
      items[at].before.push(items[at - 1]);
    }
    ways.set(line.id, { items, label });
  }
  for (let layer = 0; layer < layers.length; layer += 1) layers[layer] ??= [];

  arrange(layers);
  spread(layers, space);
  return draw({ boxes, usable, nodes, ways, layers, back, down, gap, length });
}

// --------------------------------------------------------------------------------------------------------------- ranks

/**
 * The layer of each node: the longest way to it, and a source next to what it feeds. Lines that close a cycle do not count.
 * @param {string[]} ids
 * @param {Line[]} lines
 */
function rank(ids, lines) {
  /** @type {Map<string, Line[]>} */
  const out = new Map(ids.map((id) => [id, []]));
  for (const line of lines) out.get(line.from)?.push(line);
  /** @type {Set<string>} */
  const back = new Set();
  /** @type {Map<string, "open" | "done">} */
  const state = new Map();
  /** @type {string[]} */
  const order = [];
  for (const id of ids) {
    if (state.has(id)) continue;
    // Depth first, without recursion: a line may be long.
    const stack = [{ id, next: 0 }];
    state.set(id, "open");
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const line = /** @type {Line[]} */ (out.get(top.id))[top.next];
      if (line === undefined) {
        state.set(top.id, "done");
        order.push(top.id);
        stack.pop();
        continue;
      }
      top.next += 1;
      const seen = state.get(line.to);
      if (seen === "open") back.add(line.id);
      else if (seen === undefined) {
        state.set(line.to, "open");
        stack.push({ id: line.to, next: 0 });
      }
    }
  }
  const forward = lines.map((line) => (back.has(line.id) ? { from: line.to, to: line.from } : { from: line.from, to: line.to }));
  /** @type {Map<string, string[]>} */
  const next = new Map(ids.map((id) => [id, []]));
  /** @type {Set<string>} */
  const fed = new Set();
  for (const { from, to } of forward) {
    next.get(from)?.push(to);
    fed.add(to);
  }
  const ranks = new Map(ids.map((id) => [id, 0]));
  order.reverse();
  // A reversed line may run against this order; then it settles in some more rounds, at most as many as there are nodes.
  for (let changed = true, round = 0; changed && round <= ids.length; round += 1) {
    changed = false;
    for (const id of order) {
      for (const to of /** @type {string[]} */ (next.get(id))) {
        const least = /** @type {number} */ (ranks.get(id)) + 1;
        if (/** @type {number} */ (ranks.get(to)) < least) {
          ranks.set(to, least);
          changed = true;
        }
      }
    }
  }
  for (const id of ids) {
    const fedBy = /** @type {string[]} */ (next.get(id)).map((to) => /** @type {number} */ (ranks.get(to)));
    if (!fed.has(id) && fedBy.length > 0) ranks.set(id, Math.min(...fedBy) - 1);
  }
  return { ranks, back };
}

// --------------------------------------------------------------------------------------------------------------- order

/** How often the layers are swept for fewer crossings; more changed nothing on random graphs of 60 nodes. */
const SWEEPS = 12;

/** Orders each layer so that few lines cross: means of neighbours, swept to and fro; the best order of all is kept. */
function arrange(/** @type {Item[][]} */ layers) {
  const number = () =>
    layers.forEach((layer) =>
      layer.forEach((item, at) => {
        item.order = at;
      }),
    );
  number();
  let best = layers.map((layer) => [...layer]);
  let fewest = crossings(layers);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep += 1) {
    const forth = sweep % 2 === 0;
    const side = forth ? "before" : "after";
    for (const layer of forth ? layers : [...layers].reverse()) {
      const mean = new Map(
        layer.map((item) => {
          const others = item[side];
          return [item, others.length === 0 ? item.order : others.reduce((sum, other) => sum + other.order, 0) / others.length];
        }),
      );
      layer.sort((a, b) => /** @type {number} */ (mean.get(a)) - /** @type {number} */ (mean.get(b)) || a.order - b.order);
      layer.forEach((item, at) => {
        item.order = at;
      });
    }
    const now = crossings(layers);
    if (now < fewest) {
      fewest = now;
      best = layers.map((layer) => [...layer]);
    }
  }
  layers.forEach((layer, at) => layer.splice(0, layer.length, ...best[at]));
  number();
}

/** Pairs of lines that cross between neighbouring layers. @param {Item[][]} layers @returns {number} */
function crossings(layers) {
  let count = 0;
  for (const layer of layers) {
    /** @type {number[]} ends so far, sorted */
    const ends = [];
    for (const item of layer) {
      const own = item.after.map(({ order }) => order).sort((a, b) => a - b);
      for (const end of own) count += ends.length - upper(ends, end);
      for (const end of own) ends.splice(upper(ends, end), 0, end);
    }
  }
  return count;
}

/** How many of a sorted list are at most `value`. @param {number[]} sorted @param {number} value */
function upper(sorted, value) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// --------------------------------------------------------------------------------------------------------------- places

/** Rounds of `spread`: each takes neighbours nearer to one line. */
const ROUNDS = 16;

/** Gives each item its place across the direction: near its neighbours, in order, and never nearer than `space`. */
function spread(/** @type {Item[][]} */ layers, /** @type {number} */ space) {
  for (const layer of layers)
    settle(
      layer,
      layer.map(() => ({ wish: 0, weight: 1 })),
      space,
    );
  for (let round = 0; round < ROUNDS; round += 1) {
    const forth = round % 2 === 0;
    for (const layer of forth ? layers : [...layers].reverse()) {
      const wishes = layer.map((item) => {
        const sides = round < ROUNDS / 2 ? (forth ? item.before : item.after) : [...item.before, ...item.after];
        if (sides.length === 0) return { wish: item.at, weight: 0.1 };
        let [sum, weight] = [0, 0];
        for (const other of sides) {
          // Long lines are straight before anything else is.
          const pull = item.bends && other.bends ? 8 : item.bends || other.bends ? 2 : 1;
          sum += other.at * pull;
          weight += pull;
        }
        return { wish: sum / weight, weight };
      });
      settle(layer, wishes, space);
    }
  }
}

/**
 * The places nearest to the wishes, by weighted squares, that keep order and distance: isotonic regression by pooling.
 * @param {Item[]} layer
 * @param {{wish: number, weight: number}[]} wishes
 * @param {number} space
 */
function settle(layer, wishes, space) {
  /** @type {number[]} */
  const shifts = [];
  let shift = 0;
  layer.forEach((item, at) => {
    if (at > 0) shift += (layer[at - 1].breadth + item.breadth) / 2 + space;
    shifts.push(shift);
  });
  /** @type {{mean: number, weight: number, count: number}[]} */
  const pools = [];
  wishes.forEach(({ wish, weight }, at) => {
    let pool = { mean: wish - shifts[at], weight, count: 1 };
    while (pools.length > 0 && pools[pools.length - 1].mean >= pool.mean) {
      const last = /** @type {typeof pool} */ (pools.pop());
      const total = last.weight + pool.weight;
      pool = { mean: (last.mean * last.weight + pool.mean * pool.weight) / total, weight: total, count: last.count + pool.count };
    }
    pools.push(pool);
  });
  let at = 0;
  for (const { mean, count } of pools) {
    for (let n = 0; n < count; n += 1, at += 1) layer[at].at = mean + shifts[at];
  }
}

/**
 * Turns items into places.
 * @param {{boxes: Box[], usable: Line[], nodes: Map<string, Item>, ways: Map<string, {items: Item[], label: Item}>,
 *   layers: Item[][], back: Set<string>, down: boolean, gap: number, length: number}} all
 * @returns {Layout}
 */
function draw({ boxes, usable, nodes, ways, layers, back, down, gap, length }) {
  const lengths = layers.map((layer) => Math.max(0, ...layer.map((item) => item.length)));
  const natural = lengths.reduce((sum, each) => sum + each, 0) + gap * Math.max(0, layers.length - 1);
  const gaps = Math.max(1, layers.length - 1);
  const wide = gap + Math.min(2 * gap, Math.max(0, (length - natural) / gaps));
  /** @type {number[]} where each layer begins */
  const starts = [];
  let along = 0;
  for (const each of lengths) {
    starts.push(along);
    along += each + wide;
  }
  const all = layers.flat();
  const top = Math.min(0, ...all.map((item) => item.at - item.breadth / 2));
  const bottom = Math.max(0, ...all.map((item) => item.at + item.breadth / 2));
  const [far, across] = [Math.max(0, along - wide), bottom - top];
  const point = (/** @type {number} */ x, /** @type {number} */ y) => (down ? { x: y, y: x } : { x, y });
  const place = (/** @type {Item} */ item) => {
    // A box fills its layer along the direction when lines go right, so that the boxes of a layer are of one width.
    const size = down ? item.length : lengths[item.layer];
    const corner = point(starts[item.layer] + (lengths[item.layer] - size) / 2, item.at - item.breadth / 2 - top);
    return { ...corner, width: down ? item.breadth : size, height: down ? size : item.breadth };
  };
  /** @type {Layout["nodes"]} */
  const placed = new Map();
  for (const { id } of boxes) {
    const item = /** @type {Item} */ (nodes.get(id));
    placed.set(id, { ...place(item), layer: item.layer / 2 });
  }
  /** @type {Layout["lines"]} */
  const drawn = new Map();
  for (const { id } of usable) {
    const { items, label } = /** @type {{items: Item[], label: Item}} */ (ways.get(id));
    /** @type {Point[]} */
    const points = [];
    items.forEach((item, at) => {
      const [start, end, y] = [starts[item.layer], starts[item.layer] + lengths[item.layer], item.at - top];
      if (at > 0) points.push(point(start, y));
      if (at < items.length - 1) points.push(point(end, y));
    });
    drawn.set(id, { label: place(label), points: back.has(id) ? points.reverse() : points, back: back.has(id) });
  }
  return { width: down ? across : far, height: down ? far : across, nodes: placed, lines: drawn };
}
