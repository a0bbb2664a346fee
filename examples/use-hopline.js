/**
 * hopline in React: the connection, its status and the channels of a line as hooks.
 *
 * ```jsx
 * import { useHopline, useStatus, useChannel } from "./use-hopline.js";
 *
 * function Line({ url }) {
 *   const client = useHopline(url);
 *   const { state } = useStatus(client);
 *   const { view } = useChannel(client, "dag/line");
 *   return <p>{state}: {[...view.keys()].filter((key) => key.startsWith("node:")).length} nodes</p>;
 * }
 * ```
 *
 * Components that name the same address share one connection. Changes come once for each frame of the screen, however many
 * events there were, and what is told is a new object each time, as `useSyncExternalStore` wants it.
 *
 * `hopline.js` is what an edge serves under that name: `curl http://127.0.0.1:8080/hopline.js -O`.
 *
 * @module
 */

import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react";
import { Client } from "./hopline.js";

/** Clients by address, with how many components use them. @type {Map<string, {client: Client, users: number}>} */
const shared = new Map();

/**
 * The client of an address, open while some component uses it.
 * @param {string} url `ws://…/ws`
 * @returns {Client}
 */
export function useHopline(url) {
  const entry = useMemo(() => {
    if (!shared.has(url)) shared.set(url, { client: new Client(url), users: 0 });
    return shared.get(url);
  }, [url]);
  useEffect(() => {
    entry.users += 1;
    entry.client.open();
    return () => {
      entry.users -= 1;
      // React may take a component away only to put it back; then the connection stays.
      setTimeout(() => {
        if (entry.users === 0) entry.client.close();
      }, 0);
    };
  }, [entry]);
  return entry.client;
}

/**
 * The state of the connection.
 * @param {Client} client
 * @returns {import("./hopline.js").Status}
 */
export function useStatus(client) {
  const subscribe = useCallback((changed) => client.on("status", changed), [client]);
  const read = () => client.status;
  return useSyncExternalStore(subscribe, read, read);
}

/** What a channel told by the last frame. */
class Store {
  #told = { view: new Map(), events: [] };
  #events = [];
  #frame = 0;

  constructor(client, channel, options) {
    this.subscribe = (changed) => {
      const stop = client.subscribe(
        channel,
        (event) => {
          this.#events.push(event);
          // A hidden page has no frames; it needs no more than the last of what it missed.
          if (this.#events.length > 1000) this.#events.shift();
          this.#frame ||= requestAnimationFrame(() => {
            this.#frame = 0;
            this.#told = { view: new Map(client.channel(channel)?.view?.entries() ?? []), events: this.#events };
            this.#events = [];
            changed();
          });
        },
        options,
      );
      return () => {
        stop();
        cancelAnimationFrame(this.#frame);
        this.#frame = 0;
      };
    };
    this.read = () => this.#told;
  }
}

/**
 * A channel: its present values by key, where it has a state, and the events since the last rendering.
 * @param {Client} client
 * @param {string} channel `name/group`
 * @param {import("./hopline.js").SubscribeOptions} [options] of the first rendering
 * @returns {{view: Map<string, any>, events: Record<string, any>[]}}
 */
export function useChannel(client, channel, options) {
  // eslint-disable-next-line react-hooks/exhaustive-deps -- an object that is written in place is another one each time
  const store = useMemo(() => new Store(client, channel, options), [client, channel]);
  const told = useSyncExternalStore(store.subscribe, store.read, store.read);
  // Effects run after the paint, which is what the server wants to know of.
  useEffect(() => client.painted(), [client, told]);
  return told;
}
