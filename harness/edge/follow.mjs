// Follows the DAG of an edge with npm's ws or eventsource, through cuts, and prints a JSON line for whatever comes.
// The view is the one that docs/EDGE.md shows; ADDRESS, HOW and the view's file are the arguments.

import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";

const [address, how, file, modules] = process.argv.slice(2);
const { View } = await import(pathToFileURL(file));
const load = createRequire(`${modules}/`);
const view = new View();
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function take(text, id) {
  const message = JSON.parse(text);
  const wrong = view.take(message);
  tell({ message, id, wrong, is_canonical: JSON.stringify(message) === text, sum: view.sum, last: view.last });
}

if (how === "ws") {
  const { WebSocket } = load("ws");
  const connect = () => {
    const socket = new WebSocket(`ws://${address}/ws`, ["hopline.v1.json"]);
    socket.on("open", () => {
      tell({ opened: socket.protocol });
      const since = view.epoch ? view.position : undefined;
      socket.send(JSON.stringify({ type: "hello", attempt: 0, subs: [{ ch: "dag/line", since }] }));
    });
    socket.on("message", (text) => take(text.toString()));
    // A close follows.
    socket.on("error", () => {});
    socket.on("close", (code) => {
      tell({ closed: code });
      setTimeout(connect, 200);
    });
  };
  connect();
} else {
  const { EventSource } = load("eventsource");
  const events = new EventSource(`http://${address}/dag?types=off`);
  events.onopen = () => tell({ opened: "sse" });
  events.onerror = () => tell({ closed: events.readyState });
  events.onmessage = ({ data, lastEventId }) => take(data, lastEventId);
}
process.stdin.on("end", () => process.exit(0)).resume();
