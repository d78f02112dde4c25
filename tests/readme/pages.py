#!/usr/bin/env python3
# The pages against the program. Each check compares both directions: what a page names exists, and what exists is on its page.
# Prints a line a fault; exits with 1 if there is one.
#
#   pages.py SLUICED SLUICECTL
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAN = ROOT / "systemd" / "man"
faults = []


def fault(text):
    faults.append(text)


def same(what, on_page, in_program):
    for extra in sorted(set(on_page) - set(in_program)):
        fault(f"{what}: the page has {extra}, the program does not")
    for missing in sorted(set(in_program) - set(on_page)):
        fault(f"{what}: the page lacks {missing}")


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL)


def page(name):
    return (MAN / name).read_text()


# --- manual pages --------------------------------------------------------------------------------------------------------


def check_lint():
    own = {f"{p.stem} {p.suffix[1:]}" for p in MAN.iterdir()}
    for path in sorted(MAN.iterdir()):
        for line in run("mandoc", "-T", "lint", str(path)).stdout.splitlines():
            # Other pages are not installed where the tests run.
            if "referenced manual not found" not in line:
                fault(line)
        for name, section in re.findall(r"^\.Xr (sluice\S*) (\d)", path.read_text(), re.M):
            if f"{name} {section}" not in own:
                fault(f"{path.name}: there is no {name}({section})")


class Item:
    """A flag of a manual page: its letter, argument, default, and the words and text below it."""

    def __init__(self, head, body):
        letter = re.match(r"Fl (\w)(?: Ar \S+)? , Fl -", head)
        self.letter = letter[1] if letter else ""
        self.name, self.argument = re.search(r"Fl -([\w-]+)(?: Ar (\S+))?$", head).groups(default="")
        default = re.search(r"default is\n\.Ql (?:\"([^\"]+)\"|(\S+))", body)
        self.default = (default[1] or default[2]) if default else ""
        self.words = re.findall(r"^\.(?:It )?Cm (\w+)", body.replace("Fl -state-dir Cm none", ""), re.M)
        self.text = re.sub(r"\s+", " ", re.sub(r"^\.\w+ ", "", body, flags=re.M))


def flags_of(name):
    """The items of a page that begin with a flag, up to the next flag."""
    items = {}
    for head, body in re.findall(r"^\.It (Fl [^\n]*)\n(.*?)(?=^\.It Fl |^\.S[hs] |\Z)", page(name), re.M | re.S):
        item = Item(head, body)
        items[item.name] = item
    return items


def rows_of(help_text):
    """The rows of --help: letter, argument and default of each flag. The default stands in a column of its own."""
    rows = {}
    for line in help_text.splitlines():
        row = re.match(r" +(?:-(\w), )? *--([\w-]+)(?: ([A-Z]+))?(?: |$)", line)
        if row:
            default = line[78:].strip()
            rows[row[2]] = (row[1] or "", row[3] or "", "" if default == "see below" else default)
    return rows


def check_flags(what, name, program, commands):
    """Flags of a page and of --help. `commands`: what stands before a flag, so that the program refuses its value."""
    on_page, in_program = flags_of(name), rows_of(run(program, "--help").stdout)
    same(f"{what}, flags", on_page, in_program)
    for flag in set(on_page) & set(in_program):
        item, (letter, argument, default) = on_page[flag], in_program[flag]
        for part, here, there in (("letter", item.letter, letter), ("argument", item.argument, argument),
                                  ("default", item.default, default)):
            if here != there:
                fault(f"{what}, --{flag}: {part} '{here}', in --help '{there}'")
        if argument not in ("N", "SIZE", "DUR", "WORD"):
            continue
        # What the program allows, from its refusal.
        allowed = run(program, *commands.get(flag, commands[""]), f"--{flag}=?").stderr
        choices = re.search(r": one of (.*)$", allowed, re.M)
        bounds = re.search(r"from (\S+) to (\w+)", allowed)
        if choices:
            same(f"{what}, --{flag}, choices", item.words, choices[1].split(", "))
        elif bounds is None:
            fault(f"{what}, --{flag}: the program does not say what it allows: {allowed}")
        elif bounds[0] not in item.text:
            fault(f"{what}, --{flag}: does not say '{bounds[0]}'")


def check_commands(sluicectl):
    shown = run("mandoc", "-T", "ascii", "-O", "width=200", str(MAN / "sluicectl.1")).stdout
    shown = re.sub(r".\x08", "", shown)
    synopsis = re.search(r"^SYNOPSIS\n(.*?)^DESCRIPTION", shown, re.M | re.S)[1]
    commands = [re.sub(r"\s+", " ", line.strip()) for line in synopsis.splitlines() if line.strip()]
    same("sluicectl(1), commands", commands,
         [line.strip() for line in run(sluicectl, "--help").stdout.splitlines() if line.startswith("  sluicectl ")])


def check_sinks(sluiced):
    allowed = re.search(r"allowed are (.*)$", run(sluiced, "--sink=?").stderr, re.M)[1]
    schemes = re.findall(r"^\.It Cm (\w+:)", page("sluiced-sinks.7").replace("\\&", ""), re.M)
    same("sluiced-sinks(7)", schemes, re.findall(r"(\w+:)", allowed))
    parameters = re.findall(r"^\.It Cm \?(\w+)=", page("sluiced-sinks.7"), re.M)
    known = set()
    for scheme in schemes:
        answer = re.search(r"allowed(?: are|:)? (.*)$", run(sluiced, f"--sink={scheme}{'x' if scheme in ('file:', 'sqlite:') else ''}?x=1").stderr, re.M)
        known |= set(re.findall(r"\w+", answer[1])) if answer else set()
    same("sluiced-sinks(7), parameters", parameters, known - {"none", "for", "sqlite"})


def check_metrics():
    source = "".join(path.read_text() for path in (ROOT / "daemon").rglob("*.cc"))
    same("sluiced(8), metrics", re.findall(r"\b(sluice_[a-z_]+)", page("sluiced.8")), re.findall(r'"(sluice_[a-z_]+)"', source))


def check_log():
    """Each log line of the page is written by the program: its phrase, and behind it its keys in their order."""
    source = "".join(path.read_text() for folder in ("lib", "daemon") for path in (ROOT / folder).rglob("*.cc"))
    source = re.sub(r'"\s*\n\s*"', "", source)
    section = re.search(r"^\.Sh LOG\n(.*?)^\.Sh ", page("sluiced.8"), re.M | re.S)[1]
    lines = [line for display in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", section, re.M | re.S) for line in display.splitlines()]
    for line in lines:
        words = line.split()
        keys = [word for word in words if word.endswith("=")]
        phrase = " ".join(word for word in words if word not in keys and not word.isupper())
        pattern = r'"' + re.escape(phrase) + "".join(rf'[^"]* {re.escape(key)}' for key in keys)
        if not re.search(pattern, source):
            fault(f"sluiced(8): no log line '{line}'")
    if len(lines) < 10:
        fault("sluiced(8) has fewer log lines than it should")


def check_journal():
    source = (ROOT / "lib/journal/format.h").read_text()
    comment = "\n".join(line[2:] for line in source.splitlines() if line.startswith("//"))
    text = page("sluice-journal.5")
    version = re.search(r"kVersion = (\d+)", source)[1]
    if f"describes version {version}." not in text:
        fault(f"sluice-journal(5): does not describe version {version}")
    # Fields: offset and size. Kinds of records, with their numbers. The bytes of the example.
    same("sluice-journal(5), fields", re.findall(r"^\.It (\d+) Ta (\d+) Ta", text, re.M),
         re.findall(r"(?:^|(?<=   )) *(\d{1,3}) +(\d{1,2})  ", comment, re.M))
    kinds = re.findall(r"(\w+) = (\d)[,\n]", re.search(r"enum class RecordKind.*?\{(.*?)\}", source, re.S)[1])
    on_page = re.findall(r"(?:^\.It |and )([a-z ]+), kind (\d)", text, re.M)
    same("sluice-journal(5), records", [(name.replace(" ", "_"), kind) for name, kind in on_page], kinds)
    row = r"^ *((?:[0-9A-F]{2} ){8,})"
    same("sluice-journal(5), example", re.findall(row, text, re.M), re.findall(row, comment, re.M))


# --- README --------------------------------------------------------------------------------------------------------------


def check_readme():
    text = (ROOT / "README.md").read_text()
    words = len(text.split())
    if words > 1000:
        fault(f"README.md has {words} words, more than 1000")
    # Each figure stands in the run that it names; each class has its row.
    results = (ROOT / "tests/bench/RESULTS.md").read_text()
    for name, rate, ratio in re.findall(r"^\| ([A-Z]\d): .*? \| ([\d.]+ [kM]) \|.* ([\d.]+) × \|$", text, re.M):
        section = re.search(rf"^## {name} .*?(?=^## |\Z)", results, re.M | re.S)[0]
        ours = re.search(r"^\| sluiced +\| ([\d.]+ [kM]) ", section, re.M)[1]
        if ours != rate or f"| {ratio} ×" not in section:
            fault(f"README.md, {name}: {rate} and {ratio} × are not in tests/bench/RESULTS.md")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        if not (ROOT / target).exists():
            fault(f"README.md: {target} does not exist")
    # The stop list, of which sluiced(8) has the same words; tests/house.sh compares it with the code.
    shown = re.sub(r"\s+", " ", re.sub(r".\x08", "", run("mandoc", "-T", "ascii", str(MAN / "sluiced.8")).stdout))
    steps = re.findall(r"^\d\. (.*)$", text, re.M)
    if len(steps) != 8:
        fault(f"README.md: the stop list has {len(steps)} steps")
    for step in steps:
        if step.replace("`", "") not in shown:
            fault(f"sluiced(8) lacks this step of README's stop list: {step}")
    for name, section in [(p.stem, p.suffix) for p in MAN.iterdir()]:
        if f"`man {name}`" not in text:
            fault(f"README.md does not name {name}{section}")


# --- ARCHITECTURE, CONTRIBUTING, SECURITY --------------------------------------------------------------------------------


def check_files(name):
    """Each file and folder that a page names exists; tests may be named from tests/. The names."""
    files = [file for file in re.findall(r"`([\w.-]+/[\w./-]*)[ `]", (ROOT / name).read_text()) if not re.match("STATE/|build/", file)]
    for file in files:
        if not (ROOT / file).exists() and not (ROOT / "tests" / file).exists():
            fault(f"{name}: {file} does not exist")
    return files


def check_architecture():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    sources = {path: path.read_text() for folder in ("lib", "daemon") for path in (ROOT / folder).rglob("*.*") if path.suffix in (".cc", ".h")}
    code = "\n".join(sources.values())
    quoted = re.findall(r"`([^`\n]+)`", text)
    files = check_files("ARCHITECTURE.md")
    # function(), Class::function() and Class::member_: the class is declared in a file that has the name, or defines it by the long form.
    names = [re.fullmatch(r"(?:((?:\w+::)*)(\w+)::)?(~?\w+)(\(\))?", name) for name in quoted]
    names = [name for name in names if name and (name[4] or name[3].endswith("_") or name[2])]
    for name in names:
        scope, last = name[2], name[3]
        called = rf"\b{last}\(" if name[4] else rf"\b{last}\b"
        if scope == "std":
            continue
        if scope is None:
            known = re.search(called, code)
        else:
            declared = rf"(?:class|struct|enum class)\s+(?:\w+\s+)*(?:\w+::)*{scope}\b"
            known = re.search(rf"\b{scope}::{called[2:]}", code) or any(re.search(declared, source) and re.search(called, source)
                                                                      for source in sources.values())
        if not known:
            fault(f"ARCHITECTURE.md: {name[0]} does not exist")
    if len(files) < 20 or len(names) < 30:
        fault("ARCHITECTURE.md names fewer files and functions than it should; does this check still find them?")
    # The steps of the way name the file of their function.
    for function, file in re.findall(r"^\d+\. `([\w:]+)\(\)` in `([^`]+)`", text, re.M):
        source = (ROOT / file).read_text() if (ROOT / file).exists() else ""
        scope, last = function.rsplit("::", 1)
        in_class = re.search(rf"class {scope}\b", source) and re.search(rf"\b{last}\(", source)
        if not in_class and not re.search(rf"\b{function}\(", source):
            fault(f"ARCHITECTURE.md: {function}() is not in {file}")
    picture = run(str(ROOT / "tests/house.sh"), "--picture").stdout
    if f"```\n{picture}```\n" not in text:
        fault("ARCHITECTURE.md: the picture of the rooms is not what `tests/house.sh --picture` prints")


def main():
    sluiced, sluicectl = sys.argv[1:]
    check_lint()
    check_flags("sluiced(8)", "sluiced.8", sluiced, {"": []})
    check_flags("sluicectl(1)", "sluicectl.1", sluicectl, {"": ["send", "-"], "limit": ["dead-letter", "drop"]})
    check_commands(sluicectl)
    check_sinks(sluiced)
    check_metrics()
    check_log()
    check_journal()
    check_readme()
    check_architecture()
    check_files("CONTRIBUTING.md")
    check_files("SECURITY.md")
    for text in faults:
        print(text)
    sys.exit(1 if faults else 0)


main()
