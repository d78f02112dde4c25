// Node's fetch: a thousand events one by one, by hardly more than one connection (a new one if the last answer's is not back
// in its pool by then), then a hundred at a time.
import diagnostics from "node:diagnostics_channel";

const [url] = process.argv.slice(2);
let connections = 0;
diagnostics.subscribe("undici:client:connected", () => { ++connections; });

async function send(event) {
  const answer = await fetch(url, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(event) });
  const said = await answer.json();
  if (answer.status !== 202 || said.accepted !== 1) throw new Error(`${answer.status} ${JSON.stringify(said)}`);
}

for (let i = 0; i < 1000; ++i) await send({ number: i });
if (connections < 1 || connections > 10) throw new Error(`${connections} connections for one request after the other`);
await Promise.all(Array.from({ length: 100 }, (_, i) => send({ number: i })));
