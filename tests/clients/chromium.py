#!/usr/bin/env python3
# A real browser at the doors: Chromium looks at pages of another site, of a name that was made to point here, and of an
# allowed origin; each tries all that a page can. What may not happen has not happened, by the daemon's own books.
# Exits with 77 where there is no Chromium.
#
#   chromium.py SLUICED     $SLUICE_CHROMIUM: the browser, if it is not `chromium` in $PATH
import http.client
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

PAGE = """<!doctype html><title>trial</title>
<iframe name="frame"></iframe>
<form id="form" method="post" target="frame" enctype="text/plain"><input name='{"form":1,"x":"' value='"}'></form>
<script>
const intake = "INTAKE", admin = "ADMIN";
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function tried(what) {
  try { const answer = await what(); return answer.type === "opaque" ? "opaque" : answer.status + " " + (await answer.text()).slice(0, 40); }
  catch (error) { return "error"; }
}
const submitted = (target) => new Promise((resolve) => {
  const form = document.getElementById("form");
  document.querySelector("iframe").onload = () => resolve("submitted");
  form.action = target;
  form.submit();
  setTimeout(() => resolve("no answer"), 2000);
});
const socket = (url) => new Promise((resolve) => {
  const it = new WebSocket(url.replace("http:", "ws:"));
  it.onopen = () => resolve("open");
  it.onerror = () => resolve("error");
});
(async () => {
  const said = {};
  said.simple = await tried(() => fetch(intake + "/v1/events", { method: "POST", mode: "no-cors", body: '{"simple":1}' }));
  said.json = await tried(() => fetch(intake + "/v1/events", { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"json":1}' }));
  said.beacon = String(navigator.sendBeacon(intake + "/v1/events", '{"beacon":1}'));
  said.form = await submitted(intake + "/v1/events");
  said.drop = await submitted(admin + "/dead-letter/drop");
  said.drop_fetch = await tried(() => fetch(admin + "/dead-letter/drop", { method: "POST", mode: "no-cors" }));
  said.drop_field = await tried(() => fetch(admin + "/dead-letter/drop", { method: "POST", headers: { "Sluice-Admin": "1" } }));
  said.status = await tried(() => fetch(admin + "/status"));
  said.socket = await socket(admin + "/status");
  await wait(200);
  await fetch("/result", { method: "POST", body: JSON.stringify(said) });
})();
</script>"""


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.page.encode() if self.path == "/" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.server.result = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.told.set()

    def log_message(self, *arguments):
        pass


def status(admin):
    connection = http.client.HTTPConnection(admin, timeout=10)
    connection.request("GET", "/status")
    return json.loads(connection.getresponse().read())


FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP *.example 127.0.0.1"]


def look_at(browser, host, pages, intake, admin):
    """What the page of that host says of its tries."""
    pages.told.clear()
    pages.page = PAGE.replace("INTAKE", f"http://{intake}").replace("ADMIN", f"http://{admin}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([browser, *FLAGS, f"--user-data-dir={profile}", f"http://{host}:{pages.server_port}/"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not pages.told.wait(60):
                sys.exit(f"the page of {host} has not said how its tries went")
        finally:
            process.terminate()
            process.wait(20)
    print(host, json.dumps(pages.result))
    return pages.result


def seen_at(browser, url):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        return subprocess.run([browser, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url], capture_output=True,
                              text=True, timeout=60).stdout


def want(what, is_so):
    print("ok " if is_so else "FAILED:", what)
    return is_so


def main():
    browser = os.environ.get("SLUICE_CHROMIUM") or shutil.which("chromium")
    if not browser:
        print("skipped: there is no chromium")
        sys.exit(77)
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    pages.told = threading.Event()
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    app = f"http://app.example:{pages.server_port}"
    with tempfile.TemporaryDirectory() as state:
        daemon = subprocess.Popen([sys.argv[1], "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state-dir", state,
                                   "--sink", "null:?refuse=1", "--allow-origin", app], stderr=subprocess.PIPE, text=True)
        for line in daemon.stderr:
            found = re.search(r"ready run=\S+ listen=(\S+) admin=([^ ,]+)", line)
            if found:
                break
        try:
            threading.Thread(target=daemon.stderr.read, daemon=True).start()
            intake, admin = found.groups()
            connection = http.client.HTTPConnection(intake, timeout=10)
            connection.request("POST", "/v1/events", '{"dead":1}\n{"dead":2}\n', {"Content-Type": "application/x-ndjson"})
            assert connection.getresponse().status == 202
            good = True
            for host in ["evil.example", "app.example"]:
                allowed = host == "app.example"
                before = status(admin)["books"]["accepted"]
                said = look_at(browser, host, pages, intake, admin)
                books = status(admin)["books"]
                more = books["accepted"] - before
                good &= want(f"{host}: events taken", more == (4 if allowed else 0))
                good &= want(f"{host}: reads its answer", said["json"].startswith('202 {"accepted":1') == allowed)
                good &= want(f"{host}: moves no dead letter", said["drop_field"] == "error" and
                             len(open(os.path.join(state, "dead-letter.ndjson")).readlines()) == books["dead"])
                good &= want(f"{host}: reads no status", said["status"] == "error")
                good &= want(f"{host}: opens no socket", said["socket"] == "error")
            good &= want("who types the address of the status sees it", '"phase":"running"' in seen_at(browser, f"http://{admin}/status"))
            # To the browser all of this is one site: a page that it got there before the name was made to point here reads it.
            port = admin.rsplit(":", 1)[1]
            good &= want("by another name nobody sees it", '"phase"' not in seen_at(browser, f"http://rebound.example:{port}/status"))
        finally:
            daemon.terminate()
        good &= want("the daemon ends well", daemon.wait(20) == 0)
    sys.exit(0 if good else 1)


main()
