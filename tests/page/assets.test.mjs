// What the page consists of: nothing inline, nothing from elsewhere, and every part that a script names is there.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const folder = new URL("../../src/dashboard/assets/", import.meta.url);
const files = new Map(readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder), "utf8")]));

/** What is wrong with a page's files, in words. */
function faults(files) {
  const found = [];
  const page = files.get("index.html");
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1] ?? "";
  if (!policy.startsWith("default-src 'none'") || /unsafe|\*|https?:/.test(policy))
    found.push("the page's policy lets more in than its own files");
  if (/<style|\sstyle=|\son[a-z]+=|javascript:/i.test(page)) found.push("index.html has styles or handlers inside");
  for (const [tag, body] of page.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g))
    if (body.trim() || !/src=/.test(tag)) found.push("index.html has a script inside");
  const ids = [...page.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`index.html has two of ${id}`);
  const named = [...page.matchAll(/(?:href|src)="([^"#]+)"/g)].map(([, name]) => name);
  for (const [name, text] of files) {
    if (!/\.(js|css|html)$/.test(name)) continue;
    const code = name.endsWith(".js") ? text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "") : text;
    const outside = /(?:https?:)?\/\/[a-z0-9.-]+\.[a-z]{2,}/i.exec(code.replaceAll("http://www.w3.org/2000/svg", ""));
    if (outside !== null) found.push(`${name} names another place: ${outside[0]}`);
    if (/@import|url\(/.test(code) && name.endsWith(".css")) found.push(`${name} fetches something`);
    if (!name.endsWith(".js")) continue;
    if (/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|"style"/.test(code))
      found.push(`${name} makes markup or code of text`);
    if (!text.startsWith("/**\n")) found.push(`${name} does not say what it is for`);
    for (const [, from] of code.matchAll(/from "([^"]*)"/g)) named.push(from.replace(/^\.\//, ""));
    for (const [, id] of code.matchAll(/byId\("([^"]*)"\)/g))
      if (!ids.includes(id) && !code.includes(`id: "${id}"`)) found.push(`${name} looks for ${id}, which is not there`);
  }
  for (const name of named) if (!files.has(name)) found.push(`${name} is named and not there`);
  for (const name of files.keys())
    if (!named.includes(name) && name !== "index.html" && name !== "package.json") found.push(`${name} is there and nobody names it`);
  return found;
}

test("the page needs nothing but its own files, and runs under a policy that allows nothing inline", () => {
  assert.deepEqual(faults(files), []);
});

test("the client alone is importable: it needs no other file", () => {
  assert.doesNotMatch(files.get("hopline.js"), /^import /m);
});

test("what finds faults finds them", () => {
  const planted = (name, from, to) => faults(new Map([...files, [name, files.get(name).replace(from, to)]]));
  for (const [name, from, to, said] of [
    ["index.html", "'none'", "*", "policy"],
    ["index.html", "<h2>", '<h2 style="color:red">', "inside"],
    ["index.html", "</head>", "<script>1</script></head>", "script inside"],
    ["index.html", 'id="dag"', 'id="dog"', "looks for dag"],
    ["index.html", 'id="way"', 'id="dag"', "two of dag"],
    ["index.html", "style.css", "other.css", "other.css is named"],
    ["dom.js", "textContent", "innerHTML", "markup"],
    ["style.css", "body {", "body { background: url(x.png);", "fetches"],
    ["dashboard.js", 'from "./dag.js"', 'from "https://example.org/dag.js"', "another place"],
    ["layout.js", "/**\n", "\n", "what it is for"],
  ]) {
    const found = planted(name, from, to);
    assert.ok(
      found.some((fault) => fault.includes(said)),
      `${name}: ${to}: ${found}`,
    );
  }
});
