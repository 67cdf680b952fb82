"""Turns a captured pane (tmux capture-pane -e -p) on standard input into an SVG on standard output."""

import html
import re
import sys

WIDTH, HEIGHT = 8.4, 18
TEXT, BACKGROUND = "#d8d8d8", "#181818"
# The sixteen colours of terminals, by number.
PALETTE = ["#181818", "#e05050", "#50b050", "#d0a030", "#5080e0", "#c060c0", "#40b0c0", "#d8d8d8",
           "#808080", "#ff6060", "#70d070", "#f0c050", "#70a0ff", "#e080e0", "#60d0e0", "#ffffff"]


def colour(number):
    """One of the 256 colours: the sixteen, a cube of 6 by 6 by 6, greys."""
    if number < 16:
        return PALETTE[number]
    if number < 232:
        steps = [0, 95, 135, 175, 215, 255]
        red, green, blue = (steps[(number - 16) // size % 6] for size in (36, 6, 1))
        return f"#{red:02x}{green:02x}{blue:02x}"
    return "#" + f"{8 + (number - 232) * 10:02x}" * 3


class Style:
    """What the escapes so far ask for."""

    def __init__(self):
        self.colour, self.bold, self.dim, self.reversed = TEXT, False, False, False

    def take(self, codes):
        """One escape's codes, left to right."""
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.__init__()
            elif code == 1:
                self.bold = True
            elif code == 2:
                self.dim = True
            elif code == 22:
                self.bold = self.dim = False
            elif code in (7, 27):
                self.reversed = code == 7
            elif code == 39:
                self.colour = TEXT
            elif 30 <= code <= 37:
                self.colour = colour(code - 30)
            elif 90 <= code <= 97:
                self.colour = colour(code - 90 + 8)
            elif code == 38 and codes[:1] == [5]:
                self.colour = colour(codes[1])
                del codes[:2]
            elif code not in (49,):
                sys.exit(f"a code that is not known: {code}")


lines = sys.stdin.read().rstrip("\n").split("\n")
out = []
columns = max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines)
style = Style()
for row, line in enumerate(lines):
    column = 0
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        if piece.startswith("\x1b["):
            style.take([int(code or 0) for code in piece[2:-1].split(";")])
            continue
        if not piece:
            continue
        x, y, fill = column * WIDTH + 10, row * HEIGHT + 10, style.colour
        if style.reversed:
            out.append(f'<rect x="{x}" y="{y}" width="{len(piece) * WIDTH}" height="{HEIGHT}" fill="{fill}"/>')
            fill = BACKGROUND
        bold = ' font-weight="bold"' if style.bold else ""
        dim = ' opacity="0.6"' if style.dim else ""
        length = f'textLength="{len(piece) * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
        out.append(f'<text x="{x:.1f}" y="{y + 14}" fill="{fill}"{bold}{dim} {length}>{html.escape(piece)}</text>')
        column += len(piece)
width, height = columns * WIDTH + 20, len(lines) * HEIGHT + 20
print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" font-family="monospace" '
      'font-size="14" xml:space="preserve">')
print(f'<rect width="100%" height="100%" rx="6" fill="{BACKGROUND}"/>', *out, "</svg>", sep="\n")
