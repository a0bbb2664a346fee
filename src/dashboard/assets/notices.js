/**
 * What has to be told: errors with their node, gaps, the budget, the end. The newest stand at the top of the page.
 *
 * @module
 */

import { attr, el, put } from "./dom.js";
import { clock } from "./text.js";

/** Notices that stand there before somebody asks for all. */
const FIRST = 3;

const GRADES = { bad: "error", warn: "warning", good: "done" };

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./model.js").Notice} Notice */

/** The list, and what is said aloud. */
export class Notices {
  #section;
  #list;
  #more;
  #count;
  #aloud;
  #on;
  #all = false;
  /** What stands there, by notice. @type {Map<number, any>} */
  #items = new Map();
  /** What was said of each: how often. @type {Map<number, number>} */
  #said = new Map();

  /**
   * @param {{section: HTMLElement, count: HTMLElement, say: HTMLElement, alarm: HTMLElement}} places
   * @param {{show: (node: string) => void, dismiss: (id?: number) => void, again: () => void}} on
   */
  constructor({ section, count, say, alarm }, on) {
    this.#section = section;
    this.#count = count;
    this.#aloud = { say, alarm };
    this.#on = on;
    this.#list = el("ul");
    const toggle = () => {
      this.#all = !this.#all;
      on.again();
    };
    this.#more = el("button", { type: "button", class: "plain", on: { click: toggle } });
    const dismiss = () => {
      on.dismiss();
      this.#count.focus();
    };
    const clear = el("button", { type: "button", class: "plain", text: "Dismiss all", on: { click: dismiss } });
    section.replaceChildren(el("h2", { class: "hidden", text: "Notices" }), this.#list, el("p", { class: "tools" }, this.#more, clear));
  }

  /** @param {Model} model */
  update({ notices }) {
    attr(this.#section, "hidden", notices.length === 0);
    put(this.#count, notices.length === 1 ? "1 notice" : `${notices.length} notices`);
    attr(this.#count, "class", notices.some(({ grade }) => grade === "bad") ? "bad" : notices.length > 0 ? "some" : "none");
    attr(this.#more, "hidden", notices.length <= FIRST);
    put(this.#more, this.#all ? "Show fewer" : `Show all ${notices.length}`);
    attr(this.#more, "aria-expanded", String(this.#all));
    const shown = this.#all ? notices : notices.slice(0, FIRST);
    for (const [id, { item }] of this.#items) {
      if (shown.some((notice) => notice.id === id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    shown.forEach((notice, place) => {
      const parts = this.#items.get(notice.id) ?? this.#item(notice);
      this.#items.set(notice.id, parts);
      put(parts.time, clock(notice.t));
      put(parts.text, worded(notice));
      // Only what stands elsewhere is moved, so that the keyboard stays where it is.
      if (this.#list.children[place] !== parts.item) this.#list.insertBefore(parts.item, this.#list.children[place] ?? null);
    });
    const news = notices.filter(({ id, times }) => this.#said.get(id) !== times);
    for (const { id, times } of news) this.#said.set(id, times);
    this.#speak(
      this.#aloud.alarm,
      news.filter(({ grade }) => grade === "bad"),
    );
    this.#speak(
      this.#aloud.say,
      news.filter(({ grade }) => grade !== "bad"),
    );
    for (const id of this.#said.keys()) if (!notices.some((notice) => notice.id === id)) this.#said.delete(id);
  }

  /** Says all that is new at once, the newest first; of many the first ones. @param {HTMLElement} place @param {Notice[]} news */
  #speak(place, news) {
    if (news.length === 0) return;
    const texts = news.slice(0, FIRST).map((notice) => `${GRADES[notice.grade]}: ${notice.node ? `${notice.node}: ` : ""}${worded(notice)}`);
    put(place, `${texts.join(". ")}${news.length > FIRST ? `. And ${news.length - FIRST} more` : ""}`);
  }

  /** @param {Notice} notice */
  #item({ id, grade, text, node }) {
    const parts = { time: el("time"), text: el("span", { class: "text" }), item: el("li", { class: grade }) };
    const close = () => {
      const next = parts.item.nextElementSibling ?? parts.item.previousElementSibling;
      this.#on.dismiss(id);
      // The keyboard goes to the next one, or back to where notices are counted.
      (next?.querySelector(".close") ?? this.#count).focus();
    };
    parts.item.append(el("span", { class: "grade", text: GRADES[grade] }), parts.time);
    if (node !== null) {
      parts.item.append(
        el("button", { type: "button", class: "node", text: node, title: `Show ${node}`, on: { click: () => this.#on.show(node) } }),
      );
    }
    parts.item.append(
      parts.text,
      el("button", { type: "button", class: "plain close", text: "×", "aria-label": `Dismiss: ${text}`, on: { click: close } }),
    );
    return parts;
  }
}

/** @param {Notice} notice @returns {string} its text, with how often it came */
function worded({ text, times }) {
  return times > 1 ? `${text} (${times} times)` : text;
}
