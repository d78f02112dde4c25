# The machine: which CPUs there are, what it is called in a report, and what a process has used of it.
import os
import pathlib
import platform
import re
import subprocess
import time

# The server runs on the first, the load on the second, as long as there are two.
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU = CPUS[0]
LOAD_CPU = CPUS[1 % len(CPUS)]


def first_line(pattern, path, otherwise):
    found = re.search(pattern, pathlib.Path(path).read_text(), re.M) if os.path.exists(path) else None
    return found.group(1).strip() if found else otherwise


def describe():
    cpu = first_line(r"^model name\s*: (.*)$", "/proc/cpuinfo", platform.machine())
    memory = int(first_line(r"^MemTotal:\s*(\d+)", "/proc/meminfo", "0")) // 2**20
    system = first_line(r'^PRETTY_NAME="(.*)"$', "/etc/os-release", "Linux")
    return f"{len(CPUS)} CPUs of {cpu}, {memory} GiB, {system}, kernel {platform.release()}"


def commit(root):
    said = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=10"], capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


# CPU seconds that a running process has used, all its threads together, to the nanosecond: CPUCLOCK_SCHED of a process.
def cpu_seconds(pid):
    return time.clock_gettime((~pid << 3) | 2)


# The most memory that a running process ever had resident, in MiB.
def peak_mib(pid):
    return int(first_line(r"^VmHWM:\s*(\d+)", f"/proc/{pid}/status", "0")) / 1024
