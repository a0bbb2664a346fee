/**
 * One hop in full: percentiles raw and clean against its budget, what they consist of, its queue, its counts.
 *
 * @module
 */

import { at, attr, el, legend, put, svg } from "./dom.js";
import { depthShare } from "./dag.js";
import { faultOf, judged, level, used } from "./model.js";
import { arrow, grouped, limit, rate, share, span } from "./text.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./model.js").Hop} Hop */

const QUANTILES = /** @type {const} */ ([
  ["p50", "p50"],
  ["p90", "p90"],
  ["p99", "p99"],
  ["p999", "p99.9"],
  ["max", "max"],
]);

/** The panel. */
export class HopPanel {
  #parts;

  /** @param {HTMLElement} host */
  constructor(host) {
    const dots = (/** @type {string} */ of) =>
      QUANTILES.map(([key]) => [
        key,
        svg("circle", { class: of, cy: of === "raw" ? "1.1em" : "2.4em", r: key === "p99" ? "0.36em" : "0.23em" }),
      ]);
    const row = (/** @type {string} */ name) => ({ name, cells: QUANTILES.map(() => el("td", { class: "n" })) });
    const rows = { clean: row("clean"), raw: row("raw") };
    const spans = ["wait", "service", "sojourn"].map((name) => ({
      name,
      value: el("span", { class: "n" }),
      bar: el("span", { class: `meter ${name}` }, el("i")),
    }));
    const facts = ["now", "deepest", "oldest", "offered", "delivered", "shed", "in host gaps", "touched by the host"].map((name) => [
      name,
      el("dd"),
    ]);
    this.#parts = {
      title: el("h2", { id: "hop-title" }),
      says: el("p", { class: "says" }),
      facts: Object.fromEntries(facts),
      fault: el("p", { class: "fault", hidden: true }),
      terms: el("p", { class: "terms" }),
      dots: { raw: Object.fromEntries(dots("raw")), clean: Object.fromEntries(dots("clean")) },
      lines: {
        raw: svg("line", { class: "raw", y1: "1.1em", y2: "1.1em" }),
        clean: svg("line", { class: "clean", y1: "2.4em", y2: "2.4em" }),
      },
      budget: svg("line", { class: "budget", y1: "0.3em", y2: "3.2em" }),
      grid: svg("g", { class: "scale" }),
      rows,
      spans,
      gauge: el("span", { class: "meter depth" }, el("i")),
    };
    const { title, says, fault, terms, lines, budget, grid } = this.#parts;
    const plot = svg(
      "svg",
      { class: "dots", "aria-hidden": "true" },
      grid,
      budget,
      lines.raw,
      lines.clean,
      ...Object.values(this.#parts.dots.raw),
      ...Object.values(this.#parts.dots.clean),
    );
    const key = legend([
      ["clean", "clean: messages that the host did not touch"],
      ["raw", "raw: all"],
      ["budget", "budget of the P99"],
    ]);
    const table = el(
      "table",
      { class: "figures" },
      el("caption", { class: "hidden", text: "Percentiles of the sojourn" }),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col", text: "sojourn" }),
          ...QUANTILES.map(([, name]) => el("th", { scope: "col", class: "n", text: name })),
        ),
      ),
      el("tbody", {}, ...Object.values(rows).map(({ name, cells }) => el("tr", {}, el("th", { scope: "row", text: name }), ...cells))),
    );
    const parts = el(
      "table",
      { class: "figures parts" },
      el("caption", { text: "P99 of all messages" }),
      el(
        "tbody",
        {},
        ...spans.map(({ name, value, bar }) =>
          el("tr", {}, el("th", { scope: "row", text: name }), el("td", { class: "n" }, value), el("td", {}, bar)),
        ),
      ),
    );
    const list = el("dl", { class: "facts" }, ...facts.map(([name, value]) => el("div", {}, el("dt", { text: name }), value)));
    host.replaceChildren(title, terms, says, fault, plot, key, table, parts, el("h3", { text: "Queue" }), this.#parts.gauge, list);
  }

  /** @param {Model} model @param {Hop | undefined} hop */
  update(model, hop) {
    const { title, says, fault, terms, dots, lines, budget, grid, rows, spans, gauge, facts } = this.#parts;
    if (hop === undefined) {
      put(title, "No hop yet");
      return;
    }
    const node = model.nodes.get(hop.to);
    const ratio = used(hop);
    put(title, arrow(hop.hop));
    put(
      terms,
      [
        hop.capacity === null ? "" : `${grouped(hop.capacity)} slots`,
        hop.policy ? `when full: ${hop.policy.replaceAll("_", " ")}` : "",
        hop.budget === null ? "no budget" : `budget p99 ${limit(hop.budget)}`,
        hop.rate === null ? "" : rate(hop.rate),
      ]
        .filter(Boolean)
        .join(" · "),
    );
    put(says, sentence(hop, node));
    attr(says, "class", `says ${level(ratio)}`);
    attr(fault, "hidden", !node?.fault);
    put(fault, node?.fault ? `${node.id} ${node.status}: ${node.fault}` : "");

    const all = [hop.raw, hop.clean]
      .flatMap((of) => (of === null ? [] : Object.values(of)))
      .concat(hop.budget)
      .filter((ns) => ns !== null && ns > 0);
    const [low, high] = decades(/** @type {number[]} */ (all));
    const place = (/** @type {number} */ ns) => 2 + 96 * Math.max(0, Math.min(1, (Math.log10(Math.max(1, ns)) - low) / (high - low)));
    marks(grid, low, high, place);
    attr(budget, "visibility", hop.budget === null ? "hidden" : null);
    for (const end of ["x1", "x2"]) attr(budget, end, `${at(place(hop.budget ?? 1))}%`);
    for (const of of /** @type {const} */ (["raw", "clean"])) {
      const figures = hop[of];
      for (const [key] of QUANTILES) {
        const ns = figures?.[key] ?? null;
        attr(dots[of][key], "visibility", ns === null ? "hidden" : null);
        attr(dots[of][key], "cx", `${at(place(ns ?? 1))}%`);
      }
      attr(lines[of], "visibility", figures?.p50 === null || figures?.max === null || figures === null ? "hidden" : null);
      attr(lines[of], "x1", `${at(place(figures?.p50 ?? 1))}%`);
      attr(lines[of], "x2", `${at(place(figures?.max ?? 1))}%`);
      QUANTILES.forEach(([key], n) => {
        put(rows[of].cells[n], span(figures?.[key]));
        attr(rows[of].cells[n], "class", `n${key === "p99" && hop.budget !== null && (figures?.p99 ?? 0) > hop.budget ? " over" : ""}`);
      });
    }
    const values = [hop.waitP99, hop.serviceP99, hop.raw.p99];
    const most = Math.max(1, ...values.map((ns) => ns ?? 0));
    spans.forEach(({ value, bar }, n) => {
      put(value, span(values[n]));
      bar.style.setProperty("--part", String((values[n] ?? 0) / most));
    });
    gauge.style.setProperty("--part", String(depthShare(hop.depth, hop.capacity)));
    gauge.style.setProperty("--peak", String(depthShare(hop.depthMax, hop.capacity)));
    put(facts.now, `${grouped(hop.depth)} of ${grouped(hop.capacity)}`);
    put(facts.deepest, grouped(hop.depthMax));
    put(facts.oldest, span(node?.age));
    put(facts.offered, grouped(hop.offered));
    put(facts.delivered, grouped(hop.delivered));
    put(facts.shed, hop.shed > 0 && hop.offered ? `${grouped(hop.shed)} (${share(hop.shed / hop.offered).replace(" ", "\u00a0")})` : grouped(hop.shed));
    attr(facts.shed, "class", hop.shed > 0 ? "over" : null);
    put(facts["in host gaps"], hop.gap === 0 ? "none" : span(hop.gap));
    put(facts["touched by the host"], share(node?.tainted));
  }
}

/** What the figures come to. @param {Hop} hop @param {import("./model.js").Node | undefined} node that it leads to */
function sentence(hop, node) {
  const p99 = judged(hop);
  const ratio = used(hop);
  const blame = node?.culprit ? ` ${faultOf(node)}.` : "";
  if (p99 === null) return `No message has been measured here yet.${blame}`;
  const raw = hop.raw.p99;
  const host = hop.clean?.p99 && raw !== null && raw > 2 * hop.clean.p99 ? ` The host made it ${span(raw)} for all messages together.` : "";
  if (ratio === null) return `P99 is ${span(p99)}; nothing says what it may be.${host}${blame}`;
  const part = share(ratio);
  const is = part.endsWith("×") ? `${part} its budget` : ratio > 1 ? `${share(ratio - 1)} over its budget` : `${part} of its budget`;
  return `P99 is ${span(p99)}, ${is}.${host}${blame}`;
}

/** Whole decades around figures, at least two. @param {number[]} figures @returns {[number, number]} powers of ten */
function decades(figures) {
  if (figures.length === 0) return [3, 6];
  const low = Math.floor(Math.log10(Math.min(...figures)));
  return [low, Math.max(low + 2, Math.ceil(Math.log10(Math.max(...figures))))];
}

/** Draws a scale of decades. @param {SVGElement} grid @param {number} low @param {number} high @param {(ns: number) => number} place */
function marks(grid, low, high, place) {
  const name = `${low} ${high}`;
  if (grid.getAttribute("data-scale") === name) return;
  attr(grid, "data-scale", name);
  // Not more names than a phone has room for.
  const step = Math.ceil((high - low) / 4);
  const children = [];
  for (let power = low; power <= high; power += 1) {
    const x = `${at(place(10 ** power))}%`;
    children.push(svg("line", { x1: x, x2: x, y1: "0.3em", y2: "3.2em" }));
    if ((power - low) % step > 0) continue;
    const anchor = power === low ? "start" : power === high ? "end" : "middle";
    children.push(svg("text", { x, dy: "5.9em", "text-anchor": anchor, text: limit(10 ** power) }));
  }
  grid.replaceChildren(...children);
}
