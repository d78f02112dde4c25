#!/usr/bin/env python3
# Behind the proxies that people have, Debian's nginx and haproxy, while the daemon is stopped and started again and again
# under load: what was answered 202 is in the sink once, and what was answered otherwise, or not at all, is not there. Each
# proxy as sluiced(8) shows it; nginx also as it comes (HTTP/1.0 to the daemon), and without request buffering, where it
# passes on a body while it still arrives. Exits with 77 where neither proxy is there.
#
#   proxies.py SLUICED PACKAGES [KIND..]     PACKAGES: where scripts/packages were unpacked, a folder each
import collections
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SENDERS = 6
RESTARTS = 20  # of each daemon; of those that a proxy looks at once a second a tenth
A_LIFE = 40  # requests that are answered 202 in it, before it is stopped

NGINX = """daemon off;
master_process off;
worker_processes 1;
pid DIRECTORY/nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path DIRECTORY/body;
  proxy_temp_path DIRECTORY/proxy;
  fastcgi_temp_path DIRECTORY/fastcgi;
  uwsgi_temp_path DIRECTORY/uwsgi;
  scgi_temp_path DIRECTORY/scgi;
  client_max_body_size 16m;
  SERVERS
}
"""
# As Debian's nginx speaks to a server unless it is told otherwise: HTTP/1.0, a connection a request.
PLAIN = "server { listen 127.0.0.1:PORT; location / { proxy_pass http://127.0.0.1:7070; MORE } }"
KEPT = """upstream one { server 127.0.0.1:7070 max_fails=0; keepalive 4; }
server { listen 127.0.0.1:PORT; location / { proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection ""; MORE } }"""
UNBUFFERED = "proxy_request_buffering off;"
HAPROXY = """global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend in
  bind 127.0.0.1:PORT
  default_backend sluice
"""


def free_port():
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


def example(name):
    """An example of the manual pages, as its reader copies it."""
    command = pathlib.Path(__file__).resolve().parents[1] / "readme" / "example"
    return subprocess.run([command, name], check=True, capture_output=True, text=True).stdout


class Daemon:
    """One that is started again on the same port, the same state and the same sink, life after life."""

    def __init__(self, sluiced, directory, flags):
        self.sink = pathlib.Path(directory, "sink")
        self.port = free_port()
        self.accepted = 0
        self.command = [sluiced, "--listen", f"127.0.0.1:{self.port}", "--admin", "none", "--state-dir",
                        str(pathlib.Path(directory, "state")), "--sink", f"file:{self.sink}?format=raw", *flags]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if " ready run=" in line:
                break
        else:
            sys.exit("sluiced is not ready")
        self.said = []
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.reader.join(10)
        self.accepted += int(re.search(r" accepted=(\d+) ", self.said[-1]).group(1)) if self.said else 0
        if code != 0:
            sys.exit(f"sluiced ended with {code}: {self.said[-3:]}")


class Senders:
    """Threads that post numbers through the proxy, each number once, and note how each was answered."""

    def __init__(self, port):
        self.port = port
        self.lock = threading.Lock()
        self.answers = {}  # by number: the status, or 0
        self.next = 0
        self.taken = 0  # requests
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.send, args=(i,), daemon=True) for i in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def numbers(self, count):
        with self.lock:
            self.next += count
            return range(self.next - count, self.next)

    def send(self, which):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.over.is_set():
            # By turns: one event; a batch of known length; a batch in chunks, which comes slowly and is large.
            numbers = self.numbers([1, 5, 5][which % 3])
            lines = [b'{"k":%d,"fill":"%s"}\n' % (k, b"x" * ([10, 100, 20000][which % 3])) for k in numbers]
            status = 0
            try:
                fields = {"Content-Type": "application/x-ndjson"}
                if which % 3 == 2:
                    def slowly():
                        for line in lines:
                            yield line[:9000]
                            time.sleep(0.002)  # so that a stop comes while it arrives
                            yield line[9000:]
                    connection.request("POST", "/v1/events", slowly(), fields, encode_chunked=True)
                else:
                    connection.request("POST", "/v1/events", b"".join(lines), fields)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                connection.close()
            with self.lock:
                for k in numbers:
                    self.answers[k] = status
                self.taken += status == 202
            if status != 202:
                self.over.wait(0.005)  # nobody is there; not a busy loop

    def wait_taken(self, more):
        """Until so many more requests were answered 202."""
        until = time.monotonic() + 60
        wanted = self.taken + more
        while self.taken < wanted:
            if time.monotonic() > until:
                sys.exit(f"no more is taken; answers: {collections.Counter(self.answers.values())}")
            time.sleep(0.005)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(90)


def wait_listens(port):
    until = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                sys.exit("the proxy does not listen")
            time.sleep(0.01)


def trial(name, sluiced, program, configuration, daemons, all_taken, flags=(), restarts=RESTARTS):
    """True if nothing was lost, doubled, or refused and delivered. `all_taken`: and every request was answered 202."""
    with tempfile.TemporaryDirectory() as directory:
        own = []
        for i in range(daemons):
            os.mkdir(f"{directory}/{i}")
            own.append(Daemon(sluiced, f"{directory}/{i}", flags))
        port = free_port()
        text = configuration.replace("DIRECTORY", directory).replace("PORT", str(port))
        for written, daemon in zip((":7070", ":8070"), own):
            text = text.replace(written, f":{daemon.port}")
        pathlib.Path(directory, "conf").write_text(text)
        arguments = [str(program), "-f", f"{directory}/conf"]
        if program.name == "nginx":
            arguments = [str(program), "-p", directory, "-e", "stderr", "-c", f"{directory}/conf"]
        libraries = ":".join(str(folder) for folder in program.parents[3].glob("*/usr/lib/*-linux-gnu"))
        log = open(f"{directory}/log", "w+")
        proxy = subprocess.Popen(arguments, env={"LD_LIBRARY_PATH": libraries, "PATH": os.environ["PATH"]}, stderr=log)
        try:
            wait_listens(port)
            senders = Senders(port)
            for _ in range(restarts):
                for daemon in own:
                    senders.wait_taken(A_LIFE)
                    daemon.stop()
                    daemon.start()
            senders.wait_taken(A_LIFE)
            senders.stop()
            for daemon in own:
                daemon.stop()
        finally:
            proxy.terminate()
            proxy.wait(20)
            for daemon in own:
                daemon.process.kill()
        log.seek(0)
        said = log.read().splitlines()[-5:]
        delivered = collections.Counter()
        for daemon in own:
            delivered.update(json.loads(line)["k"] for line in daemon.sink.read_text().splitlines())
    taken = {k for k, status in senders.answers.items() if status == 202}
    lost = sum(delivered[k] == 0 for k in taken)
    doubled = sum(times > 1 for times in delivered.values())
    refused = sum(k not in taken for k in delivered)
    others = collections.Counter(status for status in senders.answers.values() if status != 202)
    books = sum(daemon.accepted for daemon in own) - delivered.total()
    good = lost == doubled == refused == books == 0 and len(taken) > 0 and not (all_taken and others)
    print(f"{'ok     ' if good else 'FAILED '} {name}: taken={len(taken)} lost={lost} doubled={doubled} "
          f"refused_yet_delivered={refused} off_the_books={books} other_answers={dict(others)}", flush=True)
    if not good:
        print(*said, sep="\n")
    return good


def main():
    sluiced, packages = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    nginx, haproxy = packages / "nginx/usr/sbin/nginx", packages / "haproxy/usr/sbin/haproxy"
    nginx_of = lambda servers, more="": NGINX.replace("SERVERS", servers.replace("MORE", more))
    readme_nginx = example("nginx").replace("server { location", "server { listen 127.0.0.1:PORT; location")
    kinds = {
        "nginx-http10": (nginx, nginx_of(PLAIN), 1, False),
        "nginx-http10-unbuffered": (nginx, nginx_of(PLAIN, UNBUFFERED), 1, False),
        "nginx-http11": (nginx, nginx_of(KEPT), 1, False),
        "nginx-http11-unbuffered": (nginx, nginx_of(KEPT, UNBUFFERED), 1, False),
        "nginx-readme": (nginx, nginx_of(readme_nginx), 2, True),
        "haproxy-readme": (haproxy, HAPROXY + example("haproxy"), 2, True, ("--unready-delay", "3500ms"),
                           RESTARTS // 10),
    }
    good, seen = True, False
    for name in sys.argv[3:] or kinds:
        program = kinds[name][0]
        if not program.exists():
            print(f"skipped {name}: there is no {program}")
            continue
        seen = True
        good = trial(name, sluiced, *kinds[name]) and good
    sys.exit((0 if good else 1) if seen else 77)


main()
