// Time that passes when it is told to, and chance that repeats itself.

/** A clock with timers. Nothing happens between two calls of `advance`. */
export class Clock {
  /** Milliseconds since 1970; not a round number, so that nobody relies on one. */
  now = 1_790_000_000_123.25;
  #timers = [];
  #made = 0;

  after(ms, run) {
    const timer = { at: this.now + Math.max(0, ms), order: this.#made, run };
    this.#made += 1;
    this.#timers.push(timer);
    return timer;
  }

  cancel(timer) {
    const at = this.#timers.indexOf(timer);
    if (at >= 0) this.#timers.splice(at, 1);
  }

  /** Lets `ms` pass; what is due happens in order, and what that makes due as well. */
  advance(ms) {
    const end = this.now + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= end);
      if (due.length === 0) break;
      const [next] = due.sort((a, b) => a.at - b.at || a.order - b.order);
      this.cancel(next);
      this.now = Math.max(this.now, next.at);
      next.run();
    }
    this.now = end;
  }

  /** The machine sleeps: time passes, and what was due happens late, all at the end. */
  sleep(ms) {
    this.now += ms;
    this.advance(0);
  }

  get pending() {
    return this.#timers.length;
  }
}

/** Numbers from 0 to 1 by a seed: mulberry32. */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
