# What was found, for a reader: a table a class, as Markdown that also reads well in a terminal.
from .measure import ratio

DASH = "–"


def number(value):
    if value is None:
        return DASH
    if value >= 100000:
        return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.0f} k"
    return f"{value / 1e3:.1f} k" if value >= 10000 else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def aligned(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    line = lambda row: "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
    return "\n".join([line(rows[0]), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows[1:])])


def contestants(finding):
    more = list(dict.fromkeys(name for c in finding.contestants for sample in c.samples for name in sample.more))
    rows = [["", finding.unit, "spread", "CPU s/10⁶", "MiB", *more, "the first is"]]
    for contestant in finding.contestants:
        first = finding.contestants[0]
        mean = lambda get: contestant.median(get)
        rows.append([contestant.name, number(contestant.median()), f"{100 * contestant.spread():.0f} %",
                     number(mean(lambda sample: sample.cpu)), number(mean(lambda sample: sample.mib)),
                     *(number(mean(lambda sample, name=name: sample.more.get(name))) for name in more),
                     DASH if contestant is first else f"{ratio(first, contestant):.2f} ×"])
    return aligned(rows)


def finding(found):
    parts = [f"## {found.name} · {found.title}"]
    if found.contestants:
        parts.append(contestants(found))
    refused = [f"{c.name}: {sum(s.refused for s in c.samples)} requests were refused" for c in found.contestants
               if any(s.refused for s in c.samples)]
    lines = [f"- {line}" for line in [*map(str, found.targets), *found.notes, *refused]]
    if lines:
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def summary(findings):
    rows = [["class", "target", "must", "is", ""]]
    for found in findings:
        for target in found.targets:
            sign = "≥" if target.at_least else "≤"
            rows.append([found.name, target.text, f"{sign} {target.form.format(target.bound)}", target.form.format(target.value),
                         "met" if target.met() else "**missed**"])
    return aligned(rows)
