// What the timeline draws.

import assert from "node:assert/strict";
import test from "node:test";

import { area } from "../../src/dashboard/assets/timeline.js";

const point = (ms, x, y) => ({ ms, x, y });

test("depth is drawn from the floor and back to it", () => {
  assert.equal(area([], 17), "");
  assert.equal(area([point(0, 1, 9)], 17), "M1,17L1,9L1,17Z");
  assert.equal(area([point(0, 1, 9), point(250, 2, 8), point(2_250, 3, 7)], 17), "M1,17L1,9L2,8L3,7L3,17Z");
});

test("where nothing was told there is a hole, and no line across it", () => {
  const away = [point(0, 1, 9), point(250, 2, 8), point(45_000, 90, 7), point(45_250, 91, 6)];
  assert.equal(area(away, 17), "M1,17L1,9L2,8L2,17ZM90,17L90,7L91,6L91,17Z");
});
