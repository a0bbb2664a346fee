/**
 * The hops as a table: the same as the picture, to read, to sort by eye and to hear.
 *
 * @module
 */

import { attr, el, put } from "./dom.js";
import { faultOf, judged, level, used } from "./model.js";
import { arrow, grouped, limit, rate, share, short, span } from "./text.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./model.js").Hop} Hop */
/** @typedef {import("./model.js").Beyond} Beyond */

/** Places of the columns that a hop beyond the line has figures for: the percentiles and the budget. */
const OF_BEYOND = [1, 2, 3, 5];

/** What they are, for whoever points at them. @type {Record<string, string>} */
const WAYS = {
  "edge.queue": "from when the edge has an event until a client's socket has it, by samples of all clients",
  "edge.wire": "from there until a client has it, by the clients' clocks",
  "client.paint": "from there until it is on the screen",
};

/** The P99 that counts, and whether it is one of all messages. @param {Hop} hop */
function clean(hop) {
  const p99 = span(judged(hop));
  return hop.clean?.p99 != null || judged(hop) === null ? p99 : `${p99} raw`;
}

/**
 * Columns: heading, class, figure. `wide` and `mid` give way on narrow screens.
 * @type {[string, string, string, (hop: Hop) => string][]}
 */
const COLUMNS = [
  ["msg/s", "mid", "messages a second", (hop) => rate(hop.rate).replace("/s", "")],
  ["p50", "wide", "half of all messages take at most this long", (hop) => span(hop.raw.p50)],
  ["p99", "mid", "of all messages", (hop) => span(hop.raw.p99)],
  ["p99.9", "wide", "of all messages", (hop) => span(hop.raw.p999)],
  ["clean p99", "strong", "of the messages that the host did not touch; raw, of all, where that is not known", clean],
  ["budget", "mid", "of the P99", (hop) => limit(hop.budget)],
  ["depth", "", "messages that wait now", (hop) => short(hop.depth)],
  ["deepest", "wide", "most that waited at once", (hop) => short(hop.depthMax)],
  ["shed", "sheds", "since the start", (hop) => (hop.shed > 0 ? short(hop.shed) : "0")],
];

/** The table. */
export class Hops {
  #body;
  #select;
  /** @type {Map<string, any>} */
  #rows = new Map();
  /** Rows of the hops beyond the line. @type {Map<string, any>} */
  #beyond = new Map();

  /** @param {HTMLTableElement} table @param {(hop: string) => void} select is told which hop was chosen */
  constructor(table, select) {
    this.#select = select;
    this.#body = el("tbody");
    const heads = COLUMNS.map(([name, classes, meaning]) => el("th", { scope: "col", class: `n ${classes}`, title: meaning, text: name }));
    heads.splice(6, 0, el("th", { scope: "col", class: "used", title: "how much of its budget the P99 uses", text: "used" }));
    table.append(el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "hop" }), ...heads)), this.#body);
  }

  /** Makes the rows anew. @param {Model} model */
  structure(model) {
    const held = [...this.#rows].find(([, { button }]) => button === document.activeElement)?.[0];
    this.#rows.clear();
    for (const hop of model.hops.values()) {
      const cells = COLUMNS.map(([, classes]) => el("td", { class: `n ${classes}` }));
      const button = el("button", { type: "button", class: "plain", text: arrow(hop.hop) });
      const ratio = el("span", { class: "ratio" });
      const bar = el("span", { class: "meter" }, el("i"));
      const head = el("th", { scope: "row" }, button);
      const row = el(
        "tr",
        { on: { click: () => this.#select(hop.hop) } },
        head,
        ...cells.slice(0, 6),
        el("td", { class: "used" }, bar, ratio),
        ...cells.slice(6),
      );
      this.#rows.set(hop.hop, { row, cells, button, ratio, bar });
    }
    this.#beyond.clear();
    for (const { hop } of model.beyond.values()) {
      const cells = COLUMNS.map(([, classes]) => el("td", { class: `n ${classes}` }));
      const ratio = el("span", { class: "ratio" });
      const bar = el("span", { class: "meter" }, el("i"));
      const head = el("th", { scope: "row", title: WAYS[hop] ?? null, text: hop });
      const row = el("tr", { class: "beyond" }, head, ...cells.slice(0, 6), el("td", { class: "used" }, bar, ratio), ...cells.slice(6));
      this.#beyond.set(hop, { row, cells, ratio, bar });
    }
    this.#body.replaceChildren(...[...this.#rows.values(), ...this.#beyond.values()].map(({ row }) => row));
    if (held !== undefined) this.#rows.get(held)?.button.focus();
  }

  /** Writes the present figures into it. @param {Model} model @param {string | null} selected */
  update(model, selected) {
    // They come with the first figures, behind the structure.
    if (this.#beyond.size !== model.beyond.size) this.structure(model);
    for (const [id, { row, cells, ratio, bar }] of this.#beyond) {
      const hop = /** @type {Hop} */ (model.beyond.get(id));
      for (const n of OF_BEYOND) put(cells[n], COLUMNS[n][3](hop));
      const part = used(hop);
      put(ratio, share(part));
      bar.style.setProperty("--part", String(Math.min(1, part ?? 0)));
      attr(row, "class", `beyond ${level(part)}`);
    }
    for (const [id, { row, cells, button, ratio, bar }] of this.#rows) {
      const hop = model.hops.get(id);
      if (hop === undefined) continue;
      COLUMNS.forEach(([, , , figure], n) => put(cells[n], figure(hop)));
      const part = used(hop);
      put(ratio, share(part));
      bar.style.setProperty("--part", String(Math.min(1, part ?? 0)));
      const node = model.nodes.get(hop.to);
      attr(
        row,
        "class",
        [level(part), hop.shed > 0 ? "sheds" : "", node?.culprit ? "culprit" : "", id === selected ? "shown" : ""].join(" "),
      );
      attr(button, "aria-pressed", id === selected ? "true" : "false");
      attr(button, "title", node?.culprit ? faultOf(node) : null);
      attr(cells[8], "title", hop.shed > 0 ? grouped(hop.shed) : null);
    }
  }
}
