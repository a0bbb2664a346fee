// Figures as people read them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, arrow, grouped, limit, rate, share, short, span } from "../../src/dashboard/assets/text.js";

const each = (say, table) => {
  for (const [value, text] of table) assert.equal(say(value), text, `${value}`);
};

test("spans have three digits, and no more than they were told with", () => {
  each(span, [
    [null, "–"],
    [undefined, "–"],
    [0, "<1 µs"],
    [1, "1 ns"],
    [181, "181 ns"],
    [999, "999 ns"],
    [1_180, "1.18 µs"],
    [4_000, "4 µs"],
    [10_000, "10.0 µs"],
    [15_600, "15.6 µs"],
    [117_000, "117 µs"],
    [999_400, "999 µs"],
    [999_600, "1.00 ms"],
    [23_200_000, "23.2 ms"],
    [1_530_000_000, "1.53 s"],
  ]);
});

test("limits are as they were written", () => {
  each(limit, [
    [100_000, "100 µs"],
    [5_000_000, "5 ms"],
    [1_500, "1.5 µs"],
    [100, "100 ns"],
    [2e9, "2 s"],
    [null, "–"],
  ]);
});

test("counts have groups, or three digits where there is little room", () => {
  each(grouped, [
    [0, "0"],
    [999, "999"],
    [1_000, "1,000"],
    [1_234_567, "1,234,567"],
    [null, "–"],
  ]);
  each(short, [
    [0, "0"],
    [999, "999"],
    [999.9, "1.00k"],
    [25_000, "25.0k"],
    [4_096, "4.10k"],
    [999_600, "1.00M"],
    [2.5e9, "2.50G"],
    [undefined, "–"],
  ]);
  each(rate, [
    [10_031, "10.0k/s"],
    [null, "–"],
  ]);
});

test("shares are percent", () => {
  each(share, [
    [0, "0 %"],
    [0.0001, "<0.1 %"],
    [0.003, "0.3 %"],
    [0.1234, "12 %"],
    [12.4, "1,240 %"],
    [317, "317×"],
    [9_857, "9.86k×"],
    [1_240_000, "1.24M×"],
    [null, "–"],
    [NaN, "–"],
    [Infinity, "–"],
  ]);
});

test("times that are past", () => {
  each(ago, [
    [-5, "now"],
    [999, "now"],
    [12_300, "12 s ago"],
    [130_000, "2 min ago"],
    [3 * 3_600_000, "3 h ago"],
  ]);
  assert.equal(arrow("a->b#x"), "a → b#x");
});
