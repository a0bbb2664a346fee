/**
 * The last two minutes: a row for each hop with its depth and what it shed, one for the host's gaps.
 *
 * A cursor goes along it, by pointer or arrow keys, and the line below says what it stands on.
 *
 * @module
 */

import { at, attr, el, put, svg } from "./dom.js";
import { depthShare } from "./dag.js";
import { WINDOW_MS } from "./model.js";
import { arrow, grouped, short, span } from "./text.js";

/** Rows that are drawn; the table has all hops. */
const ROWS = 24;
/** Size of a strip's own coordinates; it is stretched to fit. Depth stands on `FLOOR`, and below it lies what was shed. */
const [WIDTH, HEIGHT, FLOOR] = [480, 24, 17];
/** Without figures for so long nothing is known: what lies between is left empty. In milliseconds. */
const HOLE_MS = 2_000;
/** Gaps from the least to the most that show a difference, in nanoseconds. */
const [GAP_LEAST, GAP_MOST] = [1e4, 1e9];

/** @typedef {import("./model.js").Model} Model */

/** The timeline. */
export class Timeline {
  #host;
  #select;
  #rows;
  #track;
  #cursor;
  #readout;
  /** @type {Map<string, any>} */
  #strips = new Map();
  /** @type {any} */
  #gaps;
  /** How long ago the cursor stands, in milliseconds. @type {number | null} */
  #at = null;
  /** @type {Model | null} */
  #model = null;

  /** @param {HTMLElement} host @param {(hop: string) => void} select is told which hop was chosen */
  constructor(host, select) {
    this.#host = host;
    this.#select = select;
    this.#rows = el("div", { class: "rows" });
    this.#cursor = el("div", { class: "cursor", hidden: true });
    this.#readout = el("p", { class: "readout" });
    this.#track = el(
      "div",
      {
        class: "overlay",
        role: "slider",
        tabindex: 0,
        "aria-label": "A moment of the last two minutes",
        "aria-valuemin": -120,
        "aria-valuemax": 0,
        "aria-valuenow": 0,
        "aria-valuetext": "now",
        on: {
          pointermove: (event) => this.#point(event),
          pointerdown: (event) => this.#point(event),
          pointerleave: () => this.#to(null),
          keydown: (event) => this.#key(event),
          blur: () => this.#to(null),
          focus: () => this.#to(this.#at ?? 0),
        },
      },
      this.#cursor,
    );
    const axis = el(
      "div",
      { class: "axis", "aria-hidden": "true" },
      ...["−2 min", "−90 s", "−60 s", "−30 s", "now"].map((text) => el("span", { text })),
    );
    host.replaceChildren(el("div", { class: "chart" }, this.#rows, this.#track), axis, this.#readout);
    put(this.#readout, HINT);
  }

  /** Makes the rows anew. @param {Model} model */
  structure(model) {
    this.#strips.clear();
    const shown = [...model.hops.values()].slice(0, ROWS);
    const rows = shown.map(({ hop }) => {
      const strip = {
        depth: svg("path", { class: "depth" }),
        shed: svg("path", { class: "shed" }),
        deepest: el("span", { class: "n figure" }),
        lost: el("span", { class: "n figure" }),
        row: el("div", { class: "row" }),
      };
      strip.row.append(
        el("button", { type: "button", class: "plain", text: arrow(hop), tabindex: -1, on: { click: () => this.#select(hop) } }),
        picture(strip.depth, strip.shed),
        strip.deepest,
        strip.lost,
      );
      this.#strips.set(hop, strip);
      return strip.row;
    });
    const gap = svg("path", { class: "gap" });
    this.#gaps = { gap, longest: el("span", { class: "n figure" }) };
    rows.push(el("div", { class: "row host" }, el("span", { text: "host gaps" }), picture(gap), this.#gaps.longest));
    this.#rows.replaceChildren(
      el(
        "div",
        { class: "row head" },
        el("span"),
        el("span"),
        el("span", { class: "n", text: "deepest" }),
        el("span", { class: "n", text: "shed" }),
      ),
      ...rows,
    );
  }

  /** Draws the present two minutes. @param {Model} model @param {string | null} selected */
  update(model, selected) {
    this.#model = model;
    if (this.#gaps === undefined || model.history.length === 0) return;
    const { history } = model;
    const end = history.times[(history.length - 1) % history.times.length];
    const ticks = history.after(end - WINDOW_MS);
    const x = (/** @type {number} */ tick) => at(WIDTH * (1 - (end - history.times[tick]) / WINDOW_MS));
    for (const [name, strip] of this.#strips) {
      const hop = model.hops.get(name);
      const column = history.hops.get(name);
      attr(strip.row, "class", `row${name === selected ? " shown" : ""}`);
      if (hop === undefined || column === undefined) continue;
      let [shed, peak, lost] = ["", 0, 0];
      const points = [];
      for (const tick of ticks) {
        const here = x(tick);
        points.push({ ms: history.times[tick], x: here, y: at(FLOOR - (FLOOR - 1) * depthShare(column.depth[tick], hop.capacity)) });
        peak = Math.max(peak, column.depth[tick]);
        lost += column.shed[tick];
        if (column.shed[tick] > 0) shed += bar(here, (HEIGHT - FLOOR - 2) / HEIGHT);
      }
      attr(strip.depth, "d", area(points, FLOOR));
      attr(strip.shed, "d", shed);
      put(strip.deepest, short(peak));
      put(strip.lost, short(lost));
      attr(strip.lost, "class", lost > 0 ? "n figure lost" : "n figure");
    }
    let [gaps, longest] = ["", 0];
    for (const tick of ticks) {
      const gap = history.gaps[tick];
      longest = Math.max(longest, gap);
      if (gap > 0) gaps += bar(x(tick), gapShare(gap));
    }
    attr(this.#gaps.gap, "d", gaps);
    put(this.#gaps.longest, longest > 0 ? span(longest) : "none");
    if (this.#at !== null) this.#read();
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const { left, width } = this.#track.getBoundingClientRect();
    this.#to(WINDOW_MS * (1 - Math.max(0, Math.min(1, (event.clientX - left) / width))));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const now = this.#at ?? 0;
    const target = {
      ArrowLeft: now + 1_000,
      ArrowRight: now - 1_000,
      PageUp: now + 10_000,
      PageDown: now - 10_000,
      Home: WINDOW_MS,
      End: 0,
    }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.#to(Math.max(0, Math.min(WINDOW_MS, target)));
  }

  /** Moves the cursor, or takes it away. @param {number | null} ago milliseconds */
  #to(ago) {
    this.#at = ago;
    this.#cursor.hidden = ago === null;
    if (ago === null) {
      put(this.#readout, HINT);
      return;
    }
    this.#cursor.style.setProperty("--at", String(1 - ago / WINDOW_MS));
    // Said where the cursor goes, not whenever there are new figures.
    attr(this.#track, "aria-valuetext", this.#read());
    attr(this.#track, "aria-valuenow", Math.round(-ago / 1000));
  }

  #read() {
    const ago = /** @type {number} */ (this.#at);
    const text = this.#model === null ? "" : moment(this.#model, ago, [...this.#strips.keys()]);
    put(this.#readout, text);
    return text;
  }
}

const HINT = "Depth, logarithmic up to each hop’s capacity; red below it where it shed, amber where the host took the core away.";

/** What was the case a while ago. @param {Model} model @param {number} ago @param {string[]} names of the hops that are drawn */
function moment(model, ago, names) {
  const { history } = model;
  const when = ago < 500 ? "Now" : `${(ago / 1000).toFixed(1)} s ago`;
  if (history.length === 0) return `${when}: nothing was told yet`;
  const end = history.times[(history.length - 1) % history.times.length];
  const near = history
    .after(0)
    .reduce(
      (/** @type {number | undefined} */ best, tick) =>
        best === undefined || Math.abs(end - ago - history.times[tick]) < Math.abs(end - ago - history.times[best]) ? tick : best,
      undefined,
    );
  if (near === undefined || Math.abs(end - ago - history.times[near]) > HOLE_MS) return `${when}: nothing was told`;
  const said = names.flatMap((name) => {
    const column = history.hops.get(name);
    if (column === undefined || (column.depth[near] === 0 && column.shed[near] === 0)) return [];
    return [`${arrow(name)} ${grouped(column.depth[near])} deep${column.shed[near] > 0 ? `, ${grouped(column.shed[near])} shed` : ""}`];
  });
  if (history.gaps[near] > 0) said.push(`host gap ${span(history.gaps[near])}`);
  return `${when}: ${said.length > 0 ? said.join(" · ") : "all hops empty"}`;
}

/**
 * What lies between points and a floor, with a hole where nothing was told.
 * @param {{ ms: number, x: number, y: number }[]} points in their order
 * @param {number} floor
 */
export function area(points, floor) {
  let [path, before] = ["", /** @type {{ ms: number, x: number } | null} */ (null)];
  for (const { ms, x, y } of points) {
    if (before !== null && ms - before.ms > HOLE_MS) {
      path += `L${before.x},${floor}Z`;
      before = null;
    }
    path += before === null ? `M${x},${floor}L${x},${y}` : `L${x},${y}`;
    before = { ms, x };
  }
  return before === null ? "" : `${path}L${before.x},${floor}Z`;
}

/** @param {...any} shapes */
function picture(...shapes) {
  return svg("svg", { class: "strip", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...shapes);
}

/** A bar that stands on the ground. @param {number} x its right end @param {number} height 0 to 1 */
function bar(x, height) {
  return `M${at(Math.max(0, x - 1.5))},${HEIGHT}v${at(-HEIGHT * height)}h1.5V${HEIGHT}Z`;
}

/** @param {number} ns @returns {number} 0 to 1 */
function gapShare(ns) {
  const part = Math.log10(Math.max(GAP_LEAST, ns) / GAP_LEAST) / Math.log10(GAP_MOST / GAP_LEAST);
  return Math.max(0.12, Math.min(1, part));
}
