/**
 * Figures as people read them. Spans are nanoseconds everywhere in the page; what a figure lacks is a dash.
 *
 * @module
 */

const NONE = "–";
const UNITS = /** @type {const} */ ([
  ["ns", 1],
  ["µs", 1e3],
  ["ms", 1e6],
  ["s", 1e9],
]);

/**
 * A span with three digits: `181 ns`, `4.13 µs`, `23.2 ms`. One that was told in whole microseconds has no decimals below ten
 * of them, and nothing of a microsecond is less than one, not none.
 * @param {number | null | undefined} ns
 * @returns {string}
 */
export function span(ns) {
  if (ns === null || ns === undefined) return NONE;
  if (ns === 0) return "<1 µs";
  if (ns < 10_000 && ns % 1000 === 0) return `${ns / 1000} µs`;
  let [unit, scale] = /** @type {[string, number]} */ ([...UNITS[0]]);
  for (const [name, size] of UNITS) if (ns >= size * 0.9995) [unit, scale] = [name, size];
  const value = ns / scale;
  return `${scale === 1 ? Math.round(value) : digits(value)} ${unit}`;
}

/**
 * A limit as somebody wrote it: `100 µs`, not `100.0 µs`.
 * @param {number | null | undefined} ns
 * @returns {string}
 */
export function limit(ns) {
  if (ns === null || ns === undefined) return NONE;
  const [unit, scale] = [...UNITS].reverse().find(([, size]) => ns >= size) ?? UNITS[0];
  return `${Number((ns / scale).toFixed(3))} ${unit}`;
}

/** Three digits. @param {number} value @returns {string} */
function digits(value) {
  return value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0);
}

/**
 * A whole number in groups of three: `1,234,567`.
 * @param {number | null | undefined} count
 * @returns {string}
 */
export function grouped(count) {
  if (count === null || count === undefined) return NONE;
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/**
 * A count where there is little room: `999`, `25.0k`, `1.20M`.
 * @param {number | null | undefined} count
 * @returns {string}
 */
export function short(count) {
  if (count === null || count === undefined) return NONE;
  if (count < 999.5) return count.toFixed(0);
  if (count < 999_500) return `${digits(count / 1e3)}k`;
  return count < 999_500_000 ? `${digits(count / 1e6)}M` : `${digits(count / 1e9)}G`;
}

/** @param {number | null | undefined} perSecond @returns {string} `25.0k/s` */
export function rate(perSecond) {
  return perSecond === null || perSecond === undefined ? NONE : `${short(perSecond)}/s`;
}

/**
 * A ratio in percent: `0.3 %`, `12 %`, `1,240 %`; from twenty on as a factor: `317×`, `9.86k×`.
 * @param {number | null | undefined} ratio
 * @returns {string}
 */
export function share(ratio) {
  if (ratio === null || ratio === undefined || !Number.isFinite(ratio)) return NONE;
  if (ratio >= 20) return `${short(ratio)}×`;
  const percent = ratio * 100;
  if (percent === 0) return "0 %";
  if (percent < 0.05) return "<0.1 %";
  return percent < 9.95 ? `${percent.toFixed(1)} %` : `${grouped(percent)} %`;
}

/**
 * A time that is past: `now`, `12 s ago`, `3 min ago`.
 * @param {number} ms
 * @returns {string}
 */
export function ago(ms) {
  if (ms < 1_000) return "now";
  if (ms < 100_000) return `${Math.floor(ms / 1_000)} s ago`;
  return ms < 6_000_000 ? `${Math.floor(ms / 60_000)} min ago` : `${Math.floor(ms / 3_600_000)} h ago`;
}

/** @param {number} ms since 1970 @returns {string} the time of day, `13:05:59` */
export function clock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

/** A hop's name as it is read. @param {string} hop @returns {string} `a → b` for `a->b` */
export function arrow(hop) {
  return hop.replaceAll("->", " → ");
}
