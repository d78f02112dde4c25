# A plot as SVG, written by hand: lines over a logarithmic axis, from zero up. For both a light and a dark page.
import math

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 80, 90, 40, 50
COLOURS = ("#2a78d6", "#e0702a", "#2e9e5b")


def short(value):
    for unit, word in ((1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{word}"
    return f"{value:g}"


# A round number of which four or five make `most`.
def tick(most):
    power = 10 ** math.floor(math.log10(most / 4))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if most / (step * power) <= 5)


# `lines`: (name, [(x, y)]), all over the same x > 0.
def write(file, title, label, lines):
    xs = [x for x, _ in lines[0][1]]
    first, last = math.log(xs[0]), math.log(xs[-1])
    most = max(y for _, points in lines for _, y in points)
    step = tick(most)
    top = step * math.ceil(most / step)
    across = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * (math.log(x) - first) / ((last - first) or 1)
    up = lambda y: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="22" font-size="14">{title}</text>']
    for i in range(round(top / step) + 1):
        y = up(i * step)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(i * step)}</text>')
    for x in xs:
        out.append(f'<text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{label}</text>')
    for (name, points), colour in zip(lines, COLOURS):
        places = [(across(x), up(y)) for x, y in points]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
                   + " ".join(f"{x:.1f},{y:.1f}" for x, y in places) + '"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        out.append(f'<text x="{places[-1][0] + 8:.1f}" y="{places[-1][1] + 4:.1f}" fill="{colour}">{name}</text>')
    file.write_text("\n".join([*out, "</svg>", ""]))
