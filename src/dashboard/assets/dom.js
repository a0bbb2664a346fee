/**
 * Elements, made and changed without markup in strings: what a server says never becomes markup.
 *
 * @module
 */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Record<string, string | number | boolean | null | undefined | Record<string, (event: any) => void>>} Props */

/**
 * An HTML element. `text` is its text, `on` its listeners; null, undefined and false leave an attribute out.
 * @param {string} name
 * @param {Props} [props]
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function el(name, props = {}, ...children) {
  return dress(document.createElement(name), props, children);
}

/**
 * An SVG element, as `el`.
 * @param {string} name
 * @param {Props} [props]
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function svg(name, props = {}, ...children) {
  return dress(document.createElementNS(SVG, name), props, children);
}

/** @param {Element} node @param {Props} props @param {(Node | string)[]} children */
function dress(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") for (const [type, listener] of Object.entries(/** @type {any} */ (value))) node.addEventListener(type, listener);
    else if (name === "text") node.textContent = String(value);
    else attr(node, name, /** @type {any} */ (value));
  }
  node.append(...children);
  return node;
}

/** Sets an attribute, or takes it away; touches the page only if it changes. */
export function attr(
  /** @type {Element} */ node,
  /** @type {string} */ name,
  /** @type {string | number | boolean | null | undefined} */ value,
) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/** Sets the text; touches the page only if it changes. */
export function put(/** @type {Element} */ node, /** @type {string} */ text) {
  if (node.textContent !== text) node.textContent = text;
}

/** What colours and shapes mean. @param {[string, string][]} items the class of each key, and its words @returns {any} */
export function legend(items) {
  return el("p", { class: "legend" }, ...items.map(([name, text]) => el("span", {}, el("i", { class: `key ${name}` }), text)));
}

/** A number with two decimals at most, for coordinates. @param {number} value @returns {number} */
export function at(value) {
  return Math.round(value * 100) / 100;
}

/** @param {string} id @returns {any} the element of the page with this id */
export function byId(id) {
  return /** @type {any} */ (document.getElementById(id));
}
