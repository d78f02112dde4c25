# Measuring: contestants in turns, one round after another, so that what else the machine does meets all of them; medians, and
# ratios of neighbours in time.
import dataclasses
import json
import statistics
import subprocess

from . import machine


@dataclasses.dataclass
class Sample:
    rate: float  # events a second; or whatever the class measures
    cpu: float = None  # CPU seconds of the server per million events
    mib: float = None  # most memory that the server had resident
    refused: int = 0
    more: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Contestant:
    name: str
    measure: object  # () -> Sample
    samples: list = dataclasses.field(default_factory=list)

    def all(self, get):
        return [get(sample) for sample in self.samples if get(sample) is not None]

    def median(self, get=lambda sample: sample.rate):
        values = self.all(get)
        return statistics.median(values) if values else None

    # From the least to the most, as a share of the median.
    def spread(self):
        rates = self.all(lambda sample: sample.rate)
        return (max(rates) - min(rates)) / statistics.median(rates)


# How many times the other's value ours is: the median over the rounds.
def ratio(ours, other, get=lambda sample: sample.rate):
    return statistics.median(get(a) / get(b) for a, b in zip(ours.samples, other.samples))


def in_turns(rounds, contestants):
    for _ in range(rounds):
        for contestant in contestants:
            contestant.samples.append(contestant.measure())
    return contestants


@dataclasses.dataclass
class Target:
    text: str
    value: float
    bound: float
    at_least: bool = True
    form: str = "{:.2f}"

    def met(self):
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self):
        sign = "≥" if self.at_least else "≤"
        word = "met" if self.met() else "**missed**"
        return f"{self.text} {sign} {self.form.format(self.bound)}: {self.form.format(self.value)}, {word}"


# What a class has found. `unit` is what `rate` counts; `notes` are lines for the reader.
@dataclasses.dataclass
class Finding:
    name: str
    title: str
    contestants: list
    targets: list
    unit: str = "events/s"
    notes: list = dataclasses.field(default_factory=list)


# A program of the benchmark on the load's CPU, or unpinned; what it prints as JSON.
def run_program(argv, pinned=True, seconds=300):
    on = ["taskset", "-c", str(machine.LOAD_CPU)] if pinned is True else ["taskset", "-c", pinned] if pinned else []
    done = subprocess.run([*on, *map(str, argv)], capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr.strip()}")
    return json.loads(done.stdout)
