# The classes of work over the network, A to C: what is sent, to whom, and what must be reached. 200-byte JSON events.
import os
import subprocess
import time

from . import machine
from .measure import Contestant, Finding, Sample, Target, in_turns, ratio, run_program
from .servers import Limit, Place, Sluiced


def cpu(sample):
    return sample.cpu


class Network:
    def __init__(self, settings):
        self.settings = settings
        self.peers = settings.peers  # None: the limit alone
        self.known = {}  # what one class measured and another needs

    # ---- who there is

    # Flags with {directory} in them mean that of the server.
    def sluiced(self, *flags, state="{directory}/state"):
        def start(directory):
            filled = [flag.format(directory=directory) for flag in flags]
            return Sluiced(self.settings.program("sluiced"), directory, state and state.format(directory=directory), *filled)
        return start

    # Acknowledged from memory, delivered to nobody.
    def queued(self, *flags):
        return self.sluiced("-s", "null:", *flags, state=None)

    def durable(self, ack, sink="null:", *flags):
        return self.sluiced("-s", sink, "--ack", ack, *flags)

    # `log`: nothing, write or sync.
    def limit(self, log=None, **request):
        def start(directory):
            into = {log: os.path.join(directory, "log")} if log else {}
            return Limit(self.settings.program("bench_limit"), directory, **request, **into)
        return start

    # ---- how it is measured

    def load(self, server, protocol, **arguments):
        arguments.setdefault("seconds", self.settings.seconds)
        return run_program([self.settings.program("bench_load"), protocol, server.port,
                            *(f"{name}={value}" for name, value in arguments.items())])

    # A closed loop, or a constant rate, against a server of its own; its CPU is that of all its life, drain included.
    def contest(self, name, start, protocol, **arguments):
        def measure():
            with Place.of(start) as server:
                said = self.load(server, protocol, **arguments)
                server.stop()
                return Sample(said["rate"], 1e6 * server.cpu / max(1, said["answered"]), server.mib, said["refused"],
                              {f"{name} µs": said[name] for name in ("p50", "p99", "p999") if name in said})
        return Contestant(name, measure)

    def peer(self, name, start, protocol, **arguments):
        return [self.contest(name, start, protocol, **arguments)] if self.peers else []

    def turns(self, *contestants):
        return in_turns(self.settings.rounds, list(contestants))

    def wrk(self):
        if not self.peers:
            return []
        def measure():
            with Place.of(self.queued()) as server:
                rate = self.settings.wrk(server.port)
                server.stop()
                return Sample(rate, None, server.mib)
        return [Contestant("sluiced, asked by wrk", measure)]

    # ---- A: one event a POST

    def a1(self):
        contestants = self.turns(
            self.contest("sluiced", self.queued(), "http"), self.contest("limit", self.limit(), "raw"),
            *self.peer("nginx, 204", self.settings.peer("nginx"), "http"), *self.wrk())
        ours, limit = contestants[:2]
        self.known["A1"] = ours.median()
        targets = [Target("of the limit", ratio(ours, limit), 0.85)]
        if self.peers:
            nginx = contestants[2]
            targets += [Target("× nginx", ratio(ours, nginx), 1),
                        Target("CPU an event, × nginx", ratio(ours, nginx, cpu), 1.1, at_least=False)]
        return Finding("A1", "one event a POST, 32 connections, checked, `queued`, null", contestants, targets)

    def a2(self):
        contestants = self.turns(
            self.contest("sluiced", self.queued(), "http", depth=16), self.contest("limit", self.limit(), "raw", depth=16),
            *self.peer("nginx, 204", self.settings.peer("nginx"), "http", depth=16))
        targets = [Target("of the limit", ratio(*contestants[:2]), 0.40)]
        if self.peers:
            targets.append(Target("× nginx", ratio(contestants[0], contestants[2]), 7))
        return Finding("A2", "the same, pipelined 16 deep", contestants, targets)

    def a3(self):
        if "A1" not in self.known:
            self.known["A1"] = self.contest("sluiced", self.queued(), "http").measure().rate
        rate = round(self.known["A1"] / 2)
        contestants = self.turns(
            self.contest("sluiced", self.queued(), "http", rate=rate), self.contest("limit", self.limit(), "raw", rate=rate),
            *self.peer("nginx, 204", self.settings.peer("nginx"), "http", rate=rate))
        p99 = lambda sample: sample.more["p99 µs"]
        return Finding("A3", f"constant rate, half of A1: {rate} a second; latency from the instant each was due", contestants,
                       [Target("p99, × the limit's", ratio(*contestants[:2], p99), 1.5, at_least=False)])

    # A monitoring system in a hurry, on the load's CPU.
    def s1(self):
        def scraped():
            with Place.of(self.queued()) as server:
                argv = ["taskset", "-c", str(machine.LOAD_CPU), self.settings.program("bench_scrape"), str(server.admin), "100"]
                with subprocess.Popen(argv) as scraper:
                    said = self.load(server, "http")
                    scraper.terminate()
                server.stop()
                return Sample(said["rate"], 1e6 * server.cpu / said["answered"], server.mib, said["refused"])
        contestants = self.turns(Contestant("sluiced, scraped", scraped), self.contest("sluiced, not scraped", self.queued(), "http"))
        return Finding("S1", "A1 while /metrics is read a hundred times a second", contestants,
                       [Target("CPU an event, × A1's", ratio(*contestants, cpu), 1.03, at_least=False)])

    # ---- B: 1000 events a POST

    def b1(self):
        bulk = {"connections": 4, "events": 1000}
        contestants = self.turns(
            self.contest("sluiced", self.queued(), "http", **bulk), self.contest("limit", self.limit(events=1000), "raw", **bulk),
            *self.peer("nginx, 204, checks nothing", self.settings.peer("nginx"), "http", **bulk))
        return Finding("B1", "a POST of 1000 NDJSON events, 4 connections, each event checked, `queued`, null", contestants,
                       [Target("million events/s", contestants[0].median() / 1e6, 2.5),
                        Target("MiB, with a bound of 64 for events", contestants[0].median(lambda sample: sample.mib), 128,
                               at_least=False, form="{:.0f}")])

    # Delivered, all of them: until the file has what was sent, since rsyslog does not say when it has.
    def b2(self):
        contestants = self.turns(self.ours_into_a_file(), *([self.rsyslog_into_a_file()] if self.peers else []),
                                 self.contest("limit, which writes and checks nothing", self.limit("write", events=1000), "raw",
                                              connections=4, events=1000))
        targets = []
        if self.peers:
            targets = [Target("× rsyslog", ratio(*contestants[:2]), 1.3),
                       Target("CPU an event, × rsyslog", ratio(*contestants[:2], cpu), 0.75, at_least=False)]
        return Finding("B2", "the same, `written`, into a file; rsyslog: imtcp → omfile", contestants, targets,
                       "events/s delivered")

    def ours_into_a_file(self):
        def measure():
            with Place.of(self.durable("written", "file:{directory}/out.ndjson")) as server:
                begin = time.monotonic()
                said = self.load(server, "http", connections=4, events=1000)
                end = server.wait_delivered(said["answered"])
                server.stop()
                return Sample(said["answered"] / (end - begin), 1e6 * server.cpu / said["answered"], server.mib, said["refused"])
        return Contestant("sluiced", measure)

    def rsyslog_into_a_file(self):
        def measure():
            with Place.of(self.settings.peer("rsyslog")) as server:
                begin = time.monotonic()
                events = self.load(server, "syslog", connections=1, depth=100)["answered"]
                file = os.path.join(server.directory, "out.log")
                end, lines = when_it_stops_growing(file, events)
                server.stop()
                return Sample(lines / (end - begin), 1e6 * server.cpu / lines, server.mib, 0, {"lost": events - lines})
        return Contestant("rsyslog", measure)

    # ---- C: each event acknowledged when it is durable

    def c1(self):
        contestants = self.turns(
            self.contest("sluiced", self.durable("synced"), "http"), self.contest("limit", self.limit("sync"), "raw"),
            *self.peer("redis, always", self.settings.peer("redis", "always"), "redis"),
            *self.peer("beanstalkd -f0", self.settings.peer("beanstalkd"), "beanstalkd"))
        targets = [Target("of the limit", ratio(*contestants[:2]), 0.85)]
        if self.peers:
            targets.append(Target("× redis always", ratio(contestants[0], contestants[2]), 1))
        return Finding("C1", "32 connections × 1 event, `synced`, null", contestants, targets)

    def c2(self):
        contestants = self.turns(
            self.contest("sluiced", self.durable("synced"), "http", events=100),
            self.contest("limit", self.limit("sync", events=100), "raw", events=100),
            *self.peer("redis, always", self.settings.peer("redis", "always"), "redis", depth=100),
            *self.peer("beanstalkd -f0", self.settings.peer("beanstalkd"), "beanstalkd", depth=100),
            *self.peer("nats-server, JetStream (no sync), 1 connection × 3200", self.settings.peer("nats"), "nats", connections=1,
                       depth=3200))
        targets = [Target("of the limit", ratio(*contestants[:2]), 0.75)]
        if self.peers:
            targets.append(Target("× redis always", ratio(contestants[0], contestants[2]), 2.5))
        return Finding("C2", "32 connections × 100 events, `synced`, null; peers with 100 requests outstanding", contestants, targets)

    def c3(self):
        contestants = self.turns(
            self.contest("sluiced × 1", self.durable("written"), "http"),
            self.contest("A1 again", self.queued(), "http"),
            self.contest("limit × 1", self.limit("write"), "raw"),
            *self.peer("redis, everysec × 1", self.settings.peer("redis", "everysec"), "redis"),
            self.contest("sluiced × 100", self.durable("written"), "http", events=100),
            self.contest("limit × 100", self.limit("write", events=100), "raw", events=100),
            *self.peer("redis, everysec × 100", self.settings.peer("redis", "everysec"), "redis", depth=100))
        by_name = {contestant.name: contestant for contestant in contestants}
        targets = [Target("× 1: of A1", ratio(by_name["sluiced × 1"], by_name["A1 again"]), 0.8)]
        if self.peers:
            targets.append(Target("× 100: × redis everysec",
                                  ratio(by_name["sluiced × 100"], by_name["redis, everysec × 100"]), 2.5))
        return Finding("C3", "both, `written`", contestants, targets,
                       notes=[f"sluiced × 100 is {ratio(by_name['sluiced × 100'], by_name['limit × 100']):.2f} of the limit × 100"])


# Until a file has so many lines, or grows no more: when that was, and how many there are.
def when_it_stops_growing(file, lines, patience=3):
    size = lambda: os.path.getsize(file) if os.path.exists(file) else 0
    line = 0
    seen, grown_at = -1, time.monotonic()
    while time.monotonic() - grown_at < patience:
        now = size()
        if now > seen:
            seen, grown_at = now, time.monotonic()
        if not line and seen > 0:
            with open(file, "rb") as text:
                first = text.readline()
                line = len(first) if first.endswith(b"\n") else 0
        if line and seen >= lines * line:
            break
        time.sleep(0.002)
    return grown_at, seen // line if line else 0
