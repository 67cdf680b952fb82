"""Turns a captured pane (tmux capture-pane -e -p) on standard input into an SVG on standard output."""

import html
import re
import sys

WIDTH, HEIGHT = 8.4, 18
COLOURS = {"31": "#e05050", "32": "#50b050", "33": "#d0a030", "36": "#40b0c0", "91": "#ff6060"}

lines = sys.stdin.read().rstrip("\n").split("\n")
out = []
columns = max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines)
style = set()
for row, line in enumerate(lines):
    column = 0
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        if piece.startswith("\x1b["):
            for code in piece[2:-1].split(";"):
                if code in ("", "0"):
                    style.clear()
                elif code == "39":
                    style -= set(COLOURS)
                else:
                    style.add(code)
            continue
        if not piece:
            continue
        colour = next((COLOURS[code] for code in style if code in COLOURS), "#d8d8d8")
        x, y = column * WIDTH + 10, row * HEIGHT + 10
        if "7" in style:
            out.append(f'<rect x="{x}" y="{y}" width="{len(piece) * WIDTH}" height="{HEIGHT}" fill="{colour}"/>')
            colour = "#181818"
        bold = ' font-weight="bold"' if "1" in style else ""
        dim = ' opacity="0.6"' if "2" in style else ""
        length = f'textLength="{len(piece) * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
        out.append(f'<text x="{x:.1f}" y="{y + 14}" fill="{colour}"{bold}{dim} {length}>{html.escape(piece)}</text>')
        column += len(piece)
width, height = columns * WIDTH + 20, len(lines) * HEIGHT + 20
print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" font-family="monospace" '
      'font-size="14" xml:space="preserve">')
print('<rect width="100%" height="100%" rx="6" fill="#181818"/>', *out, "</svg>", sep="\n")
