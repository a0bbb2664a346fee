// A server end in virtual time, written from the protocol and not from the client: channels with a bounded log, joins, snapshots,
// conflation, critical events that are sent again, heartbeats; and a way to it with delay, loss and cuts.

const STRIPPED = ["type", "ch", "o", "t", "skip", "head", "sum"];

/** The check sum as the protocol words it, without any shortcut. */
export function sumOf(state) {
  let sum = 0n;
  for (const [key, value] of Object.entries(state)) {
    let hash = 0x811c9dc5n;
    for (const byte of Buffer.from(`${key}\0${JSON.stringify(value)}`, "utf8")) hash = ((hash ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn;
    sum += hash;
  }
  return Number(sum & 0xffffffffn);
}

const KEYS = {
  node_state: (event) => `node:${event.node_id}`,
  edge_active: (event) => `edge:${event.hop}`,
  dag_mutated: () => "dag",
  cost_update: () => "cost",
};

/** A channel: one writer, dense offsets from 1. */
class Channel {
  log = [];
  o = 0;
  state = {};

  constructor(name, { state = false, critical = false, history = true, most = 1000 } = {}) {
    Object.assign(this, { name, isState: state, critical, history, most });
  }

  publish(type, fields, t) {
    const event = { type, ch: this.name };
    if (this.history) event.o = this.o += 1;
    Object.assign(event, { t }, fields);
    if (this.isState) {
      const value = Object.fromEntries(Object.entries(event).filter(([name]) => !STRIPPED.includes(name)));
      this.state[KEYS[type](event)] = value;
      if (event.o % 64 === 0) event.sum = sumOf(this.state);
    }
    if (this.history) {
      this.log.push(event);
      if (this.log.length > this.most) this.log.shift();
    }
    return event;
  }
}

/** One client's connection, seen from the server. */
class Session {
  subs = new Map();
  hello = null;
  got = [];
  acked = new Map();

  constructor(server, socket) {
    this.server = server;
    this.socket = socket;
    this.number = server.made += 1;
  }

  begin() {
    const { server } = this;
    this.send({
      type: "hello",
      v: server.version,
      sid: `s${this.number}`,
      epoch: server.epoch,
      ping_ms: server.pingMs,
      misses: 3,
      max_msg: 65536,
      debounce_ms: 20,
      sample: server.sampleEvery,
      now: server.time(),
    });
    if (server.pings) this.beat();
  }

  beat() {
    this.timer = this.server.clock.after(this.server.pingMs, () => {
      this.send({ type: "ping", ts: this.server.time() });
      this.beat();
    });
  }

  end() {
    this.server.clock.cancel(this.timer);
    this.server.sessions.delete(this);
  }

  send(message) {
    this.server.carry(this.socket, message);
  }

  receive(message) {
    this.got.push(message);
    switch (message.type) {
      case "hello":
        this.hello = message;
        for (const sub of message.subs) this.join(sub);
        break;
      case "subscribe":
        this.join(message);
        break;
      case "unsubscribe":
        this.subs.delete(message.ch);
        break;
      case "resync_request":
        this.server.resyncRequests.push(message);
        if (this.server.honoursResync) this.join({ ch: message.ch, since: message.last_seen });
        break;
      case "ping": {
        const rx = this.server.time();
        const tx = rx + this.server.thinkMs;
        const us = Math.round((this.server.clock.now + this.server.skewMs) * 1000);
        const fine = this.server.isFine ? { rx_us: us, tx_us: us + 1000 * this.server.thinkMs } : {};
        if (this.server.answersPings) this.send({ type: "pong", ts: message.ts, rx, tx, ...fine });
        break;
      }
      case "ack":
        this.acked.set(message.ch, Math.max(message.o, this.acked.get(message.ch) ?? 0));
        break;
      case "bye":
        this.socket.hangUp(1000, "bye");
        break;
      default:
        if (message.cid !== undefined && this.server.answers) this.send({ type: "result", cid: message.cid });
    }
  }

  /** All or nothing: everything after `since` follows, or a gap is told and a snapshot is sent. */
  join({ ch, since }) {
    const channel = this.server.channels.get(ch);
    if (channel === undefined) return;
    const { epoch } = this.server;
    const base = channel.o - channel.log.length;
    let from = null;
    let recovered = false;
    // From the beginning is no coming back.
    if (since === "earliest" || (since === undefined && channel.critical)) from = channel.isState ? 0 : base;
    else if (since !== undefined) {
      const [of, offset] = since.split(":");
      if (of === epoch && Number(offset) >= base && Number(offset) <= channel.o) [from, recovered] = [Number(offset), true];
      else if (channel.history && of === epoch) this.missed = { from: Number(offset) + 1, to: channel.o, why: "history" };
      else if (channel.history) this.missed = { from: 1, to: channel.o, why: "epoch" };
    }
    const sub = { last: from ?? channel.o, held: new Map() };
    this.subs.set(ch, sub);
    const replay = from === null ? [] : channel.log.filter((event) => event.o > from);
    this.send({ type: "subscribed", ch, epoch, o: channel.o, recovered, replayed: from === null ? 0 : channel.o - from });
    if (this.missed) this.send({ type: "gap", ch, ...this.missed });
    this.missed = undefined;
    for (const event of replay) this.tell(channel, event);
    if (from !== null || !channel.isState) return;
    this.send({ type: "snapshot", ch, o: channel.o, data: { ...channel.state }, sum: sumOf(channel.state) + this.server.wrongSums });
  }

  tell(channel, event) {
    const sub = this.subs.get(channel.name);
    if (sub === undefined) return;
    if (sub.slow) {
      // Conflated: the newest event of a key, at the end of the queue.
      const key = KEYS[event.type](event);
      sub.held.delete(key);
      sub.held.set(key, event);
      return;
    }
    const skip = event.o === undefined ? 0 : event.o - sub.last - 1;
    if (event.o !== undefined) sub.last = event.o;
    this.send(skip > 0 ? { ...event, skip } : event);
    if (channel.critical) {
      for (const ms of [500, 1000, 2000]) {
        this.server.clock.after(ms, () => {
          if (this.server.sessions.has(this) && (this.acked.get(channel.name) ?? 0) < event.o) this.send(event);
        });
      }
    }
  }

  /** From now on events of a state channel wait for `release`, conflated. */
  hold(name) {
    this.subs.get(name).slow = true;
  }

  release(name) {
    const sub = this.subs.get(name);
    sub.slow = false;
    for (const event of sub.held.values()) this.tell(this.server.channels.get(name), event);
    sub.held.clear();
  }
}

/** A server and the network before it. */
export class Server {
  channels = new Map();
  sessions = new Set();
  resyncRequests = [];
  /** Times at which somebody tried to connect. */
  attempts = [];
  made = 0;
  version = 1;
  pingMs = 15_000;
  pings = true;
  answersPings = true;
  answers = true;
  honoursResync = true;
  thinkMs = 0;
  /** Whether it tells its time to the microsecond, as it does since the first version that asks for samples. */
  isFine = true;
  /** Events whose offsets are multiples of this are samples; an older server does not say so. */
  sampleEvery = 16;
  /** Added to the sums of snapshots. */
  wrongSums = 0;
  /** "up", "refuses" (a closed port), "silent" (packets vanish). */
  network = "up";
  /** One way, in milliseconds. */
  delayMs = 1;
  /** How far its clock is ahead. */
  skewMs = 0;
  /** Whether a message from the server is lost, by the message. */
  loses = () => false;
  /** Cut the connection after so many more messages to the client. */
  cutAfter = Infinity;

  constructor(clock, epoch = "00000000000000e1") {
    this.clock = clock;
    this.epoch = epoch;
    this.add("dag/line", { state: true });
    this.add("alerts/line", { critical: true });
    this.add("stats/line", { history: false });
  }

  add(name, what) {
    this.channels.set(name, new Channel(name, what));
  }

  time() {
    return Math.round(this.clock.now + this.skewMs);
  }

  publish(name, type, fields = {}) {
    const channel = this.channels.get(name);
    const event = channel.publish(type, fields, this.time());
    for (const session of [...this.sessions]) session.tell(channel, event);
    return event;
  }

  /** Another process in its place. */
  restart(epoch) {
    for (const session of [...this.sessions]) session.socket.hangUp(1006, "");
    this.epoch = epoch;
    for (const channel of this.channels.values()) Object.assign(channel, { log: [], o: 0, state: {} });
  }

  /** Every connection breaks, and both ends notice. */
  cut() {
    for (const session of [...this.sessions]) session.socket.hangUp(1006, "");
  }

  get session() {
    return [...this.sessions].at(-1);
  }

  carry(socket, message) {
    if (this.network === "silent" || socket.over) return;
    this.cutAfter -= 1;
    const lost = this.loses(message);
    const text = JSON.stringify(message);
    if (!lost)
      this.clock.after(this.delayMs, () => {
        if (socket.readyState === 1) socket.onmessage?.({ data: text });
      });
    if (this.cutAfter <= 0) {
      this.cutAfter = Infinity;
      socket.hangUp(1006, "");
    }
  }

  /** What a page would have as `WebSocket`. */
  get WebSocket() {
    const server = this;
    return class Socket {
      readyState = 0;
      over = false;

      constructor(url, protocols) {
        if (!url.startsWith("ws")) throw new SyntaxError(`not an address: ${url}`);
        Object.assign(this, { url, protocols });
        server.attempts.push(server.clock.now);
        if (server.network === "silent") return;
        const { network } = server;
        server.clock.after(2 * server.delayMs, () => {
          if (this.readyState !== 0) return;
          if (network === "refuses") {
            this.readyState = 3;
            this.onerror?.({});
            this.onclose?.({ code: 1006, reason: "" });
            return;
          }
          this.readyState = 1;
          this.session = new Session(server, this);
          server.sessions.add(this.session);
          this.onopen?.({});
          this.session.begin();
        });
      }

      send(text) {
        if (this.readyState !== 1) throw new Error("not open");
        if (server.network === "silent") return;
        server.clock.after(server.delayMs, () => {
          if (!this.over && server.network === "up") this.session.receive(JSON.parse(text));
        });
      }

      /** The client closes. */
      close(code, reason) {
        if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) throw new RangeError(`no code to close with: ${code}`);
        if (this.readyState >= 2) return;
        this.readyState = 2;
        this.closedWith = code;
        if (server.network === "silent") return;
        server.clock.after(2 * server.delayMs, () => {
          this.finish();
          this.onclose?.({ code, reason });
        });
      }

      /** The server closes, or the network breaks. What was on the way still arrives. */
      hangUp(code, reason) {
        if (this.over) return;
        this.finish();
        server.clock.after(server.delayMs, () => {
          if (this.readyState === 3) return;
          this.readyState = 3;
          this.onclose?.({ code, reason });
        });
      }

      finish() {
        this.over = true;
        this.session?.end();
      }
    };
  }
}
