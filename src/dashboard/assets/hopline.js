/**
 * The client of hopline's edge: one WebSocket that comes back by itself, any number of channels on it.
 *
 * ```js
 * import { Client } from "./hopline.js";
 *
 * const client = new Client("ws://127.0.0.1:8080/ws");
 * client.on("status", (status) => console.log(status.state));
 * client.subscribe("dag/line", (event) => console.log(event.type, event));
 * client.subscribe("alerts/line", (event) => console.log(event), { since: "earliest" });
 * client.open();
 * ```
 *
 * In node pass a WebSocket: `new Client(url, { env: { WebSocket } })`. Time, randomness and the WebSocket come from `env`,
 * so that all of it runs in virtual time as well. Nothing is read from the page, nothing is written to it.
 *
 * What it promises: events of a channel come in the order of their offsets, none twice, and none is missing without a `gap`
 * event that says which. It never gives up but for a final close code or `close()`.
 *
 * @module
 */

/** The subprotocol that is asked for. */
export const PROTOCOL = "hopline.v1.json";

/** What holds for every client. Times are in milliseconds; each value is the protocol's unless its reason is given. */
export const LIMITS = Object.freeze({
  /** From the first packet to the server's `hello`. */
  CONNECT_MS: 10_000,
  /** Waits after the first, second, … failure in a row; the last one repeats. */
  BACKOFF_MS: Object.freeze([1_000, 2_000, 4_000, 8_000, 16_000, 30_000]),
  /** Each wait is longer by up to this share of it, so that clients that fell together do not come back together. */
  JITTER: 0.3,
  /** A connection that lived this long clears the count of failures. */
  STABLE_MS: 30_000,
  /** Failures in a row that open the breaker. */
  BREAKER_FAILURES: 10,
  /** How long it stays open before one probe. */
  BREAKER_MS: 60_000,
  /** More attempts than this in `THRASH_MS` are reported. */
  THRASH_RECONNECTS: 5,
  THRASH_MS: 60_000,
  /** Longest wait that a server can ask for: a mistake of a server must not switch off a client for days. */
  RETRY_AFTER_MAX_MS: 3_600_000,
  /** Heartbeat, where the server's `hello` says nothing else. */
  PING_MS: 15_000,
  MISSES: 3,
  /** After a sleep or a change of network a connection that says nothing for this long is taken for dead. */
  PROBE_MS: 5_000,
  /** How long a close may take before the connection is dropped. */
  CLOSE_MS: 2_000,
  /** Messages that wait while there is no connection. */
  OUTBOX_HIGH: 50,
  OUTBOX_NORMAL: 200,
  /** Below the server's limits for floods (100 messages a second, 200 at once), with room for heartbeats and subscriptions. */
  SEND_BURST: 100,
  SEND_PER_S: 80,
  /** An unanswered `resync_request` is followed by leaving the channel and joining it again. */
  RESYNC_MS: 5_000,
  /** Waits before the second, third, … resync in a row; the last one repeats. */
  RESYNC_BACKOFF_MS: Object.freeze([1_000, 2_000, 4_000, 8_000, 16_000, 30_000]),
  /** Views that were wrong this often in a row are no longer compared on this connection: the two ends count differently. */
  MISMATCHES: 5,
  /** Time between two acks of a channel that carry times: enough of them to say something of an hour, and few beside the events. */
  SAMPLE_MS: 250,
  /** Whoever paints nothing for this long has no screen: such an ack says when the event came, and no more. */
  PAINT_MS: 1_000,
  /** More clients than this of one page on one address are an alarm: they should share one. */
  CLIENTS_PER_URL: 5,
  /** Round trips that the estimate of the server's clock looks back on: about two minutes. */
  CLOCK_SAMPLES: 8,
});

/** Close codes that have a meaning here. 3000-3499 come back, 3500-3999 are final. */
export const CODES = Object.freeze({ BYE: 1000, NONE: 1005, ABNORMAL: 1006, DRAIN: 3000, SLOW: 3008, SILENT: 3009, VERSION: 3501 });

/** Codes of the protocol itself for what would be sent again: a frame that breaks it, a text that is none, a message that is too long. */
const BROKEN = Object.freeze([1002, 1007, 1009]);

/** Whether a connection that was closed so is not to be tried again. @param {number} code */
const isFinal = (code) => BROKEN.includes(code) || (code >= 3500 && code <= 3999);

// ---------------------------------------------------------------------------------------------- check sums and views

const encoder = new TextEncoder();

/**
 * FNV-1a, 32 bits.
 * @param {Iterable<number>} bytes
 * @param {number} [hash] the hash of what came before
 * @returns {number} 0 to 2^32 - 1
 */
export function fnv1a(bytes, hash = 0x811c9dc5) {
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/**
 * What one key adds to the check sum of a state channel: FNV-1a over the key, a zero byte, the value's canonical JSON.
 * @param {string} key
 * @param {unknown} value as it was parsed; canonical JSON is what `JSON.stringify` gives of it
 * @returns {number} 0 to 2^32 - 1
 */
export function entrySum(key, value) {
  return fnv1a(encoder.encode(JSON.stringify(value)), fnv1a(encoder.encode(`${key}\0`)));
}

/**
 * The key that an event of a state channel sets, or undefined for a type that this client does not know.
 * @param {Record<string, any>} event
 * @returns {string | undefined}
 */
export function keyOf(event) {
  switch (event.type) {
    case "node_state":
      return `node:${event.node_id}`;
    case "edge_active":
      return `edge:${event.hop}`;
    case "dag_mutated":
      return "dag";
    case "cost_update":
      return "cost";
    default:
      return undefined;
  }
}

/**
 * The value that an event of a state channel gives its key: the event without what belongs to its delivery.
 * @param {Record<string, any>} event
 * @returns {Record<string, any>}
 */
export function valueOf(event) {
  const { type, ch, o, t, skip, head, sum, ...value } = event;
  return value;
}

/** The present values of a state channel, with the check sum of all of them. */
export class View {
  /** @type {Map<string, any>} */
  #values = new Map();
  /** @type {Map<string, number>} */
  #sums = new Map();
  /** Keys whose part of the sum is not up to date: a key that changes often is hashed when somebody asks. */
  #dirty = new Set();
  #sum = 0;
  /** Rises with every change. */
  version = 0;
  /** Whether all events since the last snapshot could be applied; if not, the sum says nothing. */
  exact = true;

  /** @param {string} key @returns {any} the value, or undefined */
  get(key) {
    return this.#values.get(key);
  }

  /** @returns {IterableIterator<[string, any]>} all keys and values, in the order in which keys first came */
  entries() {
    return this.#values.entries();
  }

  /** @returns {number} keys */
  get size() {
    return this.#values.size;
  }

  /** @returns {number} the check sum, 0 to 2^32 - 1 */
  get sum() {
    for (const key of this.#dirty) {
      const fresh = entrySum(key, this.#values.get(key));
      this.#sum = (this.#sum - (this.#sums.get(key) ?? 0) + fresh) >>> 0;
      this.#sums.set(key, fresh);
    }
    this.#dirty.clear();
    return this.#sum;
  }

  /** @param {string} key @param {any} value */
  set(key, value) {
    this.#values.set(key, value);
    this.#dirty.add(key);
    this.version += 1;
  }

  /** Takes a whole snapshot. @param {Record<string, any>} data */
  replace(data) {
    this.#values = new Map(Object.entries(data));
    this.#sums.clear();
    this.#dirty = new Set(this.#values.keys());
    this.#sum = 0;
    this.exact = true;
    this.version += 1;
  }
}

// ------------------------------------------------------------------------------------------------ pieces without time

/** @typedef {"closed" | "open" | "half-open"} Breaker */

/** When to try again: back-off, circuit breaker, thrash. Knows no timer; the time is passed in. */
export class Retries {
  /** Failures since a connection was last stable. */
  failures = 0;
  /** @type {Breaker} */
  breaker = "closed";
  /** @type {number[]} times of the attempts after the first, of the last minute */
  #attempts = [];
  #first = true;

  /**
   * A connection failed, or was lost.
   * @param {() => number} random 0 to 1, without 1
   * @returns {number} how long to wait, in milliseconds
   */
  failed(random) {
    this.failures += 1;
    if (this.failures >= LIMITS.BREAKER_FAILURES) {
      this.breaker = "open";
      return LIMITS.BREAKER_MS;
    }
    const steps = LIMITS.BACKOFF_MS;
    return steps[Math.min(this.failures, steps.length) - 1] * (1 + random() * LIMITS.JITTER);
  }

  /**
   * An attempt begins.
   * @param {number} now
   * @returns {number} attempts of the last minute, without the client's first one
   */
  begins(now) {
    if (this.breaker === "open") this.breaker = "half-open";
    if (!this.#first) this.#attempts.push(now);
    this.#first = false;
    return this.recent(now);
  }

  /** @param {number} now @returns {number} attempts of the last minute, without the client's first one */
  recent(now) {
    while (this.#attempts.length > 0 && now - this.#attempts[0] >= LIMITS.THRASH_MS) this.#attempts.shift();
    return this.#attempts.length;
  }

  /** A connection has lived for `STABLE_MS`. */
  stable() {
    this.failures = 0;
    this.breaker = "closed";
  }
}

/**
 * @typedef {object} Sent what became of a message
 * @property {boolean} taken whether it will be sent
 * @property {"full" | undefined} [why] why not
 */

/** What waits to be sent: two queues, so that order holds within a class. */
export class Outbox {
  /** @type {{message: Record<string, any>, sent: boolean}[]} */
  #high = [];
  /** @type {{message: Record<string, any>, sent: boolean}[]} */
  #normal = [];
  /** Messages that gave way to later ones. */
  dropped = 0;
  /** Messages that found no room. */
  refused = 0;

  /** @returns {number} messages that wait to be sent, or for their answer */
  get size() {
    return this.#high.length + this.#normal.length;
  }

  /**
   * @param {Record<string, any>} message
   * @param {"high" | "normal"} priority
   * @returns {Sent}
   */
  put(message, priority) {
    const entry = { message, sent: false };
    if (priority === "high") {
      if (this.#high.length >= LIMITS.OUTBOX_HIGH) {
        this.refused += 1;
        return { taken: false, why: "full" };
      }
      this.#high.push(entry);
    } else {
      if (this.#normal.length >= LIMITS.OUTBOX_NORMAL) {
        this.#normal.shift();
        this.dropped += 1;
      }
      this.#normal.push(entry);
    }
    return { taken: true };
  }

  /**
   * The next message to send: all of high priority first. One with a `cid` stays until it is answered, the others are gone.
   * @returns {Record<string, any> | undefined}
   */
  next() {
    for (const queue of [this.#high, this.#normal]) {
      const at = queue.findIndex((entry) => !entry.sent);
      if (at < 0) continue;
      const entry = queue[at];
      if (entry.message.cid === undefined) queue.splice(at, 1);
      else entry.sent = true;
      return entry.message;
    }
    return undefined;
  }

  /** The answer to the message with this `cid` has come. @param {unknown} cid */
  answered(cid) {
    for (const queue of [this.#high, this.#normal]) {
      const at = queue.findIndex((entry) => entry.sent && entry.message.cid === cid);
      if (at >= 0) queue.splice(at, 1);
    }
  }

  /** The connection is gone: what was sent and not answered is sent again. The server knows a `cid` that it has had. */
  rewind() {
    for (const queue of [this.#high, this.#normal]) for (const entry of queue) entry.sent = false;
  }
}

/** How far the server's clock is from this one's, by the round trip with the least delay of the last few. */
export class ServerClock {
  /** @type {{offset: number, rtt: number}[]} */
  #trips = [];
  /** The last round trip, without the server's own time. @type {number | null} */
  rtt = null;

  /** Forgets what it knows: the clock may have stood still. */
  reset() {
    this.#trips = [];
  }

  /**
   * An answer to a ping has come.
   * @param {number} sent when the ping left, by this clock
   * @param {number} rx when the server had it, by its clock
   * @param {number} tx when the server answered, by its clock
   * @param {number} now by this clock
   */
  pong(sent, rx, tx, now) {
    this.rtt = Math.max(0, now - sent - (tx - rx));
    this.#trips.push({ offset: (rx - sent + (tx - now)) / 2, rtt: this.rtt });
    if (this.#trips.length > LIMITS.CLOCK_SAMPLES) this.#trips.shift();
  }

  /** @returns {number | null} milliseconds to add to this clock's time; wrong by at most half of `leastRtt` */
  get offset() {
    return this.#best()?.offset ?? null;
  }

  /** @returns {number | null} the round trip that `offset` rests on */
  get leastRtt() {
    return this.#best()?.rtt ?? null;
  }

  /** @returns {number} round trips that it looks back on */
  get trips() {
    return this.#trips.length;
  }

  #best() {
    if (this.#trips.length === 0) return null;
    return this.#trips.reduce((best, trip) => (trip.rtt < best.rtt ? trip : best));
  }
}

/** Messages that may leave now: a bucket of tokens. */
class Pace {
  /** @type {number} */
  #tokens = LIMITS.SEND_BURST;
  #at = -Infinity;

  /** @param {number} now @returns {boolean} whether one may leave */
  take(now) {
    const grown = this.#tokens + (Math.max(0, now - this.#at) * LIMITS.SEND_PER_S) / 1000;
    this.#tokens = Math.min(LIMITS.SEND_BURST, grown);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

// -------------------------------------------------------------------------------------------------------- one channel

/**
 * @typedef {object} SubscribeOptions
 * @property {string} [since] where to begin: `earliest`, or a position `epoch:offset`. Without it, with the present state
 * @property {number} [rate] most events a second; the server conflates or sheds the rest and says so
 * @property {number} [budgetMs] events older than this are shed
 * @property {boolean} [state] whether the channel has a state, and so snapshots; `dag/…` and `state/…` have one
 * @property {boolean} [history] whether the channel has offsets; `stats/…` and `samples/…` have none
 * @property {boolean} [ack] whether each event is acked at once; `alerts/…` are
 */

/** @typedef {(event: Record<string, any>) => void} Handler */

/** A channel's place in its stream. */
class Channel {
  /** @type {Set<Handler>} */
  handlers = new Set();
  /** @type {string | null} */
  epoch = null;
  /** Offset of the last event that was taken. @type {number | null} */
  last = null;
  /** @type {View | null} */
  view = null;
  /** Whether this connection has said `subscribed`. */
  joined = false;
  /** Whether what was missed has not come yet. */
  stale = true;
  /** Whether a snapshot is to come. Until then an offset is no place to go on from. */
  awaits = false;
  /** Why a resync has been asked for; null when what was asked for has come. @type {"lost" | "view" | null} */
  resyncing = null;
  resyncs = 0;
  resyncAt = -Infinity;
  mismatches = 0;
  /** After a skip: until the channel has come so far, its values are those of no one moment, and sums say nothing. */
  mixedUntil = 0;
  /** Offset that is to be acked. @type {number | null} */
  owed = null;
  /** Offset that the channel had when it was joined: what comes up to there was missed, and says nothing of the way here. */
  head = 0;
  /** @type {{o: number, rx: number} | null} */
  sample = null;
  sampledAt = -Infinity;

  /** @param {string} name @param {SubscribeOptions} options */
  constructor(name, options) {
    this.name = name;
    this.since = options.since;
    /** Whoever wants everything wants it of the next epoch too. */
    this.fromEarliest = options.since === "earliest";
    this.rate = options.rate;
    this.budgetMs = options.budgetMs;
    this.state = options.state ?? /^(dag|state)\//.test(name);
    this.history = options.history ?? !/^(stats|samples)\//.test(name);
    this.acks = options.ack ?? name.startsWith("alerts/");
  }

  /** @returns {string | undefined} where to go on */
  position() {
    return this.epoch !== null && this.last !== null ? `${this.epoch}:${this.last}` : this.since;
  }

  /** What `hello` and `subscribe` say of it. */
  request() {
    return { ch: this.name, since: this.position(), rate: this.rate, budget_ms: this.budgetMs };
  }

  /** The next join is to begin with a snapshot. */
  forget() {
    this.awaits = false;
    this.epoch = null;
    this.last = null;
    this.since = undefined;
  }

  /**
   * Where an event with this offset stands.
   * @param {number} o
   * @param {number} skip
   * @returns {"next" | "again" | "lost"}
   */
  place(o, skip) {
    if (this.last === null) return "next";
    if (o <= this.last) return "again";
    return o === this.last + 1 + skip ? "next" : "lost";
  }
}

// ---------------------------------------------------------------------------------------------------------- the client

/** @typedef {"connecting" | "open" | "closing" | "closed"} State */

/**
 * @typedef {object} Status
 * @property {State} state
 * @property {number} failures since a connection was last stable
 * @property {number | null} retryAt when the next attempt begins, by `env.now`
 * @property {boolean} retryByServer whether the server named that time; then neither `online` nor a visible tab ends the wait
 * @property {Breaker} breaker
 * @property {number} thrash attempts of the last minute where they are too many, else 0
 * @property {boolean} final whether it stays closed until `open()` is called again
 * @property {number | null} code why the last connection ended
 * @property {string} reason the same in words
 * @property {number | null} openedAt by `env.now`
 * @property {number | null} rttMs last round trip
 * @property {number | null} clockOffsetMs what to add to this clock to have the server's
 * @property {string | null} epoch of the server
 * @property {string | null} sid of the session
 */

/**
 * @typedef {object} Env what a client has of the world; whatever is left out is the browser's
 * @property {any} WebSocket the class
 * @property {() => number} now milliseconds since 1970, never going back
 * @property {() => number} random 0 to 1, without 1
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {(on: {online: () => void, visible: () => void, hidden: () => void}) => () => void} signals listens, and gives what
 *   stops listening
 * @property {(error: unknown) => void} report gets what a handler throws
 */

/** @returns {Env} */
function browser() {
  return {
    WebSocket: globalThis.WebSocket,
    now: () => performance.timeOrigin + performance.now(),
    random: Math.random,
    setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    signals: (on) => {
      if (typeof window === "undefined" || typeof document === "undefined") return () => {};
      const seen = () => (document.visibilityState === "visible" ? on.visible() : on.hidden());
      window.addEventListener("online", on.online);
      document.addEventListener("visibilitychange", seen);
      return () => {
        window.removeEventListener("online", on.online);
        document.removeEventListener("visibilitychange", seen);
      };
    },
    report: (error) => console.error(error),
  };
}

/** Clients that are not closed, by address. @type {Map<string, number>} */
const clients = new Map();

/**
 * A connection to an edge that comes back by itself.
 *
 * Events of the client itself, for `on`: `status` (a new `Status`), `refused` (a message of high priority found no room),
 * `dropped` (one of normal priority gave way), `thrash`, `resync` `{ch, why}`, `gap`, `shed`, `error` (what the server says
 * of this connection), `alarm` `{what, n}`.
 */
export class Client {
  /**
   * Times something happened. `bad`: messages that could not be understood; `duplicates`: events that came again and were
   * not handed on; `lost`: holes in the offsets; `skipped`: events that the server conflated; `mismatches`: check sums.
   */
  counters = {
    attempts: 0,
    received: 0,
    bad: 0,
    duplicates: 0,
    lost: 0,
    skipped: 0,
    gaps: 0,
    resyncs: 0,
    mismatches: 0,
    shed: 0,
    acks: 0,
  };

  #url;
  #token;
  /** @type {Env} */
  #env;
  /** @type {any} */
  #socket = null;
  /** Whether this socket has had our `hello`. */
  #greeted = false;
  #wanted = false;
  #counted = false;
  #stopSignals = () => {};
  /** @type {Map<string, Channel>} */
  #channels = new Map();
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();
  /** @type {Map<string, any>} */
  #timers = new Map();
  #retries = new Retries();
  #outbox = new Outbox();
  #clock = new ServerClock();
  #pace = new Pace();
  #heard = 0;
  /** @type {number} */
  #pingMs = LIMITS.PING_MS;
  #deadMs = LIMITS.PING_MS * LIMITS.MISSES;
  /** Events whose offsets are multiples of this are samples; none are where it is 0. */
  #sampleEvery = 0;
  /** @type {{ts: number, at: number} | null} */
  #ping = null;
  /** What the server said before it closed. @type {{code?: number, reason?: string, retry_after_ms?: number} | null} */
  #farewell = null;
  #waitingSince = 0;
  /** @type {Readonly<Status>} */
  #status = Object.freeze({
    state: "closed",
    failures: 0,
    retryAt: null,
    retryByServer: false,
    breaker: "closed",
    thrash: 0,
    final: true,
    code: null,
    reason: "",
    openedAt: null,
    rttMs: null,
    clockOffsetMs: null,
    epoch: null,
    sid: null,
  });

  /**
   * @param {string | URL} url `ws://…/ws` or `wss://…/ws`
   * @param {object} [options]
   * @param {string | (() => string)} [options.token] shown to the server with each `hello`
   * @param {Partial<Env>} [options.env]
   */
  constructor(url, options = {}) {
    this.#url = String(url);
    this.#token = options.token;
    this.#env = { ...browser(), ...options.env };
  }

  /** @returns {Readonly<Status>} what a page shows; another object after each change */
  get status() {
    return this.#status;
  }

  /** @returns {number} messages that wait to be sent, or for their answer */
  get waiting() {
    return this.#outbox.size;
  }

  /** @returns {number} now, by the server's clock as far as it is known, in milliseconds since 1970 */
  now() {
    return this.#env.now() + (this.#status.clockOffsetMs ?? 0);
  }

  /**
   * Listens to the client itself.
   * @param {"status" | "refused" | "dropped" | "thrash" | "resync" | "gap" | "shed" | "error" | "alarm"} name
   * @param {(detail: any) => void} listener
   * @returns {() => void} stops listening
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => {
      listeners.delete(listener);
    };
  }

  /** Connects, and from then on connects again whenever the connection is lost. While it waits, this ends the wait. */
  open() {
    if (!this.#wanted) {
      this.#wanted = true;
      this.#stopSignals();
      this.#stopSignals = this.#env.signals({
        online: () => this.#wake(),
        visible: () => this.#wake(),
        hidden: () => this.#hide(),
      });
      this.#crowd(1);
    }
    if (this.#socket === null) this.#attempt();
  }

  /** Says good-bye and stays closed. What is in the outbox stays there. */
  close() {
    if (!this.#wanted) return;
    this.#leave();
    if (this.#socket === null) {
      this.#cancelAll();
      this.#set({ state: "closed", retryAt: null, final: true, code: CODES.BYE, reason: "closed here" });
      return;
    }
    if (this.#greeted) this.#write({ type: "bye" });
    this.#cancelAll();
    this.#after("closing", LIMITS.CLOSE_MS, () => this.#lost(CODES.BYE, "closed here"));
    this.#socket.close(CODES.BYE, "bye");
    this.#set({ state: "closing" });
  }

  /**
   * Follows a channel. The handler gets each event, and `{type: "snapshot", ch, o, data}` where the channel has a state: at
   * once if it is known already. Several may follow one channel; its options are those of the first.
   * @param {string} name `name/group`
   * @param {Handler} handler
   * @param {SubscribeOptions} [options]
   * @returns {() => void} stops following
   */
  subscribe(name, handler, options = {}) {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = new Channel(name, options);
      this.#channels.set(name, channel);
      if (this.#greeted) this.#write({ type: "subscribe", ...channel.request() });
    } else if (channel.view !== null) {
      this.#call(handler, { type: "snapshot", ch: name, o: channel.last, data: Object.fromEntries(channel.view.entries()) });
    }
    const followed = channel;
    // A handler that follows twice is two followers.
    const own = (/** @type {Record<string, any>} */ event) => handler(event);
    followed.handlers.add(own);
    return () => {
      if (!followed.handlers.delete(own) || followed.handlers.size > 0) return;
      this.#channels.delete(name);
      this.#cancel(`resync ${name}`);
      if (this.#greeted) this.#write({ type: "unsubscribe", ch: name });
    };
  }

  /**
   * Where a channel stands.
   * @param {string} name
   * @returns {{epoch: string | null, o: number | null, view: View | null, stale: boolean} | null} null if nobody follows it.
   *   `stale`: the connection is gone, or what it missed has not come yet
   */
  channel(name) {
    const channel = this.#channels.get(name);
    if (channel === undefined) return null;
    return { epoch: channel.epoch, o: channel.last, view: channel.view, stale: channel.stale };
  }

  /**
   * Sends a message, now or when there is a connection. High priority is refused when 50 wait, normal priority drops the oldest
   * of 200. One with a `cid` is sent again after a cut until `result` answers it.
   * @param {Record<string, any>} message
   * @param {"high" | "normal"} [priority]
   * @returns {Sent}
   */
  send(message, priority = "normal") {
    const dropped = this.#outbox.dropped;
    const sent = this.#outbox.put(message, priority);
    if (!sent.taken) this.#emit("refused", { message, waiting: this.#outbox.size });
    if (this.#outbox.dropped > dropped) this.#emit("dropped", { n: this.#outbox.dropped });
    this.#flush();
    return sent;
  }

  /**
   * What was received by now is on the screen: the page says so after each frame, in the task behind it. Sends the acks that carry
   * times.
   */
  painted() {
    for (const channel of this.#channels.values()) this.#answer(channel, this.#env.now());
  }

  // ------------------------------------------------------------------------------------------------------- connection

  #attempt() {
    this.#cancel("wait");
    const now = this.#env.now();
    const recent = this.#retries.begins(now);
    this.counters.attempts += 1;
    const thrash = recent > LIMITS.THRASH_RECONNECTS ? recent : 0;
    const news = thrash > 0 && this.#status.thrash === 0;
    this.#farewell = null;
    this.#set({ state: "connecting", retryAt: null, retryByServer: false, breaker: this.#retries.breaker, thrash, final: false });
    if (news) this.#emit("thrash", { n: thrash });
    // Whoever was told may have closed it.
    if (!this.#wanted || this.#socket !== null) return;
    let socket;
    try {
      socket = new this.#env.WebSocket(this.#url, [PROTOCOL]);
    } catch (error) {
      // The address itself is wrong: trying again helps nothing.
      this.#end(0, error instanceof Error ? error.message : String(error));
      return;
    }
    this.#socket = socket;
    this.#after("connect", LIMITS.CONNECT_MS, () => this.#lost(CODES.ABNORMAL, "no answer within 10 s"));
    socket.onopen = () => this.#greet();
    socket.onmessage = (/** @type {{data: unknown}} */ message) => this.#receive(message.data);
    socket.onclose = (/** @type {{code: number, reason: string}} */ close) => this.#lost(close.code, String(close.reason ?? ""));
    // A close follows.
    socket.onerror = () => {};
  }

  #greet() {
    this.#greeted = true;
    for (const channel of this.#channels.values()) channel.mismatches = 0;
    this.#write({
      type: "hello",
      token: typeof this.#token === "function" ? this.#token() : this.#token,
      sid: this.#status.sid ?? undefined,
      attempt: this.#retries.failures,
      subs: [...this.#channels.values()].map((channel) => channel.request()),
    });
  }

  /** The connection is gone, however it went. @param {number} code @param {string} reason */
  #lost(code, reason) {
    this.#drop(code);
    const told = this.#farewell;
    this.#farewell = null;
    if (told !== null && (code === CODES.ABNORMAL || code === CODES.NONE)) code = told.code ?? code;
    reason = reason || told?.reason || "";
    if (!this.#wanted) return this.#end(code, reason);
    if (isFinal(code)) return this.#end(code, reason);
    for (const channel of this.#channels.values()) {
      // It was too slow for what it had missed, or what it has is wrong or not there yet: a snapshot.
      if ((code === CODES.SLOW && channel.state) || channel.resyncing === "view" || channel.awaits) channel.forget();
      channel.joined = false;
      channel.stale = true;
      channel.resyncing = null;
      channel.sample = null;
    }
    this.#outbox.rewind();
    const byServer = typeof told?.retry_after_ms === "number" && told.retry_after_ms >= 0;
    // To be told when to come is no failure.
    const wait = byServer
      ? Math.min(/** @type {number} */ (told.retry_after_ms), LIMITS.RETRY_AFTER_MAX_MS)
      : this.#retries.failed(this.#env.random);
    this.#waitingSince = this.#env.now();
    // Before anybody is told, since whoever is may open it at once.
    this.#after("wait", wait, () => this.#attempt());
    this.#set({
      state: "closed",
      failures: this.#retries.failures,
      breaker: this.#retries.breaker,
      retryAt: this.#waitingSince + wait,
      retryByServer: byServer,
      code,
      reason,
      openedAt: null,
    });
  }

  /** It stays closed. @param {number} code @param {string} reason */
  #end(code, reason) {
    this.#drop(code);
    this.#leave();
    for (const channel of this.#channels.values()) {
      channel.joined = false;
      channel.stale = true;
    }
    this.#outbox.rewind();
    this.#set({ state: "closed", retryAt: null, final: true, code, reason, openedAt: null });
  }

  /** Takes leave of the socket; what it still has to say is not heard. @param {number} code */
  #drop(code) {
    this.#cancelAll();
    const socket = this.#socket;
    this.#socket = null;
    this.#greeted = false;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // A socket that is closed while it connects says so; that is no news.
    socket.onerror = () => {};
    if (socket.readyState <= 1) socket.close(code === CODES.SILENT || code >= 3500 ? code : CODES.BYE);
  }

  #leave() {
    this.#wanted = false;
    this.#stopSignals();
    this.#stopSignals = () => {};
    this.#crowd(-1);
  }

  /** @param {1 | -1} by */
  #crowd(by) {
    const counted = by > 0;
    if (this.#counted === counted) return;
    this.#counted = counted;
    const n = (clients.get(this.#url) ?? 0) + by;
    if (n > 0) clients.set(this.#url, n);
    else clients.delete(this.#url);
    if (by > 0 && n > LIMITS.CLIENTS_PER_URL) this.#emit("alarm", { what: "clients", n });
  }

  /** The network or the page is back. */
  #wake() {
    if (this.#status.state === "open") {
      // The machine may have slept: the clocks may have drifted apart, and the connection may be half open.
      this.#clock.reset();
      this.#probe();
      return;
    }
    // Who is told when to come keeps to it: the server gives each client a time of its own.
    if (this.#socket !== null || !this.#wanted || this.#status.retryByServer) return;
    const rest = this.#waitingSince + LIMITS.BACKOFF_MS[0] - this.#env.now();
    if (rest <= 0) return this.#attempt();
    const retryAt = this.#status.retryAt ?? Infinity;
    // A tab that is shown and hidden again and again must not become a storm of its own.
    if (this.#env.now() + rest < retryAt) {
      this.#after("wait", rest, () => this.#attempt());
      this.#set({ retryAt: this.#env.now() + rest });
    }
  }

  #hide() {
    // Nothing is painted while the page is hidden: what waits for that has come all the same.
    for (const channel of this.#channels.values()) this.#answer(channel, null);
  }

  // -------------------------------------------------------------------------------------------------------- heartbeat

  /** Is it alive? Whatever it says within five seconds counts. */
  #probe() {
    const since = this.#env.now();
    this.#beat();
    this.#after("probe", LIMITS.PROBE_MS, () => {
      if (this.#heard < since) this.#lost(CODES.SILENT, "no sign of life");
    });
  }

  #beat() {
    const at = this.#env.now();
    this.#ping = { ts: Math.round(at), at };
    this.#write({ type: "ping", ts: this.#ping.ts });
    this.#after("beat", this.#pingMs, () => this.#beat());
  }

  /** Is due when nothing has come for as long as a live server can be silent. */
  #watch() {
    const due = this.#heard + this.#deadMs;
    this.#after("dead", due - this.#env.now(), () => {
      const now = this.#env.now();
      if (this.#heard + this.#deadMs > now) return this.#watch();
      if (now - due <= LIMITS.PROBE_MS) return this.#lost(CODES.SILENT, "no sign of life");
      // A timer that comes much too late means that this page did not run; the server may well be there.
      this.#clock.reset();
      this.#probe();
      this.#after("dead", 2 * LIMITS.PROBE_MS, () => this.#watch());
    });
  }

  // ---------------------------------------------------------------------------------------------------------- receive

  /** @param {unknown} data */
  #receive(data) {
    this.#heard = this.#env.now();
    this.counters.received += 1;
    let message;
    try {
      message = JSON.parse(/** @type {string} */ (data));
    } catch {
      message = null;
    }
    if (message === null || typeof message !== "object" || typeof message.type !== "string") {
      this.counters.bad += 1;
      return;
    }
    switch (message.type) {
      case "hello":
        return this.#welcome(message);
      case "subscribed":
        return this.#subscribed(message);
      case "snapshot":
        return this.#snapshot(message);
      case "gap":
        return this.#gap(message);
      case "ping":
        return this.#write({ type: "pong", ts: message.ts });
      case "pong":
        return this.#pong(message);
      case "shed":
        return this.#shed(message);
      case "disconnect":
        this.#farewell = message;
        this.#after("closing", LIMITS.CLOSE_MS, () => this.#lost(CODES.ABNORMAL, ""));
        return this.#set({ state: "closing", reason: String(message.reason ?? "") });
      case "result":
        this.#outbox.answered(message.cid);
        return this.#flush();
      case "error":
        if (message.ch === undefined) {
          if (message.cid !== undefined) this.#outbox.answered(message.cid);
          return this.#emit("error", message);
        }
    }
    this.#event(message);
  }

  /** @param {Record<string, any>} hello */
  #welcome(hello) {
    if (hello.v !== 1) return this.#end(CODES.VERSION, `the server speaks version ${hello.v} of the protocol, this page version 1`);
    this.#cancel("connect");
    const between = (/** @type {unknown} */ n, /** @type {number} */ low, /** @type {number} */ high, /** @type {number} */ other) =>
      typeof n === "number" && Number.isFinite(n) ? Math.min(high, Math.max(low, n)) : other;
    this.#pingMs = between(hello.ping_ms, 1_000, 120_000, LIMITS.PING_MS);
    this.#deadMs = this.#pingMs * between(hello.misses, 1, 10, LIMITS.MISSES);
    this.#sampleEvery = between(hello.sample, 1, Number.MAX_SAFE_INTEGER, 0);
    this.#set({ state: "open", openedAt: this.#env.now(), epoch: String(hello.epoch), sid: String(hello.sid), code: null, reason: "" });
    this.#after("stable", LIMITS.STABLE_MS, () => {
      this.#retries.stable();
      this.#set({ failures: 0, breaker: "closed" });
    });
    this.#beat();
    this.#watch();
    this.#flush();
  }

  /** @param {Record<string, any>} pong */
  #pong(pong) {
    if (this.#ping === null || pong.ts !== this.#ping.ts || !Number.isFinite(pong.rx) || !Number.isFinite(pong.tx)) return;
    const fine = Number.isFinite(pong.rx_us) && Number.isFinite(pong.tx_us);
    const [rx, tx] = fine ? [pong.rx_us / 1000, pong.tx_us / 1000] : [pong.rx, pong.tx];
    this.#clock.pong(this.#ping.at, rx, tx, this.#heard);
    this.#ping = null;
    const recent = this.#retries.recent(this.#env.now());
    const thrash = recent > LIMITS.THRASH_RECONNECTS ? recent : 0;
    this.#set({ rttMs: this.#clock.rtt, clockOffsetMs: this.#clock.offset, thrash });
  }

  /** @param {Record<string, any>} shed */
  #shed(shed) {
    this.counters.shed += Number(shed.n) || 0;
    this.#emit("shed", shed);
    const channel = this.#channels.get(shed.ch);
    if (channel !== undefined) this.#deliver(channel, shed);
  }

  /** @param {Record<string, any>} message */
  #subscribed(message) {
    const channel = this.#channels.get(message.ch);
    if (channel === undefined) return;
    channel.joined = true;
    if (channel.resyncing === "lost") this.#settled(channel);
    const epoch = typeof message.epoch === "string" ? message.epoch : this.#status.epoch;
    const o = channel.history && Number.isSafeInteger(message.o) ? message.o : null;
    channel.head = o ?? 0;
    if (message.recovered === true && channel.epoch === epoch && channel.last !== null) {
      // What was missed follows.
      channel.stale = false;
    } else if (message.recovered === true) {
      // From a position that the caller gave, or from the log's beginning, whose offset the first event tells.
      const [given, offset] = (channel.since ?? "").split(":");
      channel.epoch = epoch;
      channel.last = message.replayed === 0 ? o : given === epoch ? Number(offset) : null;
      channel.stale = false;
    } else if (channel.fromEarliest && channel.epoch !== null && channel.epoch !== epoch && o !== 0) {
      // Another server, which has a log of its own.
      channel.forget();
      channel.since = "earliest";
      this.#rejoin(channel);
    } else {
      channel.epoch = epoch;
      // What is replayed follows, from the log's beginning: it is none that was there before.
      const replayed = Number.isSafeInteger(message.replayed) ? message.replayed : 0;
      channel.last = o === null ? null : o - replayed;
      channel.awaits = channel.stale = channel.state && replayed === 0;
    }
  }

  /** @param {Record<string, any>} message */
  #snapshot(message) {
    const channel = this.#channels.get(message.ch);
    if (channel === undefined) return;
    if (typeof message.data !== "object" || message.data === null || !Number.isSafeInteger(message.o)) {
      this.counters.bad += 1;
      return;
    }
    const view = (channel.view ??= new View());
    view.replace(message.data);
    channel.last = message.o;
    channel.mixedUntil = 0;
    channel.awaits = channel.stale = false;
    this.#settled(channel);
    this.#deliver(channel, message);
    this.#compare(channel, message.sum);
  }

  /** @param {Record<string, any>} message */
  #gap(message) {
    this.counters.gaps += 1;
    this.#emit("gap", message);
    const channel = this.#channels.get(message.ch);
    if (channel === undefined) return;
    // Those of another epoch, or that the log no longer has, are told before a place of this one is known.
    if (channel.history && /^(slow|deadline)$/.test(message.why) && Number.isSafeInteger(message.to)) channel.last = Math.max(channel.last ?? 0, message.to);
    if (channel.resyncing === "lost") this.#settled(channel);
    this.#deliver(channel, message);
  }

  /** @param {Record<string, any>} event */
  #event(event) {
    const channel = this.#channels.get(event.ch);
    if (channel === undefined) return;
    if (event.o === undefined) return this.#deliver(channel, event);
    // Still of a subscription that was given up.
    if (!channel.joined) return;
    if (!Number.isSafeInteger(event.o)) {
      this.counters.bad += 1;
      return;
    }
    const skip = event.skip ?? 0;
    switch (channel.place(event.o, skip)) {
      case "again":
        this.counters.duplicates += 1;
        // It came again because the ack did not arrive.
        if (channel.acks) this.#owe(channel);
        return;
      case "lost":
        if (channel.resyncing === null) {
          this.counters.lost += 1;
          this.#resync(channel, "lost", channel.position());
        }
        return;
    }
    // A snapshot was to come first.
    if (channel.awaits) this.#resync(channel, "view", undefined);
    channel.last = event.o;
    this.counters.skipped += skip;
    if (skip > 0) channel.mixedUntil = Math.max(channel.mixedUntil, event.head ?? event.o);
    if (channel.resyncing === "lost") this.#settled(channel);
    if (channel.view !== null) {
      const key = keyOf(event);
      if (key === undefined) channel.view.exact = false;
      else channel.view.set(key, valueOf(event));
    }
    this.#sample(channel, event.o);
    this.#deliver(channel, event);
    if (channel.acks) this.#owe(channel);
    if (event.sum !== undefined && event.o >= channel.mixedUntil) this.#compare(channel, event.sum);
  }

  // ----------------------------------------------------------------------------------------------------------- resync

  /** @param {Channel} channel @param {unknown} sum the server's */
  #compare(channel, sum) {
    const view = channel.view;
    if (view === null || !view.exact || typeof sum !== "number" || channel.mismatches >= LIMITS.MISMATCHES) return;
    if (view.sum === sum) {
      channel.mismatches = 0;
      return;
    }
    this.counters.mismatches += 1;
    channel.mismatches += 1;
    if (channel.mismatches === LIMITS.MISMATCHES) this.#emit("alarm", { what: "sum", n: LIMITS.MISMATCHES });
    else this.#resync(channel, "view", undefined);
  }

  /**
   * Asks for what is missing after `lastSeen`, or for a snapshot where that is undefined.
   * @param {Channel} channel
   * @param {"lost" | "view"} why an event is missing, or the view is wrong
   * @param {string | undefined} lastSeen
   */
  #resync(channel, why, lastSeen) {
    // A snapshot that has been asked for makes good a loss as well.
    if (channel.resyncing !== null) return;
    channel.resyncing = why;
    const now = this.#env.now();
    if (now - channel.resyncAt > LIMITS.STABLE_MS) channel.resyncs = 0;
    const steps = LIMITS.RESYNC_BACKOFF_MS;
    const wait = channel.resyncs === 0 ? 0 : steps[Math.min(channel.resyncs, steps.length) - 1];
    channel.resyncs += 1;
    const ask = () => {
      channel.resyncAt = this.#env.now();
      this.counters.resyncs += 1;
      this.#emit("resync", { ch: channel.name, why });
      this.#write({ type: "resync_request", ch: channel.name, last_seen: lastSeen });
      this.#after(`resync ${channel.name}`, LIMITS.RESYNC_MS, () => {
        if (why === "view") channel.forget();
        this.#rejoin(channel);
      });
    };
    if (wait === 0) ask();
    else this.#after(`resync ${channel.name}`, wait, ask);
  }

  /** Leaves and joins again. @param {Channel} channel */
  #rejoin(channel) {
    channel.joined = false;
    channel.resyncing = null;
    this.#write({ type: "unsubscribe", ch: channel.name });
    this.#write({ type: "subscribe", ...channel.request() });
  }

  /** What was asked for has come. @param {Channel} channel */
  #settled(channel) {
    channel.resyncing = null;
    this.#cancel(`resync ${channel.name}`);
  }

  // ------------------------------------------------------------------------------------------------------------- send

  /** @param {Channel} channel */
  #owe(channel) {
    channel.owed = channel.last;
    this.#flush();
  }

  /** Sends what is due, as fast as the server takes it. */
  #flush() {
    if (this.#status.state !== "open") return;
    for (const channel of this.#channels.values()) {
      if (channel.owed === null) continue;
      if (!this.#pace.take(this.#env.now())) return this.#later();
      this.#ack({ ch: channel.name, o: channel.owed });
      channel.owed = null;
    }
    while (this.#outbox.size > 0) {
      if (!this.#pace.take(this.#env.now())) return this.#later();
      const message = this.#outbox.next();
      if (message === undefined) return;
      this.#write(message);
    }
  }

  #later() {
    this.#after("flush", 1000 / LIMITS.SEND_PER_S, () => this.#flush());
  }

  /** Notes when an event came, if it is a sample and one is due. @param {Channel} channel @param {number} o */
  #sample(channel, o) {
    if (this.#sampleEvery === 0 || o % this.#sampleEvery !== 0 || o <= channel.head) return;
    const now = this.#heard;
    if (now - channel.sampledAt < LIMITS.SAMPLE_MS) return;
    if (channel.sample !== null) {
      if (now - channel.sample.rx < LIMITS.PAINT_MS) return;
      this.#answer(channel, null);
    }
    channel.sample = { o, rx: now };
    channel.sampledAt = now;
  }

  /**
   * Says when the sample came, and when it was on the screen, by the server's clock to the microsecond. Nothing before that is known.
   * @param {Channel} channel
   * @param {number | null} paintedAt by this clock
   */
  #answer(channel, paintedAt) {
    const { sample } = channel;
    channel.sample = null;
    const { offset, leastRtt } = this.#clock;
    if (sample === null || offset === null || leastRtt === null) return;
    const fine = (/** @type {number} */ ms) => Math.round(ms * 1000) / 1000;
    const paint = paintedAt === null ? undefined : fine(paintedAt + offset);
    this.#ack({ ch: channel.name, o: sample.o, rx: fine(sample.rx + offset), paint, rtt: fine(leastRtt) });
    // The first trip falls into the bustle of a page's start: the best of several says more, and heartbeats are far between.
    if (this.#clock.trips < LIMITS.CLOCK_SAMPLES && this.#ping === null) this.#beat();
  }

  /** @param {{ch: string, o: number, rx?: number, paint?: number, rtt?: number}} ack */
  #ack(ack) {
    this.counters.acks += 1;
    this.#write({ type: "ack", ...ack });
  }

  /** @param {Record<string, any>} message */
  #write(message) {
    // A socket that has been lost meanwhile says so itself.
    if (this.#socket !== null && this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  // ---------------------------------------------------------------------------------------------------------- helpers

  /** @param {Channel} channel @param {Record<string, any>} event */
  #deliver(channel, event) {
    for (const handler of [...channel.handlers]) this.#call(handler, event);
  }

  /** @param {string} name @param {any} detail */
  #emit(name, detail) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) this.#call(listener, detail);
  }

  /** A mistake in a handler is not the connection's. @param {(detail: any) => void} handler @param {any} detail */
  #call(handler, detail) {
    try {
      handler(detail);
    } catch (error) {
      this.#env.report(error);
    }
  }

  /** @param {Partial<Status>} change */
  #set(change) {
    this.#status = Object.freeze({ ...this.#status, ...change });
    this.#emit("status", this.#status);
  }

  /** @param {string} name @param {number} ms @param {() => void} run */
  #after(name, ms, run) {
    this.#cancel(name);
    this.#timers.set(
      name,
      this.#env.setTimeout(
        () => {
          this.#timers.delete(name);
          run();
        },
        Math.max(0, ms),
      ),
    );
  }

  /** @param {string} name */
  #cancel(name) {
    const timer = this.#timers.get(name);
    if (timer === undefined) return;
    this.#timers.delete(name);
    this.#env.clearTimeout(timer);
  }

  #cancelAll() {
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
  }
}
