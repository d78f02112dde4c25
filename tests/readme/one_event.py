#!/usr/bin/env python3
# Follows one real event through the daemon: each function of ARCHITECTURE.md's "The way of one event" is called, on the
# thread that the page names, in the order of the page. gdb stops at each of them; the daemon is the release. Exits with 77
# where there is no gdb, or where it may not trace.
#
#   one_event.py SLUICED
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Runs within gdb: breakpoints that note their thread and go on, set once the daemon is ready.
SCRIPT = r'''
import gdb, subprocess
functions, event, done = {functions!r}, {event!r}, {done!r}
seen = set()

class Passed(gdb.Breakpoint):
    def __init__(self, function):
        super().__init__(function)
        self.function, self.silent = function, True
    def stop(self):
        thread = gdb.selected_thread().name
        if (self.function, thread) not in seen:
            seen.add((self.function, thread))
            with open(done, "a") as out:
                print(self.function, thread, file=out)
        return False

gdb.execute("set pagination off")
gdb.execute("set breakpoint pending off")
gdb.execute("handle SIGTERM SIGUSR1 nostop noprint pass")
gdb.execute("tbreak sluiced::host::ServiceManager::ready")
gdb.execute("run")
for function in functions:
    Passed(function)
subprocess.Popen(["sh", "-c", event + f"; kill -TERM {{gdb.selected_inferior().pid}}"])
gdb.execute("continue")
'''


def way():
    """The parts of the page: a list of threads, whether it runs beside the part before it, and its functions."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    text = re.search(r"^## The way of one event\n(.*?)^## ", text, re.M | re.S)[1]
    parts = []
    for part in re.split(r"^(?=The )", text, flags=re.M)[1:]:
        head, _, steps = part.partition("\n")
        parts.append((re.findall(r"`([\w-]+)`", head), "at the same time" in head,
                      re.findall(r"^\d+\. `([\w:]+)\(\)`", steps, re.M)))
    return parts


def faults(parts, passed):
    """What of the page did not happen. `passed`: function and thread, in the order of the first time."""
    before = begin = -1  # where in `passed` the part before this one ended, and where this one may begin
    for threads, beside, steps in parts:
        if not beside:
            begin = before
        last = begin
        for function in steps:
            at = [i for i, (name, thread) in enumerate(passed) if name == function and thread in threads and i > last]
            if not at:
                yield f"{function}() was not called on {' or '.join(threads)} after what stands before it"
            else:
                last = at[0]
        before = max(before, last)


def main():
    sluiced = sys.argv[1]
    if shutil.which("gdb") is None:
        print("skipped: no gdb")
        sys.exit(77)
    parts = way()
    functions = [function for _, _, steps in parts for function in steps]
    if len(functions) < 10:
        sys.exit("ARCHITECTURE.md has no way of one event")
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        done = work / "done"
        done.touch()
        # Ends well once the sink has the event and its settle mark had its 50 ms; then the daemon is stopped.
        event = (f"curl -s --max-time 20 -o {work}/answer --unix-socket {work}/in -H 'Content-Type: application/json' "
                 f"-d '{{\"hello\":1}}' http://localhost/v1/events; "
                 f"for i in $(seq 100); do grep -q hello {work}/out && break; sleep 0.1; done; sleep 0.5")
        script = work / "script.py"
        script.write_text(SCRIPT.format(functions=functions, event=event, done=str(done)))
        gdb = subprocess.run(["gdb", "-nx", "-batch", "-x", str(script), "--args", sluiced, "--listen", f"unix:{work}/in", "--admin",
                              "none", "--state-dir", f"{work}/state", "--sink", f"file:{work}/out", "--workers", "1"],
                             capture_output=True, text=True, timeout=100, check=False)
        if "ptrace" in gdb.stderr and "not permitted" in gdb.stderr:
            print("skipped: gdb may not trace here")
            sys.exit(77)
        passed = [tuple(line.split()) for line in done.read_text().splitlines()]
        wrong = list(faults(parts, passed))
        if wrong:
            print(*wrong, "what was called:", *passed, gdb.stdout, gdb.stderr, sep="\n")
            sys.exit(1)
    for function, thread in passed:
        print(f"{thread:12} {function}()")


main()
