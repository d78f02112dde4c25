# Servers: one process, on the server's CPU, from its start until nothing of it is left, and what it used in that time. Also
# the two servers that are ours: sluiced, and the limit. Each has a directory of its own while it runs.
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from . import machine

START_SECONDS = 20  # until it must listen
STOP_SECONDS = 120  # until it must be gone


class Server:
    # `port`: a number, or what finds it in the lines that the server prints.
    def __init__(self, argv, directory, port, env=None):
        self.directory = directory
        self.said = os.path.join(directory, "said")
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen(["taskset", "-c", str(machine.SERVER_CPU), *argv], stdin=subprocess.DEVNULL,
                                            stdout=said, stderr=said, env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        self.handle = os.pidfd_open(self.pid)
        self.used = None
        try:
            self.port = self.wait_for_port(port) if isinstance(port, str) else self.wait_until_it_listens(port)
        except BaseException:
            self.kill()
            raise
        self.cpu_at_start = machine.cpu_seconds(self.pid)

    def lines(self):
        with open(self.said, errors="replace") as said:
            return said.read()

    def fail(self, what):
        raise RuntimeError(f"{self.process.args[3]} {what}: {self.lines()[-2000:]}")

    def wait_until(self, look):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and not self.gone(0):
            found = look()
            if found:
                return found
            time.sleep(0.005)
        self.fail("does not start")

    def wait_for_port(self, pattern):
        return int(self.wait_until(lambda: re.search(pattern, self.lines(), re.M)).group(1))

    def wait_until_it_listens(self, port):
        def listens():
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
                return True
        self.wait_until(listens)
        return port

    def gone(self, seconds):
        return bool(select.select([self.handle], [], [], seconds)[0])

    # Ends it in order: seconds from the signal until it is gone. Then `cpu` (seconds since it listened) and `mib` are known.
    def stop(self, then_kill_after=STOP_SECONDS):
        self.mib = machine.peak_mib(self.pid)
        begin = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        if not self.gone(then_kill_after):
            self.kill()
            self.fail("does not stop")
        took = time.monotonic() - begin
        self.reap()
        return took

    def reap(self):
        _, status, usage = os.wait4(self.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = usage.ru_utime + usage.ru_stime - self.cpu_at_start

    def kill(self):
        if self.process.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
            if self.gone(STOP_SECONDS):
                self.reap() if hasattr(self, "cpu_at_start") else self.process.wait()


# Directories on the disk that counts, and servers that live in one: at the end neither is there any more.
class Place:
    scratch = None

    @classmethod
    @contextlib.contextmanager
    def directory(cls):
        directory = tempfile.mkdtemp(dir=cls.scratch)
        try:
            yield directory
        finally:
            shutil.rmtree(directory)

    # `start(directory)` makes a Server.
    @classmethod
    @contextlib.contextmanager
    def of(cls, start):
        with cls.directory() as directory:
            server = start(directory)
            try:
                yield server
            finally:
                server.kill()
                os.close(server.handle)


class Sluiced(Server):
    # `state`: where; None: nowhere. With room for what a benchmark sends, since refusals are not what it measures.
    def __init__(self, program, directory, state, *flags):
        keep = ["--state-dir", state, "--journal-bytes", "16GiB"] if state else ["--state-dir", "none"]
        super().__init__([program, "-l", "127.0.0.1:0", "-a", "127.0.0.1:0", *keep, *flags], directory,
                         r"listen=127\.0\.0\.1:(\d+)")
        self.admin = int(re.search(r"admin=127\.0\.0\.1:(\d+)", self.lines()).group(1))

    def status(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/status", timeout=20) as answer:
            return json.load(answer)

    # When so many events are delivered.
    def wait_delivered(self, events):
        end = time.monotonic() + STOP_SECONDS
        while self.status()["books"]["delivered"] < events:
            if time.monotonic() > end:
                self.fail(f"has not delivered {events}: {self.status()}")
            time.sleep(0.005)
        return time.monotonic()


class Limit(Server):
    def __init__(self, program, directory, **arguments):
        super().__init__([program, *(f"{name}={value}" for name, value in arguments.items())], directory, r"^(\d+)$")
