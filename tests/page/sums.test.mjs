// Check sums against vectors that another language computed; the server is held to the same file.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { View, entrySum, fnv1a, keyOf, valueOf } from "../../src/dashboard/assets/hopline.js";
import { sumOf } from "./server.mjs";

const vectors = JSON.parse(readFileSync(new URL("sums.json", import.meta.url), "utf8"));

test("bytes, as the algorithm's authors publish them", () => {
  for (const { text, hash } of vectors.fnv1a) assert.equal(fnv1a(Buffer.from(text)), hash, text);
  assert.equal(fnv1a(Buffer.from("foobar")), 0xbf9cf968);
});

test("values are canonical: parsed and written again they are the same text", () => {
  for (const { value } of vectors.entries) assert.equal(JSON.stringify(JSON.parse(value)), value);
  for (const { event } of vectors.events) assert.equal(JSON.stringify(JSON.parse(event)), event);
});

test("a key with its value", () => {
  for (const { key, value, sum } of vectors.entries) assert.equal(entrySum(key, JSON.parse(value)), sum, `${key} ${value}`);
});

test("whole views, in any order, and whichever way they came to be", () => {
  for (const { entries, sum } of vectors.views) {
    const view = new View();
    for (const [key] of entries) view.set(key, "something else");
    assert.ok(entries.length === 0 || view.sum !== sum);
    for (const [key, value] of entries) view.set(key, JSON.parse(value));
    assert.equal(view.sum, sum);
    const other = new View();
    other.set("gone", 1);
    other.replace(Object.fromEntries(entries.map(([key, value]) => [key, JSON.parse(value)])));
    assert.equal(other.sum, sum);
  }
});

test("keys and values of events", () => {
  for (const { event, key, value } of vectors.events) {
    assert.equal(keyOf(JSON.parse(event)), key);
    assert.equal(JSON.stringify(valueOf(JSON.parse(event))), value);
  }
});

test("the slow way of the tests' server agrees", () => {
  for (const { entries, sum } of vectors.views) {
    assert.equal(sumOf(Object.fromEntries(entries.map(([key, value]) => [key, JSON.parse(value)]))), sum);
  }
});
