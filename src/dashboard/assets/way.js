/**
 * The way of one sampled message, hop by hop, and what the slowest of them have in common.
 *
 * @module
 */

import { at, attr, el, legend, put, svg } from "./dom.js";
import { blame, over } from "./model.js";
import { ago, arrow, grouped, share, span } from "./text.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./model.js").Sample} Sample */

/** Parts of the tail that have a row of their own. */
const PARTS = 6;

/** What a part of a way is called behind its hop or node. */
const WORDS = { source: "before the first hop", held: "holding it", host: "in host gaps", wait: "waiting", service: "at work" };

/** A waterfall of one message. */
export class Way {
  #says;
  #list;
  #buttons;
  /** @type {"latest" | "slowest"} */
  #which = "latest";
  /** The message that is held. @type {Sample | null} */
  #held = null;
  /** @type {Sample | null} */
  #drawn = null;
  /** The hop that it was drawn for. @type {string | null} */
  #hop = null;
  /** When the last one was picked, in milliseconds since 1970. */
  #picked = 0;
  #again;

  /** @param {HTMLElement} host @param {() => void} again asks for a new drawing */
  constructor(host, again) {
    this.#again = again;
    this.#says = el("p", { class: "terms" });
    this.#list = el("ol", { class: "steps" });
    const button = (/** @type {string} */ text, /** @type {() => void} */ click) => el("button", { type: "button", text, on: { click } });
    this.#buttons = {
      latest: button("Latest", () => this.#choose("latest")),
      slowest: button("Slowest", () => this.#choose("slowest")),
      hold: button("Hold", () => this.#hold()),
    };
    const { latest, slowest, hold } = this.#buttons;
    const tools = el(
      "div",
      { class: "tools" },
      el("span", { role: "group", "aria-label": "Which message", class: "group" }, latest, slowest),
      hold,
    );
    const key = legend([
      ["source", "at its source"],
      ["wait", "waited"],
      ["service", "worked on"],
      ["host", "host gap"],
    ]);
    host.replaceChildren(tools, this.#says, this.#list, key);
  }

  /** @param {Model} model @param {string | null} hop that it has to have passed @param {number} now milliseconds since 1970 */
  update(model, hop, now) {
    const { latest, slowest, hold } = this.#buttons;
    attr(latest, "aria-pressed", String(this.#which === "latest"));
    attr(slowest, "aria-pressed", String(this.#which === "slowest"));
    attr(hold, "aria-pressed", String(this.#held !== null));
    const samples = over(model.samples, hop);
    const sample = this.#held ?? this.#pick(samples, now);
    if (sample === undefined) {
      put(this.#says, hop === null ? "No message has been followed yet." : `No message has been followed over ${arrow(hop)} yet.`);
      this.#list.replaceChildren();
      this.#drawn = null;
      return;
    }
    put(this.#says, this.#words(sample, samples, now));
    if (sample === this.#drawn && hop === this.#hop) return;
    [this.#drawn, this.#hop] = [sample, hop];
    this.#list.replaceChildren(...rows(sample, hop));
  }

  /** @param {Sample} sample @param {Sample[]} samples @param {number} now */
  #words({ t, source, left, together, total, oneIn, steps, parts }, samples, now) {
    const last = steps[parts.at(-1)?.step ?? steps.length - 1].hop.split("->")[1]?.split("#")[0] ?? "";
    return [
      `${span(total)} from ${source}${left ? ` to ${last}` : `, ended in ${last}`}`,
      ago(now - t),
      this.#held === null && this.#which === "slowest" ? `the slowest of ${grouped(samples.length)}` : "",
      together > 1 ? `the slowest of ${grouped(together)} that came at once` : "",
      oneIn !== null && oneIn > 1 ? `one in ${grouped(oneIn)} is followed` : "",
    ]
      .filter(Boolean)
      .join(" · ");
  }

  /** The message to show. @param {Sample[]} samples @param {number} now @returns {Sample | undefined} */
  #pick(samples, now) {
    if (this.#which === "slowest") {
      return samples.reduce(
        (/** @type {Sample | undefined} */ most, one) => (most === undefined || one.total > most.total ? one : most),
        undefined,
      );
    }
    // The latest stays for a second, or nobody could read it.
    if (this.#drawn !== null && now - this.#picked < 1_000 && samples.includes(this.#drawn)) return this.#drawn;
    this.#picked = now;
    return samples.at(-1);
  }

  /** @param {"latest" | "slowest"} which */
  #choose(which) {
    this.#which = which;
    this.#held = null;
    this.#picked = 0;
    this.#again();
  }

  #hold() {
    this.#held = this.#held === null ? this.#drawn : null;
    this.#again();
  }
}

/** A row for the source and for each hop, from when the message was due to its end. @param {Sample} sample @param {string | null} hop */
function rows({ source, steps, parts, total }, hop) {
  const whole = Math.max(1, total, ...steps.map(({ at: from, wait, service }) => from + wait + service));
  const part = (/** @type {number} */ ns) => `${at((100 * ns) / whole)}%`;
  const bar = (/** @type {string} */ of, /** @type {number} */ from, /** @type {number} */ ns) =>
    svg("rect", { class: of, x: part(from), y: 0, width: part(ns), height: "100%" });
  const rail = () => svg("rect", { class: "rail", x: 0, y: "45%", width: "100%", height: "10%" });
  const row = (/** @type {string} */ of, /** @type {string} */ name, /** @type {number} */ ns, /** @type {string} */ words, ...bars) =>
    el(
      "li",
      { class: of, title: words },
      el("span", { class: "name", text: name }),
      svg("svg", { class: "step", "aria-hidden": "true" }, rail(), ...bars),
      el("span", { class: "n", text: ns === 0 ? "none" : span(ns) }),
      el("span", { class: "hidden", text: `: ${words}` }),
    );
  // Beside the way to what ended last, others may have gone.
  const main = new Set(parts.map(({ step }) => step));
  const drawn = steps.map(({ hop: name, at: from, wait, service, gap }, n) => {
    const words = [
      `offered after ${from === 0 ? "no time" : span(from)}`,
      wait === 0 ? "did not wait" : `waited ${span(wait)}`,
      `worked on for ${service === 0 ? "no time" : span(service)}`,
      gap ? `the host had the core for ${span(gap)} of it` : "",
    ];
    return row(
      [main.has(n) ? "" : "beside", name === hop ? "shown" : ""].filter(Boolean).join(" "),
      arrow(name),
      wait + service,
      words.filter(Boolean).join(", "),
      bar("wait", from, wait),
      bar("service", from + wait, service),
      ...(gap ? [svg("rect", { class: "host", x: part(from), y: "82%", width: part(gap), height: "18%" })] : []),
    );
  });
  const first = steps[0].at;
  return [row("", source, first, `offered ${first === 0 ? "at once" : `after ${span(first)}`}`, bar("source", 0, first)), ...drawn];
}

/** What the tail is made of. */
export class Tail {
  #says;
  #body;
  /** Samples that were counted when it was drawn last. */
  #newest = 0;
  #hop = /** @type {string | null} */ (null);

  /** @param {HTMLElement} host */
  constructor(host) {
    this.#says = el("p", { class: "terms" });
    this.#body = el("tbody");
    host.replaceChildren(
      this.#says,
      el(
        "table",
        { class: "figures parts blame" },
        el("caption", { class: "hidden", text: "What takes longer in the slowest tenth" }),
        el(
          "thead",
          { class: "hidden" },
          el("tr", {}, ...["part", "share", "longer by", "share as a bar"].map((text) => el("th", { scope: "col", text }))),
        ),
        this.#body,
      ),
    );
  }

  /** @param {Model} model @param {string | null} hop that the messages have to have passed */
  update(model, hop) {
    const samples = over(model.samples, hop);
    const newest = samples.at(-1)?.t ?? 0;
    // It changes slowly; twice a second is enough to sort five hundred messages.
    if (hop === this.#hop && Math.abs(newest - this.#newest) < 500) return;
    [this.#hop, this.#newest] = [hop, newest];
    const told = blame(samples);
    if (told === null) {
      put(this.#says, `The tail shows from ten followed messages on; there are ${samples.length}.`);
      this.#body.replaceChildren();
      return;
    }
    put(
      this.#says,
      told.parts.length === 0
        ? `The slowest tenth of ${grouped(told.events)} messages is no slower than usual.`
        : `The slowest ${grouped(told.tail)} of ${grouped(told.events)} messages take ${span(Math.round(told.excess))} longer than usual:`,
    );
    const shown = told.parts.slice(0, PARTS);
    const rest = told.parts.slice(PARTS).reduce((sum, { ns }) => sum + ns, 0);
    const lines = shown.map(({ hop: name, part, ns, share: of }) => this.#row(`${arrow(name)} ${WORDS[part]}`, part, ns, of));
    if (rest > 0) lines.push(this.#row("all others", "rest", rest, rest / told.excess));
    this.#body.replaceChildren(...lines);
  }

  /** @param {string} name @param {string} part @param {number} ns @param {number} of */
  #row(name, part, ns, of) {
    const bar = el("span", { class: `meter ${part}` }, el("i"));
    bar.style.setProperty("--part", String(of));
    return el(
      "tr",
      {},
      el("th", { scope: "row", text: name }),
      el("td", { class: "n", text: share(of) }),
      el("td", { class: "n dim", text: span(Math.round(ns)) }),
      el("td", {}, bar),
    );
  }
}
