# G1: what happens as things grow: connections, the size of events, workers, the queue. Each curve is a plot; each step of over
# 20 % down is named, to be explained in notes.md.
import itertools

from . import plot
from .measure import Finding, in_turns

STEP = 0.2


class Growth:
    def __init__(self, settings, network, plots):
        self.settings = settings
        self.network = network
        self.plots = plots  # directory

    def g1(self):
        few = self.settings.smoke
        curve = lambda *values: values[:2] if few else values
        return [
            self.curve("connections", "connections", curve(1, 4, 16, 64, 256, 1024, 4096, 10000),
                       lambda n: (self.network.queued("--max-connections", str(n + 16)), {"connections": n}), limit=True),
            self.curve("size", "bytes an event", curve(64, 256, 1024, 4096, 16384, 65536, 262144),
                       lambda n: (self.network.queued(), {"bytes": n}), limit=True, unit="MB/s", scale=lambda n: n / 1e6),
            self.curve("workers", "workers", curve(1, 2, 4, 8, 16, 32, 64),
                       lambda n: (self.network.queued("-w", str(n)), {"connections": 4, "events": 100})),
            self.curve("queue", "events in the queue at most", curve(1, 10, 100, 1000, 10000, 100000, 1000000),
                       lambda n: (self.network.queued("-q", str(n), "--queue-bytes", "1GiB"), {})),
        ]

    # `contest(n)`: a server and its load. With the limit under the same load, what counts is the ratio to it.
    def curve(self, name, label, values, contest, limit=False, unit="events/s", scale=lambda n: 1):
        rows = []
        for n in values:
            start, load = contest(n)
            turns = [self.network.contest("sluiced", start, "http", **load)]
            if limit:
                request = {key: value for key, value in load.items() if key in ("bytes", "events")}
                turns.append(self.network.contest("limit", self.network.limit(**request), "raw", **load))
            rows.append(in_turns(min(3, self.settings.rounds), turns))
        lines = [(row, [(n, c.median() * scale(n)) for n, c in zip(values, column)])
                 for row, column in zip(("sluiced", "limit"), zip(*rows))]
        steps = self.steps(values, lines)
        file = f"{name}.svg"
        plot.write(self.plots / file, f"{label}: {unit}", label, lines)
        return Finding("G1", f"growth: {label}", [], [],
                       notes=[f"![{label}: {unit}]({self.plots.name}/{file})", *self.table(values, lines, unit),
                              *(steps or ["no step down of over 20 %"])])

    @staticmethod
    def table(values, lines, unit):
        for name, points in lines:
            yield f"{name}, {unit}: " + " · ".join(f"{n}: {value:.4g}" for n, value in points)

    # Where ours falls by more than a fifth from one value to the next; beside the limit: where its share of it does.
    @staticmethod
    def steps(values, lines):
        found = []
        ours = [value for _, value in lines[0][1]]
        limits = [value for _, value in lines[1][1]] if len(lines) > 1 else [1] * len(ours)
        for (n, a, la), (m, b, lb) in itertools.pairwise(zip(values, ours, limits)):
            if b < (1 - STEP) * a or b / lb < (1 - STEP) * a / la:
                found.append(f"step: from {n} to {m}: {100 * (b / a - 1):+.0f} %"
                             + (f"; the limit {100 * (lb / la - 1):+.0f} %, our share of it {a / la:.2f} → {b / lb:.2f}" if len(lines) > 1 else ""))
        return found
