// The CloudEvents SDK for JavaScript over Node's http: each event in binary and in structured mode, and all in one batch,
// with attributes as people write them. What has come out of the sink are the same events.
//
//   sdk.mjs SDK URL SINK
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import http from "node:http";

process.on("uncaughtException", (error) => {  // Node would show the line, which is all of the SDK
  console.error(`${error.stack}`.slice(0, 2000));
  process.exit(1);
});
globalThis.self = globalThis;  // it is built for browsers as well
const [sdk, url, sink] = process.argv.slice(2);
const { CloudEvent, HTTP } = createRequire(import.meta.url)(sdk);

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
function send({ headers, body }, method = "POST") {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers, agent }, (answer) => {
      let text = "";
      answer.on("data", (some) => { text += some; });
      answer.on("end", () => {
        if (answer.headers["keep-alive"] !== "timeout=75") reject(new Error(`keep-alive: ${answer.headers["keep-alive"]}`));
        if (answer.statusCode >= 300) reject(new Error(`${answer.statusCode} ${text}`));
        resolve({ answer, text });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

let count = 0;
const event = (subject, data, more = {}) => new CloudEvent({
  id: String(++count), type: "com.example.test", source: "/a/b?c=d", subject, data, datacontenttype: "application/json", ...more });
const events = [];
for (const subject of ["plain", "100%", "50% off", "a % b", "Zürich", "\"quoted\" and not", "comma, semicolon; (brackets)"])
  events.push(event(subject, { number: count, text: "Zürich €" }));
events.push(event("a list", [1, [2], "three"]), event("text", "at night €", { datacontenttype: "text/plain" }));
events.push(event("extensions", { a: 1 }, { flag: true, number: 7, name: "x y" }));

const sent = [...events];
const by = async (mode, one) => {
  const own = one.cloneWith({ id: `${one.id}-${mode}` });
  await send(HTTP[mode](own));
  sent.push(own);
};
for (const one of events) {
  await by("binary", one);
  await by("structured", one);
}
const batch = { headers: { "content-type": "application/cloudevents-batch+json" }, body: JSON.stringify(events) };
const { text } = await send(batch);
if (JSON.parse(text).accepted !== events.length) throw new Error(text);
const { answer } = await send({ headers: {} }, "OPTIONS");
if (answer.statusCode !== 204 || answer.headers.allow !== "POST, OPTIONS") throw new Error(`OPTIONS: ${answer.statusCode}`);

const wanted = sent.length;
let lines = [];
for (const end = Date.now() + 20000; lines.length < wanted && Date.now() < end;) {
  lines = readFileSync(sink, "utf8").split("\n").slice(0, -1);
  await new Promise((resolve) => setTimeout(resolve, 20));
}
if (lines.length !== wanted) throw new Error(`${lines.length} of ${wanted} came`);
const seen = (one) => JSON.stringify([one.id, one.type, one.source, one.subject, one.data, one.name, String(one.flag), String(one.number)]);
const came = lines.map((line) => seen(new CloudEvent(JSON.parse(line)))).sort();  // which validates it
sent.map(seen).sort().forEach((one, i) => {
  if (came[i] !== one) throw new Error(`sent ${one}, came ${came[i]}`);
});
console.log(wanted);
agent.destroy();
