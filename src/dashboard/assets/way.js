/**
 * The way of one sampled message, hop by hop, and what the slowest of them have in common.
 *
 * @module
 */

import { at, attr, el, legend, put, svg } from "./dom.js";
import { blame } from "./model.js";
import { ago, arrow, grouped, share, span } from "./text.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./model.js").Sample} Sample */

/** Parts of the tail that have a row of their own. */
const PARTS = 6;

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
      ["wait", "waited"],
      ["service", "worked on"],
    ]);
    host.replaceChildren(tools, this.#says, this.#list, key);
  }

  /** @param {Model} model @param {string | null} channel of the samples @param {number} now milliseconds since 1970 */
  update(model, channel, now) {
    const { latest, slowest, hold } = this.#buttons;
    attr(latest, "aria-pressed", String(this.#which === "latest"));
    attr(slowest, "aria-pressed", String(this.#which === "slowest"));
    attr(hold, "aria-pressed", String(this.#held !== null));
    const samples = model.samples.filter(({ ch }) => ch === channel);
    const sample = this.#held ?? this.#pick(samples, now);
    if (sample === undefined) {
      put(
        this.#says,
        channel === null ? "No hop to take messages from yet." : `No message has been sampled at ${arrow(channel.slice(8))} yet.`,
      );
      this.#list.replaceChildren();
      this.#drawn = null;
      return;
    }
    put(
      this.#says,
      `${span(sample.total)} in all, sampled at ${arrow(sample.ch.slice(8))} ${ago(now - sample.t)}${
        this.#held === null && this.#which === "slowest" ? `, the slowest of ${grouped(samples.length)}` : ""
      }`,
    );
    if (sample === this.#drawn) return;
    this.#drawn = sample;
    let before = 0;
    const total = Math.max(1, sample.total);
    const rows = sample.path.map(({ hop, wait, service }) => {
      const part = (/** @type {number} */ ns) => `${at((100 * ns) / total)}%`;
      const row = el(
        "li",
        {},
        el("span", { class: "name", text: arrow(hop) }),
        svg(
          "svg",
          { class: "step", "aria-hidden": "true" },
          svg("rect", { class: "rail", x: 0, y: "45%", width: "100%", height: "10%" }),
          svg("rect", { class: "wait", x: part(before), y: 0, width: part(wait), height: "100%" }),
          svg("rect", { class: "service", x: part(before + wait), y: 0, width: part(service), height: "100%" }),
        ),
        el("span", { class: "n", text: span(wait + service) }),
        el("span", { class: "hidden", text: `: waited ${span(wait)}, worked on for ${span(service)}` }),
      );
      attr(row, "title", `waited ${span(wait)}, worked on for ${span(service)}`);
      before += wait + service;
      return row;
    });
    this.#list.replaceChildren(...rows);
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

/** What the tail is made of. */
export class Tail {
  #says;
  #body;
  /** Samples that were counted when it was drawn last. */
  #newest = 0;
  #channel = /** @type {string | null} */ (null);

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

  /** @param {Model} model @param {string | null} channel of the samples */
  update(model, channel) {
    const samples = model.samples.filter(({ ch }) => ch === channel);
    const newest = samples.at(-1)?.t ?? 0;
    // It changes slowly; twice a second is enough to sort five hundred messages.
    if (channel === this.#channel && Math.abs(newest - this.#newest) < 500) return;
    [this.#channel, this.#newest] = [channel, newest];
    const told = blame(samples);
    if (told === null) {
      put(this.#says, `The tail shows from ten sampled messages on; there are ${samples.length}.`);
      this.#body.replaceChildren();
      return;
    }
    put(
      this.#says,
      told.parts.length === 0
        ? `The slowest tenth of ${grouped(told.events)} messages is no slower than the rest.`
        : `The slowest ${grouped(told.tail)} of ${grouped(told.events)} messages take ${span(Math.round(told.excess))} longer than others:`,
    );
    const shown = told.parts.slice(0, PARTS);
    const rest = told.parts.slice(PARTS).reduce((sum, { ns }) => sum + ns, 0);
    const rows = shown.map(({ hop, part, ns, share: of }) =>
      this.#row(`${arrow(hop)} ${part === "wait" ? "waiting" : "service"}`, part, ns, of),
    );
    if (rest > 0) rows.push(this.#row("all others", "rest", rest, rest / told.excess));
    this.#body.replaceChildren(...rows);
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
