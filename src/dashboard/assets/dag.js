/**
 * The line as a picture: boxes for nodes, lines for hops, each with its figures.
 *
 * A hop is a button. One of them takes part in the order of the tab key; arrow keys go along the line from there.
 *
 * @module
 */

import { at, attr, el, put, svg } from "./dom.js";
import { layout } from "./layout.js";
import { faultOf, judged, level, used } from "./model.js";
import { arrow, grouped, limit, rate, share, short, span } from "./text.js";

/** Sizes in sixteenths of the root's font size. */
const BOX = { height: 56, pad: 11, least: 124, most: 190 };
const LABEL = { width: 82, height: 64 };
const GAP = { right: 12, down: 26 };
const SPACE = 16;
/** The picture may be this much smaller than its text asks for before it turns; and this much before it scrolls. */
const SHRINK = 0.8;
/** And this much larger where there is nothing else to fill the room with. */
const GROW = 1.3;

/** What a state looks like, where it is not simply running. */
const STATES = /** @type {Record<string, "calm" | "wait" | "bad" | "ended">} */ ({
  run: "calm",
  boot: "wait",
  drain: "wait",
  paused: "wait",
  restarting: "wait",
  failed: "bad",
  aborted: "bad",
  done: "ended",
});

/** @typedef {import("./model.js").Model} Model */

/** The picture. */
export class Dag {
  #host;
  #select;
  /** @type {Map<string, any>} */
  #nodes = new Map();
  /** @type {Map<string, any>} */
  #hops = new Map();
  /** @type {string | null} the hop that the tab key reaches */
  #reach = null;
  #down = false;
  /** Pixels in a sixteenth of the root's font size. */
  #unit = 1;

  /**
   * @param {HTMLElement} host
   * @param {(hop: string) => void} select is told which hop was chosen
   */
  constructor(host, select) {
    this.#host = host;
    this.#select = select;
  }

  /** Draws it anew. @param {Model} model */
  structure(model) {
    const unit = parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
    this.#unit = unit;
    const measure = ruler(unit);
    const boxes = [...model.nodes.values()].map(({ id }) => {
      const width = Math.min(BOX.most * unit, Math.max(BOX.least * unit, measure(id, 650, 13.5) + 2 * BOX.pad * unit));
      return { id, width, height: BOX.height * unit };
    });
    const lines = [...model.hops.values()].map(({ hop, from, to }) => ({
      id: hop,
      from,
      to,
      width: LABEL.width * unit,
      height: LABEL.height * unit,
    }));
    // Whether there is room to go right is decided by the page's width; a picture that goes down shares it with others.
    const page = /** @type {HTMLElement} */ (this.#host.closest("main"));
    page.classList.remove("tall");
    const whole = this.#host.clientWidth || 800;
    let drawn = layout(boxes, lines, { gap: GAP.right * unit, space: SPACE * unit, length: whole });
    this.#down = drawn.width * SHRINK > whole;
    page.classList.toggle("tall", this.#down);
    const room = this.#host.clientWidth || 800;
    if (this.#down) drawn = layout(boxes, lines, { gap: GAP.down * unit, space: SPACE * unit, direction: "down" });
    // Room for the outline of what is marked, and for the tag over a box.
    const pad = { side: 4 * unit, top: 20 * unit };
    const [width, height] = [drawn.width + 2 * pad.side, drawn.height + pad.top + pad.side];
    const scale = Math.max(SHRINK, Math.min(this.#down ? 1 : GROW, room / width));
    const focused = this.#host.contains(document.activeElement) ? this.#reach : null;
    const picture = svg("svg", {
      viewBox: `${-pad.side} ${-pad.top} ${at(width)} ${at(height)}`,
      width: at(width * scale),
      height: at(height * scale),
      class: this.#down ? "down" : null,
      role: "group",
      "aria-label": "The line: hops between its nodes",
      on: { keydown: (event) => this.#key(event) },
    });
    this.#nodes.clear();
    this.#hops.clear();
    const under = svg("g");
    const over = svg("g");
    for (const [id, { label, points, back }] of drawn.lines) {
      const hop = /** @type {import("./model.js").Hop} */ (model.hops.get(id));
      const parts = this.#line(hop, label, points, unit, back);
      under.append(parts.path);
      over.append(parts.group);
      this.#hops.set(id, { ...parts, from: hop.from, to: hop.to, place: label });
    }
    for (const [id, place] of drawn.nodes) {
      const parts = this.#box(id, place, unit, measure);
      over.append(parts.group);
      this.#nodes.set(id, parts);
    }
    picture.append(under, over);
    this.#host.replaceChildren(picture);
    if (this.#reach === null || !this.#hops.has(this.#reach)) this.#reach = [...this.#hops.keys()][0] ?? null;
    if (this.#reach !== null) attr(this.#hops.get(this.#reach).group, "tabindex", 0);
    if (focused !== null && this.#reach !== null) this.#hops.get(this.#reach).group.focus();
  }

  /**
   * Writes the present figures into it.
   * @param {Model} model
   * @param {{selected: string | null, marked: Set<string>}} view the hop that is shown beside it; nodes with a notice
   */
  update(model, { selected, marked }) {
    for (const [id, parts] of this.#nodes) {
      const node = model.nodes.get(id);
      if (node === undefined) continue;
      const into = model.into(id);
      const worst = into.reduce(
        (/** @type {import("./model.js").Hop | undefined} */ most, hop) =>
          most === undefined || (used(hop) ?? -1) > (used(most) ?? -1) ? hop : most,
        undefined,
      );
      const ratio = worst === undefined ? null : used(worst);
      const p99 = worst === undefined ? node.p99 : (judged(worst) ?? node.p99);
      const running = node.status === "run";
      const out = [...model.hops.values()].filter(({ from }) => from === id);
      const flow = out.reduce((sum, hop) => sum + (hop.rate ?? 0), 0);
      put(parts.value, running ? (into.length > 0 ? span(p99) : rate(flow)) : node.status);
      put(parts.share, running && ratio !== null ? share(ratio) : "");
      attr(parts.bar, "width", at(parts.full * Math.min(1, (ratio ?? 0) / 1.25)));
      for (const part of [parts.rail, parts.bar, parts.limit]) attr(part, "visibility", ratio === null ? "hidden" : null);
      attr(parts.tag, "visibility", node.culprit ? null : "hidden");
      attr(parts.mark, "visibility", marked.has(id) || node.fault !== null ? null : "hidden");
      attr(
        parts.group,
        "class",
        [
          "node",
          STATES[node.status] ?? "wait",
          level(ratio),
          node.culprit ? "culprit" : "",
          worst !== undefined && worst.hop === selected ? "shown" : "",
        ].join(" "),
      );
      put(
        parts.title,
        [
          `${id}: ${node.role}, ${node.status}`,
          node.fault ?? "",
          node.culprit ? faultOf(node) : "",
          ratio === null ? "" : `P99 ${span(p99)} of ${limit(worst?.budget)}`,
        ]
          .filter(Boolean)
          .join("\n"),
      );
    }
    const most = Math.max(1, ...[...model.hops.values()].map((hop) => hop.rate ?? 0));
    for (const [id, parts] of this.#hops) {
      const hop = model.hops.get(id);
      if (hop === undefined) continue;
      const fill = depthShare(hop.depth, hop.capacity);
      const peak = depthShare(hop.depthMax, hop.capacity);
      put(parts.rate, rate(hop.rate));
      put(parts.depth, hop.depth === null ? "" : `${short(hop.depth)} deep`);
      put(parts.shed, hop.shed > 0 ? `${short(hop.shed)} shed` : "");
      attr(parts.plate, "height", at((hop.shed > 0 ? 53 : 42) * this.#unit));
      attr(parts.fill, "width", at(parts.full * fill));
      attr(parts.peak, "x", at(parts.left + parts.full * peak));
      attr(parts.peak, "visibility", peak > 0 ? null : "hidden");
      const toCulprit = model.nodes.get(hop.to)?.culprit === true;
      const classes = [level(used(hop)), hop.shed > 0 ? "sheds" : "", toCulprit ? "culprit" : "", id === selected ? "shown" : ""].join(" ");
      attr(parts.group, "class", `hop ${classes}`);
      attr(parts.path, "class", `way ${classes}`);
      // Thicker where more goes: the most is 3, a thousandth of it 1.
      const thick = 1 + (2 * Math.max(0, 3 + Math.log10(Math.max(1e-9, (hop.rate ?? 0) / most)))) / 3;
      attr(parts.path, "stroke-width", at(thick * this.#unit));
      attr(parts.group, "aria-pressed", id === selected ? "true" : "false");
      // A name that changes under the reader's focus would be read again and again.
      if (document.activeElement !== parts.group) attr(parts.group, "aria-label", words(hop, toCulprit));
    }
  }

  /** Brings a hop into view and gives it the keyboard. @param {string} hop */
  focus(hop) {
    const parts = this.#hops.get(hop);
    if (parts === undefined) return;
    this.#move(hop);
    parts.group.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /**
   * @param {import("./model.js").Hop} hop
   * @param {any} label its place
   * @param {{x: number, y: number}[]} points
   * @param {number} unit
   * @param {boolean} back
   */
  #line(hop, label, points, unit, back) {
    const middle = { x: label.x + label.width / 2, y: label.y + label.height / 2 };
    const d = curve(points, this.#down);
    const tip = points[points.length - 1];
    const [reach, half] = [(back ? -6 : 6) * unit, 3.6 * unit];
    const head = this.#down
      ? `M${at(tip.x)},${at(tip.y)}l${at(-half)},${at(-reach)}h${at(2 * half)}z`
      : `M${at(tip.x)},${at(tip.y)}l${at(-reach)},${at(-half)}v${at(2 * half)}z`;
    const path = svg("g", { class: "way" }, svg("path", { d }), svg("path", { class: "head", d: head }));
    const full = (LABEL.width - 20) * unit;
    const left = middle.x - full / 2;
    const y = middle.y - 2.5 * unit;
    const text = (/** @type {string} */ name, /** @type {number} */ offset) =>
      svg("text", { class: name, x: at(middle.x), y: at(middle.y + offset * unit), "text-anchor": "middle", "font-size": at(11 * unit) });
    const parts = {
      path,
      full,
      left,
      plate: svg("rect", { class: "plate", x: at(label.x), y: at(middle.y - 22 * unit), width: at(label.width), rx: at(5 * unit) }),
      rate: text("rate", -8),
      depth: text("depth", 14),
      shed: text("shed", 26),
      fill: svg("rect", { class: "fill", x: at(left), y: at(y), width: 0, height: at(5 * unit), rx: at(2.5 * unit) }),
      peak: svg("rect", { class: "peak", x: at(left), y: at(y - unit), width: at(1.5 * unit), height: at(7 * unit) }),
      group: svg("g", {
        role: "button",
        tabindex: -1,
        class: "hop",
        "data-hop": hop.hop,
        on: { click: () => this.#choose(hop.hop), focus: () => this.#reaches(hop.hop) },
      }),
    };
    parts.group.append(
      svg("path", { class: "reach", d }),
      parts.plate,
      svg("rect", { class: "track", x: at(left), y: at(y), width: at(full), height: at(5 * unit), rx: at(2.5 * unit) }),
      parts.fill,
      parts.peak,
      parts.rate,
      parts.depth,
      parts.shed,
      svg("title", { text: `${arrow(hop.hop)}${back ? ", against the direction" : ""}` }),
    );
    return parts;
  }

  /** @param {string} id @param {any} place @param {number} unit @param {(text: string, weight: number, size: number) => number} measure */
  #box(id, place, unit, measure) {
    const { x, y, width, height } = place;
    const [pad, right] = [x + BOX.pad * unit, x + width - BOX.pad * unit];
    const full = width - 2 * BOX.pad * unit;
    // Beside the line that comes from above.
    const tag = x + (this.#down ? 31 * unit : width / 2);
    let name = id;
    while (name.length > 3 && measure(`${name}…`, 650, 13.5) > full) name = name.slice(0, -1);
    const parts = {
      full,
      value: svg("text", { class: "value", x: at(pad), y: at(y + 36 * unit), "font-size": at(12 * unit) }),
      share: svg("text", { class: "share", x: at(right), y: at(y + 36 * unit), "text-anchor": "end", "font-size": at(11 * unit) }),
      rail: svg("rect", { class: "rail", x: at(pad), y: at(y + 44 * unit), width: at(full), height: at(4 * unit), rx: at(2 * unit) }),
      bar: svg("rect", { class: "bar", x: at(pad), y: at(y + 44 * unit), width: 0, height: at(4 * unit), rx: at(2 * unit) }),
      limit: svg("rect", { class: "limit", x: at(pad + full / 1.25), y: at(y + 42 * unit), width: at(1.5 * unit), height: at(8 * unit) }),
      title: svg("title"),
      tag: svg(
        "g",
        { class: "tag", visibility: "hidden" },
        svg("rect", {
          x: at(tag - 27 * unit),
          y: at(y - 19 * unit),
          width: at(54 * unit),
          height: at(16 * unit),
          rx: at(8 * unit),
        }),
        svg("text", { x: at(tag), y: at(y - 7.3 * unit), "text-anchor": "middle", "font-size": at(11 * unit), text: "culprit" }),
      ),
      mark: svg(
        "g",
        { class: "mark", visibility: "hidden" },
        svg("circle", { cx: at(x + width - 2 * unit), cy: at(y + 2 * unit), r: at(8 * unit) }),
        svg("text", { x: at(x + width - 2 * unit), y: at(y + 6.2 * unit), "text-anchor": "middle", "font-size": at(12 * unit), text: "!" }),
      ),
      group: svg("g", { class: "node", role: "img", "data-node": id, on: { click: () => this.#into(id) } }),
    };
    parts.group.append(
      svg("rect", { class: "body", x: at(x), y: at(y), width: at(width), height: at(height), rx: at(7 * unit) }),
      svg("rect", {
        class: "stripe",
        x: at(x),
        y: at(y + 7 * unit),
        width: at(3.5 * unit),
        height: at(height - 14 * unit),
        rx: at(1.75 * unit),
      }),
      svg("text", { class: "name", x: at(pad), y: at(y + 20 * unit), "font-size": at(13.5 * unit), text: name === id ? id : `${name}…` }),
      parts.value,
      parts.share,
      parts.rail,
      parts.bar,
      parts.limit,
      parts.tag,
      parts.mark,
      parts.title,
    );
    return parts;
  }

  /** A node was chosen: shows the hop into it, or out of it. @param {string} id */
  #into(id) {
    const all = [...this.#hops];
    const [hop] = all.find(([, { to }]) => to === id) ?? all.find(([, { from }]) => from === id) ?? [];
    if (hop !== undefined) this.#choose(hop);
  }

  /** @param {string} hop */
  #choose(hop) {
    this.#reaches(hop);
    this.#select(hop);
  }

  /** From now on the tab key reaches this hop. @param {string} hop */
  #reaches(hop) {
    const before = this.#reach === null ? undefined : this.#hops.get(this.#reach);
    if (before !== undefined) attr(before.group, "tabindex", -1);
    this.#reach = hop;
    attr(this.#hops.get(hop).group, "tabindex", 0);
  }

  /** @param {string | undefined} hop */
  #move(hop) {
    if (hop === undefined) return;
    this.#reaches(hop);
    this.#hops.get(hop).group.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const now = this.#reach === null ? undefined : this.#hops.get(this.#reach);
    if (now === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = [...this.#hops];
    const [next, back, after, before] = this.#down
      ? ["ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft"]
      : ["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp"];
    // Side by side: by layer, then by place in it.
    const order = all
      .map(([id, { place }]) => ({ id, along: this.#down ? place.y : place.x, across: this.#down ? place.x : place.y }))
      .sort((a, b) => a.along - b.along || a.across - b.across)
      .map(({ id }) => id);
    const place = order.indexOf(/** @type {string} */ (this.#reach));
    const target = {
      [next]: () => all.find(([, { from }]) => from === now.to)?.[0],
      [back]: () => all.find(([, { to }]) => to === now.from)?.[0],
      [after]: () => order[place + 1],
      [before]: () => order[place - 1],
      Home: () => order[0],
      End: () => order[order.length - 1],
    }[event.key];
    if (target !== undefined) this.#move(target());
    else if (event.key === "Enter" || event.key === " ") this.#select(/** @type {string} */ (this.#reach));
    else return;
    event.preventDefault();
  }
}

/** What a screen reader says of a hop. @param {import("./model.js").Hop} hop @param {boolean} toCulprit */
function words(hop, toCulprit) {
  const ratio = used(hop);
  return [
    `Hop from ${hop.from} to ${hop.to}`,
    hop.rate === null ? "" : `${grouped(hop.rate)} messages a second`,
    hop.depth === null ? "" : `${grouped(hop.depth)} of ${grouped(hop.capacity)} deep`,
    judged(hop) === null ? "" : `P99 ${span(judged(hop))}${ratio === null ? "" : `, ${share(ratio)}${ratio < 20 ? " of" : ""} its budget`}`,
    hop.shed > 0 ? `${grouped(hop.shed)} shed` : "",
    toCulprit ? "leads to the culprit" : "",
  ]
    .filter(Boolean)
    .join(", ");
}

/**
 * How full a hop looks: logarithmic, since a handful of thousands of slots is where it begins to matter.
 * @param {number | null} depth
 * @param {number | null} capacity
 * @returns {number} 0 to 1
 */
export function depthShare(depth, capacity) {
  if (!depth || !capacity) return 0;
  return Math.min(1, Math.log2(1 + depth) / Math.log2(1 + capacity));
}

/** A curve through points that are straight in pairs. @param {{x: number, y: number}[]} points @param {boolean} down */
function curve(points, down) {
  let d = `M${at(points[0].x)},${at(points[0].y)}`;
  for (let n = 1; n < points.length; n += 1) {
    const [p, q] = [points[n - 1], points[n]];
    const [px, py, qx, qy] = [p.x, p.y, q.x, q.y].map(at);
    if (px === qx || py === qy) d += `L${qx},${qy}`;
    else if (down) d += `C${px},${at((p.y + q.y) / 2)} ${qx},${at((p.y + q.y) / 2)} ${qx},${qy}`;
    else d += `C${at((p.x + q.x) / 2)},${py} ${at((p.x + q.x) / 2)},${qy} ${qx},${qy}`;
  }
  return d;
}

/** Measures text as the picture shows it. @param {number} unit @returns {(text: string, weight: number, size: number) => number} pixels */
function ruler(unit) {
  const context = el("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily;
  return (text, weight, size) => {
    context.font = `${weight} ${size * unit}px ${family}`;
    return context.measureText(text).width;
  };
}
