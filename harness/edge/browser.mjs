// Drives Chromium: a command a line on standard input, its answer a line on standard output. The arguments are where
// playwright-core is, and the browser.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const [modules, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
const pages = [];

const commands = {
  async open({ url, width, height, scheme }) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
    const page = await context.newPage();
    const said = [];
    page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => said.push(`error: ${error.message}`));
    pages.push({ page, said });
    await page.goto(url, { waitUntil: "domcontentloaded" });
    return pages.length - 1;
  },
  // A function's text, called with an argument in the page.
  run: ({ page, code, given }) => pages[page].page.evaluate(`(${code})(${JSON.stringify(given ?? null)})`),
  // Asked again and again from here: the page's policy lets nobody evaluate a text in it.
  async until({ page, code, ms }) {
    for (const begin = Date.now(); Date.now() - begin < ms; await new Promise((done) => setTimeout(done, 50)))
      if (await pages[page].page.evaluate(`(${code})()`)) return true;
    return false;
  },
  shot: ({ page, file, full }) => pages[page].page.screenshot({ path: file, fullPage: full ?? false }).then(() => true),
  size: ({ page, width, height }) => pages[page].page.setViewportSize({ width, height }).then(() => true),
  scheme: ({ page, scheme }) => pages[page].page.emulateMedia({ colorScheme: scheme }).then(() => true),
  // Bytes of JavaScript's memory that are in use once what nobody holds has been collected.
  async heap({ page }) {
    const session = await pages[page].page.context().newCDPSession(pages[page].page);
    await session.send("HeapProfiler.collectGarbage");
    return (await session.send("Runtime.getHeapUsage")).usedSize;
  },
  said: ({ page }) => pages[page].said,
  close: ({ page }) => pages[page].page.context().close().then(() => true),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, what, ...given } = JSON.parse(line);
  // One waits while another is asked.
  commands[what](given).then?.(
    (answer) => console.log(JSON.stringify({ id, answer })),
    (error) => console.log(JSON.stringify({ id, error: String(error) })),
  ) ?? console.log(JSON.stringify({ id, answer: commands[what](given) }));
}
await browser.close();
