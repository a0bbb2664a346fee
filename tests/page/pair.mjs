// A client and a server end, joined in virtual time.

import { Client } from "../../src/dashboard/assets/hopline.js";
import { Server } from "./server.mjs";
import { Clock, chance } from "./virtual.mjs";

let made = 0;

/**
 * Both ends, and what the client tells.
 * @param {object} [options]
 * @param {number} [options.seed] of the client's chance; without it there is no jitter
 */
export function pair({ seed, token } = {}) {
  const clock = new Clock();
  const server = new Server(clock);
  const told = [];
  const signals = { online() {}, visible() {}, hidden() {} };
  const faults = [];
  const env = {
    WebSocket: server.WebSocket,
    now: () => clock.now,
    random: seed === undefined ? () => 0 : chance(seed),
    setTimeout: (run, ms) => clock.after(ms, run),
    clearTimeout: (timer) => clock.cancel(timer),
    signals: (on) => {
      Object.assign(signals, on);
      return () => Object.assign(signals, { online() {}, visible() {}, hidden() {} });
    },
    report: (fault) => faults.push(fault),
  };
  // An address of its own each, since clients on one address are counted.
  made += 1;
  const client = new Client(`ws://edge${made}.test/ws`, { env, token });
  for (const name of ["refused", "dropped", "thrash", "resync", "gap", "shed", "error", "alarm"]) {
    client.on(name, (detail) => told.push({ name, ...detail }));
  }
  const states = [];
  client.on("status", (status) => {
    if (states.at(-1) !== status.state) states.push(status.state);
  });
  return { clock, server, client, told, states, signals, faults, env };
}

/** What of a channel arrived, in order. */
export function follow(client, name, options) {
  const events = [];
  const stop = client.subscribe(name, (event) => events.push(event), options);
  return Object.assign(events, { stop });
}

/** Waits between attempts that the server's side saw, in milliseconds. */
export function waits(server) {
  return server.attempts.slice(1).map((at, index) => at - server.attempts[index]);
}

/** What is wrong with offsets that are to be 1 to `last`, each once and in order; empty if nothing is. */
export function unlike(offsets, last) {
  const wrong = [];
  for (let at = 0; at < Math.max(offsets.length, last); at += 1) if (offsets[at] !== at + 1) wrong.push(`${at}: ${offsets[at]}`);
  return wrong;
}
