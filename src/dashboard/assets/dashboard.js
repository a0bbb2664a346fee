/**
 * The dashboard: follows the line over one connection and draws it, at most once for each frame of the screen.
 *
 * @module
 */

import { Dag } from "./dag.js";
import { attr, byId, put } from "./dom.js";
import { HopPanel } from "./hop.js";
import { Client } from "./hopline.js";
import { Hops } from "./hops.js";
import { Model, WARN_BELOW } from "./model.js";
import { Notices } from "./notices.js";
import { ago, share, span } from "./text.js";
import { Timeline } from "./timeline.js";
import { Tail, Way } from "./way.js";

/** A culprit has to be another one for this long before the panel follows it, so that it does not flicker. */
const FOLLOW_MS = 2_000;

const model = new Model();
const address = new URL("ws", document.baseURI);
address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
const client = new Client(address);

const view = {
  /** Hop whose panel is open. @type {string | null} */
  hop: null,
  /** Whether the user chose it; if not, the panel follows the slow part. */
  chosen: false,
  /** Another hop than the one shown is the worst, since then. @type {{hop: string, since: number} | null} */
  other: null,
};

const dag = new Dag(byId("dag"), (hop) => choose(hop));
const hops = new Hops(byId("hops-table"), (hop) => choose(hop));
const panel = new HopPanel(byId("hop"));
const timeline = new Timeline(byId("time-chart"), (hop) => choose(hop));
const way = new Way(byId("way-chart"), () => touch("sample"));
const tail = new Tail(byId("tail-chart"));
const notices = new Notices(
  { section: byId("notices"), count: byId("notices-count"), say: byId("say"), alarm: byId("alarm") },
  {
    show: (node) => {
      const hop = model.into(node)[0] ?? [...model.hops.values()].find(({ from }) => from === node);
      if (hop === undefined) return;
      choose(hop.hop);
      dag.focus(hop.hop);
    },
    dismiss: (id) => {
      model.dismiss(id);
      frame();
    },
    again: () => touch("notices"),
  },
);

// ------------------------------------------------------------------------------------------------------------ drawing

let asked = false;

/** Something has changed: it is drawn with the next frame. @param {import("./model.js").Part} [part] */
function touch(part) {
  if (part !== undefined) model.changed.add(part);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    frame();
    // The frame is on the screen once this has returned.
    setTimeout(() => client.painted(), 0);
  });
}

function frame() {
  const changed = model.take();
  const structure = changed.has("structure");
  if (structure) {
    put(byId("name"), model.name || "hopline");
    document.title = model.name ? `${model.name} · hopline` : "hopline";
    dag.structure(model);
    hops.structure(model);
    timeline.structure(model);
    attr(byId("unseen"), "hidden", model.unseen === 0);
    put(byId("unseen"), `${model.unseen} nodes and hops more than this page shows`);
  }
  follow();
  const figures = structure || changed.has("figures") || changed.has("ticks") || changed.has("notices");
  if (figures) {
    const marked = new Set(model.notices.flatMap(({ node, grade }) => (node === null || grade === "good" ? [] : [node])));
    dag.update(model, { selected: view.hop, marked });
    hops.update(model, view.hop);
    panel.update(model, view.hop === null ? undefined : model.hops.get(view.hop));
  }
  if (structure || changed.has("ticks")) timeline.update(model, view.hop);
  // Only a hop that somebody chose parts its messages from all others.
  const hop = view.chosen ? view.hop : null;
  if (changed.has("sample")) tail.update(model, hop);
  way.update(model, hop, client.now());
  if (changed.has("notices")) notices.update(model);
  budget();
  link();
}

/** Shows a hop because somebody wants to see it. @param {string} hop */
function choose(hop) {
  view.chosen = true;
  show(hop);
  touch("figures");
  touch("ticks");
  touch("sample");
}

/** The panel shows the slow part until somebody chooses a hop. */
function follow() {
  if (view.hop !== null && !model.hops.has(view.hop)) Object.assign(view, { hop: null, chosen: false });
  attr(byId("follow"), "hidden", !view.chosen);
  if (view.chosen) return;
  const worst = model.worst()?.hop ?? null;
  if (worst === view.hop || worst === null) {
    view.other = null;
    return;
  }
  if (view.other?.hop !== worst) view.other = { hop: worst, since: client.now() };
  if (view.hop !== null && client.now() - view.other.since < FOLLOW_MS) return;
  show(worst);
  model.changed.add("figures").add("ticks");
}

/** @param {string} hop */
function show(hop) {
  if (view.hop === hop) return;
  Object.assign(view, { hop, other: null });
}

// ------------------------------------------------------------------------------------------------------------- header

function budget() {
  const { cost } = model;
  const place = byId("budget");
  attr(place, "hidden", cost === null);
  if (cost === null) return;
  const left = Math.max(0, cost.remaining);
  const warns = cost.remaining < WARN_BELOW;
  attr(place, "class", warns ? "budget warns" : "budget");
  attr(place, "title", `Spent ${share(cost.spent)} of the messages, of ${share(cost.budget)} that may be late`);
  const meter = byId("budget-meter");
  attr(meter, "aria-valuenow", Math.round(left * 100));
  attr(meter, "aria-valuetext", `${share(left)} of the latency error budget left${warns ? ", less than a fifth" : ""}`);
  meter.style.setProperty("--part", String(Math.min(1, left)));
  put(byId("budget-text"), `${share(left)} left`);
}

/** What was said of the connection last. */
let said = "";

function link() {
  const { state, rttMs, retryAt, retryByServer, breaker, final, reason, thrash } = client.status;
  const place = byId("link");
  const seconds = retryAt === null ? 0 : Math.max(0, Math.ceil((retryAt + (client.status.clockOffsetMs ?? 0) - client.now()) / 1000));
  const words = {
    connecting: breaker === "half-open" ? "connecting, one try" : "connecting",
    open: "open",
    closing: "closing",
    closed: final ? "closed" : `closed, again in ${seconds} s`,
  }[state];
  // A network that is gone closes nothing until a heartbeat is missed.
  const old = model.isOld(client.now());
  const age = model.told === null ? "" : `figures from ${ago(client.now() - model.told)}`;
  const trip = rttMs === null ? "" : `there and back ${span(Math.max(1e4, rttMs * 1e6))}`;
  const detail =
    state === "open"
      ? [old ? age : trip, thrash > 0 ? `${thrash} reconnects in a minute` : ""]
      : [reason, retryByServer ? "the server said when" : "", breaker === "open" ? "after ten failures" : "", age];
  attr(place, "class", `link ${state}`);
  put(byId("link-state"), words);
  put(byId("link-detail"), detail.filter(Boolean).join(" · "));
  attr(byId("link-now"), "hidden", !(state === "closed"));
  attr(document.body, "class", state === "open" && !old ? null : "stale");
  // The countdown is not news.
  const news = {
    connecting: said,
    open: old ? "Nothing new comes" : "Connection open",
    closing: said,
    closed: `Connection closed${reason ? `: ${reason}` : ""}`,
  }[state];
  if (news !== said) {
    // The first connection is what everybody expects.
    if (said !== "" || state !== "open" || old) put(byId("say-link"), news);
    said = news;
  }
}

const theme = byId("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");

/** @returns {boolean} whether the page is dark now */
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen === undefined ? dark.matches : chosen === "dark";
}

function paintTheme() {
  put(theme, isDark() ? "Light" : "Dark");
  attr(theme, "aria-label", isDark() ? "Change to light colours" : "Change to dark colours");
}

theme.addEventListener("click", () => {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  // A page that may not keep anything forgets it.
  try {
    localStorage.setItem("hopline-theme", next);
  } catch {
    /* it is asked again next time */
  }
  paintTheme();
});
dark.addEventListener("change", paintTheme);
try {
  const kept = localStorage.getItem("hopline-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch {
  /* as above */
}
paintTheme();

byId("link-now").addEventListener("click", () => client.open());
byId("follow").addEventListener("click", () => {
  view.chosen = false;
  const worst = model.worst();
  if (worst !== undefined) show(worst.hop);
  touch("figures");
  touch("ticks");
  touch("sample");
});
byId("notices-count").addEventListener("click", () => byId("notices").scrollIntoView({ block: "nearest" }));

// --------------------------------------------------------------------------------------------------------- connection

/** @param {Record<string, any>} event */
function take(event) {
  model.apply(event);
  touch();
}

let epoch = /** @type {string | null} */ (null);
client.on("status", (status) => {
  if (status.epoch !== epoch) {
    // Another run of the line has not ended yet.
    epoch = status.epoch;
    model.end = null;
  }
  touch();
});
client.on("error", ({ code, message }) => {
  model.notify("warn", `The server says: ${message || code}`);
  touch();
});
client.on("thrash", ({ n }) => {
  model.notify("warn", `The connection was made anew ${n} times within a minute`);
  touch();
});
client.on("alarm", ({ what }) => {
  model.notify(
    "warn",
    what === "sum" ? "This page's view of the line and the server's have different check sums" : "This page holds too many connections",
  );
  touch();
});
client.subscribe("dag/line", take);
client.subscribe("alerts/line", take, { since: "earliest" });
client.subscribe("stats/line", take);
client.subscribe("samples/line", take);
client.open();

// Times that pass without an event: a countdown, how old something is.
setInterval(touch, 1_000);
let width = 0;
new ResizeObserver(([{ contentRect }]) => {
  if (Math.abs(contentRect.width - width) < 1) return;
  width = contentRect.width;
  touch("structure");
}).observe(byId("dag"));
