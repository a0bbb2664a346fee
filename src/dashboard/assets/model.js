/**
 * What the page knows of the line: events go in, figures to draw come out. Nothing here touches the page.
 *
 * All that grows has a bound. Spans are nanoseconds; a server may give a figure as `_ns` or as `_us`.
 *
 * @module
 */

/** Most of everything. */
export const BOUNDS = Object.freeze({
  /** More than anybody scrolls through; the oldest go. */
  NOTICES: 100,
  /** Sampled events, of which the tail is read: the slowest tenth of them are 51. */
  SAMPLES: 512,
  /** Hops on the way of a sampled event: a line has no more nodes. */
  STEPS: 64,
  /** Two minutes of four ticks a second. */
  TICKS: 480,
  /** Nodes and hops beyond these are counted and not shown: a page of so many boxes says nothing. */
  NODES: 500,
  HOPS: 1000,
  /** Hops from the edge to a screen: there are three. */
  BEYOND: 8,
});

/** Below this share of the error budget the page warns. */
export const WARN_BELOW = 0.2;

/** Figures come four times a second. After as long as this without any, what the page shows is old, whatever the connection says. */
const OLD_MS = 5_000;

/** How far back the timeline goes, in milliseconds. */
export const WINDOW_MS = 120_000;

/** @typedef {{p50: number | null, p90: number | null, p99: number | null, p999: number | null, max: number | null}} Percentiles */

/**
 * @typedef {object} Node
 * @property {string} id
 * @property {string} role `source`, `stage` or `sink`
 * @property {number | null} core
 * @property {string} status `boot`, `run`, `drain`, `done`, `failed`, `aborted`, `restarting` or `paused`
 * @property {number | null} p50
 * @property {number | null} p99
 * @property {number | null} budget
 * @property {number | null} depth
 * @property {number | null} age of the oldest message that waits
 * @property {number} shed
 * @property {number | null} tainted share of messages that the host touched
 * @property {boolean} culprit whether it is to blame for what was held back or shed
 * @property {string | null} why what makes it so, in words
 * @property {string | null} fault
 */

/**
 * @typedef {object} Hop
 * @property {string} hop its name
 * @property {string} from
 * @property {string} to
 * @property {number | null} capacity slots
 * @property {string} policy
 * @property {number | null} budget of its P99
 * @property {number | null} rate messages a second
 * @property {number | null} depth
 * @property {number | null} depthMax
 * @property {number} shed since the start
 * @property {number | null} offered
 * @property {number | null} delivered
 * @property {Percentiles} raw of all messages
 * @property {Percentiles | null} clean of those that the host did not touch
 * @property {number | null} waitP99
 * @property {number | null} serviceP99
 * @property {number | null} gap host gaps of the last tick
 */

/**
 * @typedef {object} Step a hop on the way of a message
 * @property {string} hop
 * @property {number | null} after the place of the step that it came from
 * @property {number} at from when the message was due until it was offered
 * @property {number} wait
 * @property {number} service
 * @property {number | null} gap how much of that the host had the core
 */

/**
 * @typedef {object} Sample the way of one message
 * @property {number} t milliseconds since 1970
 * @property {string} id
 * @property {string} source
 * @property {boolean} left whether it has left the line
 * @property {boolean} slowest whether it is told because it was the slowest of a quarter second
 * @property {number} together messages that entered with it, of which it is the slowest
 * @property {number} total
 * @property {number | null} oneIn of so many messages one is followed
 * @property {Step[]} steps in the order in which it was offered
 * @property {PartOf[]} parts what the total consists of
 */

/** @typedef {"source" | "held" | "host" | "wait" | "service"} PartName */

/** @typedef {{hop: string, part: PartName, ns: number, step: number}} PartOf `hop` is a node where a node had it between hops */

/**
 * @typedef {object} Notice
 * @property {number} id
 * @property {number} t milliseconds since 1970, of the last time
 * @property {"bad" | "warn" | "good"} grade
 * @property {string} text
 * @property {string | null} node
 * @property {number} times
 */

/**
 * A hop beyond the line, on the way to a screen such as this one. It has no ring: of what waits and is shed nothing is told.
 * @typedef {Pick<Hop, "hop" | "budget" | "raw" | "clean">} Beyond
 */

/** Figures of the last two minutes: a ring of ticks, a column for each hop. */
export class History {
  /** Milliseconds since 1970. */
  times = new Float64Array(BOUNDS.TICKS);
  /** Host gaps of a tick, the longest of all hops. */
  gaps = new Float64Array(BOUNDS.TICKS);
  /** @type {Map<string, {depth: Float32Array, shed: Float32Array}>} */
  hops = new Map();
  /** Ticks so far; the last one is at `(length - 1) % TICKS`. */
  length = 0;

  /** @param {number} t */
  tick(t) {
    const at = this.length % BOUNDS.TICKS;
    this.length += 1;
    this.times[at] = t;
    this.gaps[at] = 0;
    for (const { depth, shed } of this.hops.values()) depth[at] = shed[at] = 0;
  }

  /** @param {string} hop @param {number} depth @param {number} shed since the last tick @param {number} gap */
  note(hop, depth, shed, gap) {
    let column = this.hops.get(hop);
    if (column === undefined) {
      if (this.hops.size >= BOUNDS.HOPS) return;
      column = { depth: new Float32Array(BOUNDS.TICKS), shed: new Float32Array(BOUNDS.TICKS) };
      this.hops.set(hop, column);
    }
    const at = (this.length - 1) % BOUNDS.TICKS;
    column.depth[at] = depth;
    column.shed[at] = shed;
    this.gaps[at] = Math.max(this.gaps[at], gap);
  }

  /** Indexes of the ticks after `since`, oldest first. @param {number} since milliseconds since 1970 @returns {number[]} */
  after(since) {
    const found = [];
    for (let n = Math.max(0, this.length - BOUNDS.TICKS); n < this.length; n += 1) {
      const at = n % BOUNDS.TICKS;
      if (this.times[at] > since) found.push(at);
    }
    return found;
  }
}

/** @typedef {"structure" | "figures" | "ticks" | "sample" | "notices" | "cost" | "end"} Part */

/** The line as the page knows it. */
export class Model {
  name = "";
  /** @type {Map<string, Node>} */
  nodes = new Map();
  /** @type {Map<string, Hop>} */
  hops = new Map();
  /** The hops beyond the line, in the order of the way. @type {Map<string, Beyond>} */
  beyond = new Map();
  history = new History();
  /** @type {Sample[]} oldest first */
  samples = [];
  /** @type {Notice[]} newest first */
  notices = [];
  /** The latency error budget: shares. @type {{spent: number, budget: number, remaining: number} | null} */
  cost = null;
  /** How the line ended. @type {{cause: string, closed: boolean, delivered: number} | null} */
  end = null;
  /** When the last figures are from, in milliseconds since 1970. @type {number | null} */
  told = null;
  /** Nodes and hops that found no room. */
  unseen = 0;
  /** What has changed since somebody looked. @type {Set<Part>} */
  changed = new Set();
  #notice = 0;

  /** @returns {Set<Part>} what has changed since the last call */
  take() {
    const changed = this.changed;
    this.changed = new Set();
    return changed;
  }

  /** @param {number} now by the server's clock @returns {boolean} whether nothing was told for so long that something is wrong */
  isOld(now) {
    return this.told !== null && this.end === null && now - this.told > OLD_MS;
  }

  /**
   * Takes an event of any channel. What it does not know it leaves alone.
   * @param {Record<string, any>} event
   */
  apply(event) {
    if (typeof event.t === "number") this.told = Math.max(this.told ?? 0, event.t);
    switch (event.type) {
      case "snapshot":
        return this.#snapshot(event.data);
      case "dag_mutated":
        return this.#dag(event);
      case "node_state":
        return this.#node(event);
      case "edge_active":
        return this.#edge(event);
      case "cost_update":
        return this.#cost(event);
      case "hop_stats":
        return this.#stats(event);
      case "sample":
        return this.#sample(event);
      case "error":
        return this.notify(event.temporary ? "warn" : "bad", String(event.message || event.code), event.node_id ?? null, event.t);
      case "execution_complete":
        return this.#complete(event);
      case "gap":
        if (!String(event.ch).startsWith("alerts/")) return undefined;
        return this.notify("warn", `${event.to - event.from + 1} notices are no longer to be had`, null, event.t);
    }
  }

  /**
   * Keeps something to tell. The same again of the same node counts up and moves to the front.
   * @param {Notice["grade"]} grade
   * @param {string} text
   * @param {string | null} [node]
   * @param {number} [t] milliseconds since 1970
   */
  notify(grade, text, node = null, t = Date.now()) {
    const at = this.notices.findIndex((notice) => notice.text === text && notice.node === node);
    const again = at < 0 ? undefined : this.notices.splice(at, 1)[0];
    this.#notice += 1;
    this.notices.unshift({ id: again?.id ?? this.#notice, t, grade, text, node, times: (again?.times ?? 0) + 1 });
    this.notices.length = Math.min(this.notices.length, BOUNDS.NOTICES);
    this.changed.add("notices");
  }

  /** Forgets a notice, or all. @param {number} [id] */
  dismiss(id) {
    this.notices = id === undefined ? [] : this.notices.filter((notice) => notice.id !== id);
    this.changed.add("notices");
  }

  /** Hops that lead to a node. @param {string} id @returns {Hop[]} */
  into(id) {
    return [...this.hops.values()].filter(({ to }) => to === id);
  }

  /**
   * The hop that the page shows where nobody chose one: of those into the culprit, else of all, the one that has used most of
   * its budget; else the first.
   * @returns {Hop | undefined}
   */
  worst() {
    const culprit = [...this.nodes.values()].find((node) => node.culprit);
    const into = culprit === undefined ? [] : this.into(culprit.id);
    const among = into.length > 0 ? into : [...this.hops.values()];
    return among.reduce(
      (/** @type {Hop | undefined} */ worst, hop) => (worst === undefined || (used(hop) ?? -1) > (used(worst) ?? -1) ? hop : worst),
      undefined,
    );
  }

  // ---------------------------------------------------------------------------------------------------------- events

  /** @param {Record<string, any>} data */
  #snapshot(data) {
    // The structure first, so that what hangs on it has its place.
    if (data.dag) this.#dag(data.dag);
    for (const [key, value] of Object.entries(data)) {
      if (key.startsWith("node:")) this.#node(value);
      else if (key.startsWith("edge:")) this.#edge(value);
      else if (key === "cost") this.#cost(value);
    }
  }

  /** @param {Record<string, any>} dag */
  #dag(dag) {
    this.name = String(dag.name ?? this.name);
    const [nodes, hops] = [this.nodes, this.hops];
    [this.nodes, this.hops, this.unseen] = [new Map(), new Map(), 0];
    for (const { id, role, core } of dag.nodes ?? []) {
      const node = this.#nodeOf(String(id), nodes.get(id));
      if (node !== undefined) Object.assign(node, { role: role ?? node.role, core: core ?? null });
    }
    for (const edge of dag.edges ?? []) {
      const name = String(edge.hop ?? `${edge.from}->${edge.to}`);
      const hop = this.#hopOf(name, edge.from, edge.to, hops.get(name));
      if (hop === undefined) continue;
      Object.assign(hop, { capacity: edge.capacity ?? null, policy: edge.policy ?? "", budget: figure(edge, "budget") });
    }
    for (const name of this.history.hops.keys()) if (!this.hops.has(name)) this.history.hops.delete(name);
    this.changed.add("structure");
  }

  /** @param {Record<string, any>} state */
  #node(state) {
    const node = this.#nodeOf(String(state.node_id));
    if (node === undefined) return;
    const { metrics = {} } = state;
    Object.assign(node, {
      role: state.role ?? node.role,
      status: state.status,
      p50: figure(metrics, "p50"),
      p99: figure(metrics, "p99"),
      budget: figure(metrics, "budget"),
      depth: metrics.depth ?? null,
      age: figure(metrics, "age"),
      shed: metrics.shed ?? 0,
      tainted: metrics.tainted === undefined || metrics.tainted === null ? null : metrics.tainted / 1000,
      culprit: state.culprit === true,
      why: state.why ?? null,
      fault: state.fault ?? null,
    });
    this.changed.add("figures");
  }

  /** @param {Record<string, any>} edge */
  #edge(edge) {
    const hop = this.#hopOf(String(edge.hop ?? `${edge.from}->${edge.to}`), edge.from, edge.to);
    if (hop === undefined) return;
    Object.assign(hop, {
      rate: edge.rate ?? null,
      depth: edge.depth ?? null,
      depthMax: edge.depth_max ?? null,
      capacity: edge.capacity ?? hop.capacity,
      budget: figure(edge, "budget") ?? hop.budget,
      shed: edge.shed ?? 0,
    });
    // Statistics, once they come, are of all percentiles together.
    if (hop.offered === null) hop.raw.p99 = figure(edge, "p99") ?? hop.raw.p99;
    this.changed.add("figures");
  }

  /** @param {Record<string, any>} cost */
  #cost(cost) {
    const next = { spent: cost.spent / 1e6, budget: cost.budget / 1e6, remaining: cost.remaining / 1000 };
    const falls = next.remaining < WARN_BELOW && !(this.cost !== null && this.cost.remaining < WARN_BELOW);
    this.cost = next;
    if (falls) this.notify("warn", "Less than a fifth of the latency error budget is left", null, cost.t);
    this.changed.add("cost");
  }

  /** @param {Record<string, any>} stats */
  #stats(stats) {
    this.history.tick(stats.t);
    for (const one of stats.hops ?? []) {
      const name = String(one.hop);
      // A hop of classes has a row for each: `a->b#class`.
      const [from, to] = name.split("#")[0].split("->");
      const hop = this.#hopOf(name, from, to);
      if (hop === undefined) continue;
      const before = hop.offered === null ? one.shed : hop.shedTold;
      Object.assign(hop, {
        raw: percentiles(one.raw ?? {}),
        clean: one.clean ? percentiles(one.clean) : null,
        waitP99: figure(one, "wait_p99"),
        serviceP99: figure(one, "service_p99"),
        depth: one.depth ?? hop.depth,
        depthMax: one.depth_max ?? hop.depthMax,
        shed: one.shed ?? hop.shed,
        shedTold: one.shed ?? 0,
        offered: one.offered ?? 0,
        delivered: one.delivered ?? null,
        gap: figure(one, "gap") ?? 0,
      });
      // A count that falls is another run's.
      const shed = one.shed >= before ? one.shed - before : one.shed;
      this.history.note(name, one.depth_max ?? one.depth ?? 0, shed || 0, hop.gap ?? 0);
    }
    for (const one of stats.beyond ?? []) {
      const hop = String(one.hop);
      if (!this.beyond.has(hop) && this.beyond.size >= BOUNDS.BEYOND) continue;
      this.beyond.set(hop, { hop, budget: figure(one, "budget"), raw: one.samples > 0 ? percentiles(one.raw ?? {}) : percentiles({}), clean: null });
    }
    this.changed.add("ticks");
  }

  /** @param {Record<string, any>} sample */
  #sample(sample) {
    if (!Array.isArray(sample.hops) || sample.hops.length === 0) return;
    const steps = sample.hops.slice(0, BOUNDS.STEPS).map((hop) => ({
      hop: String(hop.hop),
      after: hop.after ?? null,
      at: figure(hop, "at") ?? 0,
      wait: figure(hop, "wait") ?? 0,
      service: figure(hop, "service") ?? 0,
      gap: figure(hop, "gap"),
    }));
    const total = figure(sample, "total") ?? 0;
    const source = String(sample.source ?? "");
    this.samples.push({
      t: sample.t,
      id: String(sample.id),
      source,
      left: sample.left === true,
      slowest: sample.slowest === true,
      together: sample.together ?? 1,
      total,
      oneIn: sample.one_in ?? null,
      steps,
      parts: partsOf(source, steps, total),
    });
    if (this.samples.length > BOUNDS.SAMPLES) this.samples.shift();
    this.changed.add("sample");
  }

  /** @param {Record<string, any>} event */
  #complete({ results = {}, t }) {
    this.end = { cause: String(results.cause ?? "ended"), closed: results.closed === true, delivered: results.delivered ?? 0 };
    const ledger = this.end.closed ? "every message is accounted for" : "its ledger is not closed";
    this.notify(this.end.closed ? "good" : "bad", `The line has ended (${this.end.cause}): ${ledger}`, null, t);
    this.changed.add("end");
  }

  /** @param {string} id @param {Node} [known] @returns {Node | undefined} */
  #nodeOf(id, known) {
    const here = this.nodes.get(id);
    if (here !== undefined) return here;
    if (this.nodes.size >= BOUNDS.NODES) {
      this.unseen += 1;
      return undefined;
    }
    const node = known ?? {
      id,
      role: "stage",
      core: null,
      status: "boot",
      p50: null,
      p99: null,
      budget: null,
      depth: null,
      age: null,
      shed: 0,
      tainted: null,
      culprit: false,
      why: null,
      fault: null,
    };
    this.nodes.set(id, node);
    this.changed.add("structure");
    return node;
  }

  /** @param {string} name @param {string} from @param {string} to @param {Hop} [known] @returns {(Hop & {shedTold: number}) | undefined} */
  #hopOf(name, from, to, known) {
    const here = this.hops.get(name);
    if (here !== undefined) return /** @type {any} */ (here);
    if (this.hops.size >= BOUNDS.HOPS) {
      this.unseen += 1;
      return undefined;
    }
    const hop = known ?? {
      hop: name,
      from: String(from),
      to: String(to),
      capacity: null,
      policy: "",
      budget: null,
      rate: null,
      depth: null,
      depthMax: null,
      shed: 0,
      shedTold: 0,
      offered: null,
      delivered: null,
      raw: percentiles({}),
      clean: null,
      waitP99: null,
      serviceP99: null,
      gap: null,
    };
    this.hops.set(name, hop);
    this.changed.add("structure");
    return /** @type {any} */ (hop);
  }
}

/**
 * A figure in nanoseconds, from `name_ns` or `name_us`.
 * @param {Record<string, any>} from
 * @param {string} name
 * @returns {number | null}
 */
export function figure(from, name) {
  const ns = from[`${name}_ns`];
  if (typeof ns === "number") return ns;
  const us = from[`${name}_us`];
  return typeof us === "number" ? us * 1000 : null;
}

/** @param {Record<string, any>} from @returns {Percentiles} */
function percentiles(from) {
  return {
    p50: figure(from, "p50"),
    p90: figure(from, "p90"),
    p99: figure(from, "p99"),
    p999: figure(from, "p999"),
    max: figure(from, "max"),
  };
}

/**
 * The P99 that a hop is judged by: of the messages that the host did not touch, where that is known.
 * @param {Hop | Beyond} hop
 * @returns {number | null}
 */
export function judged(hop) {
  return hop.clean?.p99 ?? hop.raw.p99;
}

/** How much of its budget a hop's P99 uses; more than 1 is too much. @param {Hop | Beyond} hop @returns {number | null} */
export function used(hop) {
  const p99 = judged(hop);
  return p99 === null || !hop.budget ? null : p99 / hop.budget;
}

/** What a culprit is told for, in a sentence without its stop. @param {Node} node @returns {string} */
export function faultOf({ id, why }) {
  return why === null ? `${id} is to blame for what is held back or shed` : `To blame: ${why.replace(/\.$/, "")}`;
}

/** @typedef {"none" | "low" | "near" | "over"} Level */

/** @param {number | null} ratio of a P99 to its budget @returns {Level} */
export function level(ratio) {
  if (ratio === null) return "none";
  return ratio > 1 ? "over" : ratio >= 0.5 ? "near" : "low";
}

/**
 * What the time of a message consists of: the steps to the one that ended last. What it took in a handler until the next step
 * had it counts, not what the handler did beside that, so that all parts together are the total. What the host took of a step
 * is its own part: of the wait, as long as there is any.
 * @param {string} source
 * @param {Step[]} steps
 * @param {number} total
 * @returns {PartOf[]}
 */
export function partsOf(source, steps, total) {
  const done = (/** @type {Step} */ { at, wait, service }) => at + wait + service;
  let step = steps.findLastIndex((one) => done(one) === total);
  let until = total;
  /** @type {PartOf[]} */
  const parts = [];
  while (step >= 0) {
    const { hop, after, at, wait, service, gap } = steps[step];
    const before = after !== null && after < step ? after : -1;
    const held = Math.max(0, at - (before < 0 ? 0 : done(steps[before])));
    const work = Math.max(0, Math.min(until, at + wait + service) - at - wait);
    const host = Math.min(gap ?? 0, wait + work);
    const waiting = Math.max(0, wait - host);
    parts.push({ hop, part: "service", ns: work - (host - (wait - waiting)), step }, { hop, part: "wait", ns: waiting, step });
    if (host > 0) parts.push({ hop, part: "host", ns: host, step });
    if (before < 0) parts.push({ hop: source, part: "source", ns: held, step });
    else if (held > 0) parts.push({ hop: hop.split("->")[0].split(".")[0], part: "held", ns: held, step });
    [step, until] = [before, at];
  }
  return parts.reverse();
}

/** Samples that passed over a hop; all without one. @param {Sample[]} samples @param {string | null} hop @returns {Sample[]} */
export function over(samples, hop) {
  return hop === null ? samples : samples.filter(({ steps }) => steps.some((step) => step.hop === hop));
}

/**
 * @typedef {object} Blame
 * @property {number} events how many were looked at
 * @property {number} tail how many of them are the slowest tenth
 * @property {number} excess by how much their parts are longer than the usual ones, on average, in nanoseconds
 * @property {{hop: string, part: PartName, ns: number, share: number}[]} parts what that consists of, largest first
 */

/**
 * Where the tail comes from: by how much each part of the way takes longer in the slowest tenth of the events than it usually
 * does, as a share of all that takes longer. Usual is the median of those that were not chosen for being slow.
 * @param {Sample[]} samples
 * @returns {Blame | null} null where there are fewer than ten
 */
export function blame(samples) {
  if (samples.length < 10) return null;
  const sorted = [...samples].sort((a, b) => b.total - a.total);
  const tail = Math.floor(sorted.length / 10);
  const rest = sorted.slice(tail);
  const usual = spans(rest.some(({ slowest }) => !slowest) ? rest.filter(({ slowest }) => !slowest) : rest);
  const longer = [...spans(sorted.slice(0, tail))]
    .map(([key, { hop, part, all }]) => {
      const middle = median(usual.get(key)?.all ?? []);
      return { hop, part, ns: all.reduce((sum, ns) => sum + ns - middle, 0) / tail };
    })
    .filter(({ ns }) => ns > 0)
    .sort((a, b) => b.ns - a.ns);
  const excess = longer.reduce((sum, { ns }) => sum + ns, 0);
  return { events: sorted.length, tail, excess, parts: longer.map((part) => ({ ...part, share: part.ns / excess })) };
}

/** The spans of each part of samples. @param {Sample[]} samples @returns {Map<string, {hop: string, part: PartName, all: number[]}>} */
function spans(samples) {
  const found = new Map();
  for (const { parts } of samples) {
    for (const { hop, part, ns } of parts) {
      const key = `${hop} ${part}`;
      const one = found.get(key) ?? { hop, part, all: [] };
      one.all.push(ns);
      found.set(key, one);
    }
  }
  return found;
}

/** @param {number[]} values @returns {number} 0 of none */
function median(values) {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
