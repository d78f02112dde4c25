# The classes around the network's: in-process (D), into a database (E), from the disk (F), and the stop (H).
import glob
import mmap
import os
import re
import shutil
import socket
import time

from . import machine
from .measure import Contestant, Finding, Sample, Target, in_turns, ratio, run_program
from .servers import Place


class More:
    def __init__(self, settings, network):
        self.settings = settings
        self.network = network

    # ---- D: the library, on all CPUs

    def d1(self):
        findings = []
        for threads in (1, 2):
            for bulk in (64, 1):
                findings.append(self.d1_case(threads, bulk))
        return findings

    def d1_case(self, threads, bulk):
        def contestant(name, program, who):
            def measure():
                said = run_program([program, who, f"threads={threads}", f"bulk={bulk}", f"seconds={self.settings.seconds / 2}"],
                                   pinned=False)
                return Sample(said["ns"], said["cpu_ns"] / 1000)
            return Contestant(name, measure)
        queues = self.settings.program("bench_inprocess")
        contestants = [contestant("sluice: track()", queues, "sluice"), contestant("moodycamel alone", queues, "moodycamel"),
                       contestant("mutex and deque", queues, "mutex")]
        pools = self.settings.pools if bulk == 64 else None
        if pools:
            contestants += [contestant("Asio thread_pool, a task each", pools, "asio"),
                            contestant("oneTBB arena, a task each", pools, "tbb")]
        in_turns(self.settings.rounds, contestants)
        words = "in bulks of 64" if bulk == 64 else "one by one"
        targets = [Target("× moodycamel alone", ratio(*contestants[:2]), 1.5 if bulk == 64 else 2, at_least=False)]
        targets += [Target(f"times as fast as {pool.name.split(',')[0]}", ratio(pool, contestants[0]), 10, form="{:.1f}")
                    for pool in contestants[3:]]
        return Finding("D1", f"in-process, {threads} + {threads} threads, {words}, empty work", contestants, targets,
                       "ns an event")

    # ---- E: end to end into SQLite

    def e1(self):
        batch = 1000
        events = round(150_000 * max(1, self.settings.seconds))

        def ours():
            start = self.network.durable("synced", "sqlite:{directory}/events.db", "--batch-events", str(batch))
            with Place.of(start) as server:
                begin = time.monotonic()
                said = self.network.load(server, "http", connections=4, events=batch)
                end = server.wait_delivered(said["answered"])
                server.stop()
                return Sample(said["answered"] / (end - begin), 1e6 * server.cpu / said["answered"], server.mib, said["refused"])

        def alone():
            with Place.directory() as directory:
                argv = [self.settings.program("bench_sink"), f"raw-sqlite:{directory}/events.db", f"events={events}",
                        f"batch={batch}", "ack=synced"]
                said = run_program(argv, pinned=str(machine.SERVER_CPU))
                return Sample(events / said["seconds"])
        contestants = in_turns(self.settings.rounds, [Contestant("sluiced", ours), Contestant("SQLite alone", alone)])
        return Finding("E1", f"end to end into SQLite, `synced`, {batch} a POST and a transaction", contestants,
                       [Target("of SQLite alone", ratio(*contestants), 0.8)], "events/s delivered")

    # ---- F: a backlog comes back

    def f1(self):
        size = self.settings.backlog_bytes
        with Place.directory() as kept:
            events = self.make_backlog(kept, size)
            contestants = in_turns(self.settings.rounds, [Contestant("sluiced", lambda: self.replay(kept, events)),
                                                          Contestant("reading the files once", lambda: self.read(kept, events))])
        return Finding("F1", f"replay of {size / 2**30:.2f} GiB of 1 KiB events into null, page cache warm", contestants,
                       [Target("of reading the files once", ratio(*contestants), 0.5)])

    # A state directory with so many bytes of events that a sink never took.
    def make_backlog(self, directory, size):
        state = os.path.join(directory, "state")
        start = self.network.sluiced("-s", "null:?hang=true", "-w", "1", "--ack", "written", "-t", "100ms", state=state)
        with Place.of(start) as server:
            events = 0
            end = time.monotonic() + 300
            while events * 1024 < size:
                if time.monotonic() > end:
                    server.fail("does not take a backlog")
                rest = (size - events * 1024) / 1024 / 1e6  # seconds, at a million a second
                events += self.network.load(server, "http", connections=4, events=1000, bytes=1024,
                                            seconds=min(1, max(0.05, rest / 2)))["answered"]
            server.stop()
        return events

    # With links in place of the segments, which nobody changes any more, only removes; what is settled is written beside them.
    def copy_of(self, kept, place):
        state = os.path.join(place, "state")
        shutil.copytree(os.path.join(kept, "state"), state, copy_function=link_segments,
                        ignore=shutil.ignore_patterns("admin.sock*"))
        return state

    def replay(self, kept, events):
        with Place.directory() as place:
            state = self.copy_of(kept, place)
            begin = time.monotonic()
            with Place.of(self.network.sluiced("-s", "null:", "--ack", "written", state=state)) as server:
                end = server.wait_delivered(events)
                server.stop()
                cpu = server.cpu + server.cpu_at_start
                return Sample(events / (end - begin), 1e6 * cpu / events, server.mib)

    @staticmethod
    def read(kept, events):
        files = [file for file in glob.glob(os.path.join(kept, "state", "**"), recursive=True) if os.path.isfile(file)]
        buffer = [mmap.mmap(-1, 2**20)]  # begins where a page does: askew, the kernel's copy takes twice as long
        os.sched_setaffinity(0, {machine.SERVER_CPU})
        begin = time.monotonic()
        for file in files:
            with open(file, "rb", buffering=0) as open_file:
                while os.readv(open_file.fileno(), buffer):
                    pass
        took = time.monotonic() - begin
        os.sched_setaffinity(0, machine.CPUS)
        return Sample(events / took)

    # ---- H: the stop

    def h1(self):
        return [self.h1_idle(), self.h1_full()]

    def h1_idle(self):
        def measure():
            with Place.of(self.network.durable("synced")) as server:
                self.network.load(server, "http", seconds=0.1)
                server.wait_delivered(1)
                idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(32)]
                time.sleep(0.05)
                took = server.stop()
                for client in idle:
                    client.close()
                return Sample(1000 * took, mib=server.mib)
        contestants = in_turns(self.settings.rounds, [Contestant("sluiced", measure)])
        return Finding("H1", "SIGTERM to exit, nothing queued, 32 idle clients", contestants,
                       [Target("ms", contestants[0].median(), 20, at_least=False, form="{:.1f}")], "ms")

    # One request of so many events; the signal comes with its answer.
    def h1_full(self):
        events = 60000

        def ours():
            start = self.network.durable("queued", "file:{directory}/out.ndjson", "-w", "1", "--queue-bytes", "256MiB",
                                         "--max-request-bytes", "16MiB")
            with Place.of(start) as server:
                with socket.create_connection(("127.0.0.1", server.port)) as connection:
                    connection.sendall(ndjson(events))
                    answer = connection.recv(65536)
                    already = os.path.getsize(os.path.join(server.directory, "out.ndjson"))
                    took = server.stop()
                if b"202" not in answer or f"delivered={events} " not in server.lines():
                    server.fail(f"has not delivered {events}; it answered {answer}")
                all_of_it = os.path.getsize(os.path.join(server.directory, "out.ndjson"))
                return Sample(1000 * took, mib=server.mib, more={"queued": events * (1 - already / all_of_it)})

        def alone():
            with Place.directory() as directory:
                argv = [self.settings.program("bench_sink"), f"file:{directory}/out.ndjson", f"events={events}"]
                return Sample(1000 * run_program(argv, pinned=str(machine.SERVER_CPU))["seconds"])
        contestants = in_turns(self.settings.rounds, [Contestant("sluiced", ours), Contestant("the file sink alone", alone)])
        return Finding("H1", f"SIGTERM to exit, {events} events queued for the file sink", contestants,
                       [Target("× the sink's own time", ratio(*contestants), 1.1, at_least=False)], "ms")


def ndjson(events):
    event = b'{"type":"page_view","user":"u-48151623","session":"01a20b82bee07158b53e932405c0a9b6","path":"/articles/42"' \
            b',"at":"2026-01-31T12:34:56.789Z","ms":17.25,"tags":["web","mobile","beta"],"ok":true,"n":null}'
    body = b"\n".join([event] * events)
    return b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def link_segments(source, target):
    (os.link if re.fullmatch(r"segment-\d+", os.path.basename(source)) else shutil.copy2)(source, target)
