"""A figure laid out in inches: panels, and around them heading, legend and footnotes.

Every panel keeps its size and the figure takes the size it needs, so that nothing has to be
measured but text; matplotlib's layout engines measure every artist, several times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection, PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text
from matplotlib.textpath import text_to_path

from conceptrsa.analysis.output.figures.appearance import IN_REPORT, Appearance
from conceptrsa.analysis.output.figures.style import MUTED_COLOUR, SMALL, unbroken

MIN_WIDTH = 5.6
MARGIN = 0.1
POINTS_PER_INCH = 72
LINE_SPACING = 1.25
HEADING_SIZE, TITLE_SIZE, DETAIL_SIZE, LABEL_SIZE = 11, 10, 8.5, 9
MAX_LABEL_WIDTH = 2.6
NARROWEST, WIDEST = 0.6, 1.5
"""What panels shrink or grow by, at most, where a figure has a width of its own."""

TITLE_PAD, TICK_PAD = 4.0, 3.5
"""Points, the latter matplotlib's."""

HANDLE_WIDTH, HANDLE_GAP, LEGEND_LINE = 0.3, 0.18, 0.205
"""Inches that a legend takes for a handle, between entries, and for a line."""


@dataclass(frozen=True)
class Sheet:
    """A figure in the making, of the size that its panels need.

    Attributes
    ----------
    figure : Figure
    stacks : list of list of Axes
        Of each cell of the grid, its panels from top to bottom.
    n_columns : int
        Cells in a row.
    width : float
        Inches of a panel, at letters of the size that is laid out with.
    appearance : Appearance
    """

    figure: Figure
    stacks: list[list[Axes]]
    n_columns: int
    width: float
    appearance: Appearance = IN_REPORT

    @property
    def panels(self) -> list[Axes]:
        """The topmost panel of every cell."""
        return [stack[0] for stack in self.stacks]

    def is_first_column(self, index: int) -> bool:
        """Whether a cell is the first of its row."""
        return index % self.n_columns == 0

    def label_outer(self, x_label: str, y_label: str = "") -> None:
        """Name the x axis under the lowest panel of each column, the y axis left of each row."""
        for index, stack in enumerate(self.stacks):
            if index + self.n_columns >= len(self.stacks):
                stack[-1].set_xlabel("\n".join(wrap(x_label, self.width + 0.2, LABEL_SIZE)))
            if self.is_first_column(index):
                stack[0].set_ylabel(y_label)

    def set_title(self, panel: Axes, title: str, details: Sequence[str] = ()) -> None:
        """Write a title over a panel, and smaller lines under it."""
        room = self.width + 0.2
        lines = [shorten(detail, room, SMALL) for detail in details if detail]
        pad = TITLE_PAD + SMALL * LINE_SPACING * len(lines)
        scale = self.scale
        panel.set_title(shorten(title, room, TITLE_SIZE), pad=pad * scale)
        if lines:
            panel.annotate(
                "\n".join(lines), (0.5, 1), xycoords="axes fraction", xytext=(0, 3),
                textcoords="offset points", ha="center", va="bottom", fontsize=SMALL,
                color=MUTED_COLOUR, linespacing=LINE_SPACING - 0.1,
            )  # fmt: skip

    @property
    def scale(self) -> float:
        """What the laid out figure is made larger by; panels that need more room are smaller."""
        look = self.appearance
        usual = look.label_size / LABEL_SIZE
        if look.width is None:
            return usual
        return min(usual, look.width / float(self.figure.get_size_inches()[0]))

    def finish(
        self, heading: str, details: Sequence[str], handles: Sequence[Artist], notes: Sequence[str]
    ) -> Figure:
        """Add what stands around the panels, and give everything its place.

        Where words are not in the figure, they are its label: its caption.

        Parameters
        ----------
        heading : str
            What the figure shows.
        details : sequence of str
            Of which analysis, a line each.
        handles : sequence of Artist
            Of the legend; may be empty.
        notes : sequence of str
            Paragraphs under the panels.
        """
        scale, look = self.scale, self.appearance
        inner_width, inner_height = self.figure.get_size_inches()
        width = max(inner_width, MIN_WIDTH) if look.width is None else look.width / scale
        room = width - 2 * MARGIN
        if not look.with_words:
            texts = [f"{heading}.", *details, *notes]
            self.figure.set_label(" ".join(texts))
            heading, details, notes = "", (), ()
        title = wrap(heading, room, HEADING_SIZE, bold=True)
        subtitle = [line for detail in details for line in wrap(detail, room, DETAIL_SIZE)]
        footnotes = [line for note in notes for line in wrap(note, room, SMALL)]
        entries = [text_width(str(handle.get_label()), LABEL_SIZE) for handle in handles]
        columns = [entry + HANDLE_WIDTH + HANDLE_GAP for entry in entries]
        n_columns = len(columns)
        if sum(columns) > room:
            n_columns = max(1, int(room // max(columns)))
        legend_height = LEGEND_LINE * -(-len(columns) // max(n_columns, 1))
        below = MARGIN + line_height(SMALL) * len(footnotes) + MARGIN * bool(footnotes)
        above = MARGIN + line_height(HEADING_SIZE) * len(title) + 0.06 + legend_height
        above += line_height(DETAIL_SIZE) * len(subtitle)
        height = below + inner_height + above

        left = (width - inner_width) / 2
        for panel in self.figure.axes:
            x, y, w, h = panel.get_position(original=True).bounds
            panel.set_position((
                (left + x * inner_width) / width, (below + y * inner_height) / height,
                w * inner_width / width, h * inner_height / height,
            ))  # fmt: skip
        y = self._write(title, height - MARGIN, HEADING_SIZE, weight="bold", color="black")
        y = self._write(subtitle, y, DETAIL_SIZE)
        self._write(footnotes, below - MARGIN, SMALL)
        self.figure.set_size_inches(width * scale, height * scale)
        _enlarge([self.figure, *handles], scale)
        if handles:
            self.figure.legend(
                handles=handles,
                loc="upper center",
                bbox_to_anchor=(width * scale / 2, (y - 0.06) * scale),
                bbox_transform=self.figure.dpi_scale_trans,
                ncols=n_columns,
                fontsize=LABEL_SIZE * scale,
                columnspacing=1.4,
                handlelength=1.6,
                borderaxespad=0.0,
                borderpad=0.2,
            )
        return self.figure

    def _write(
        self,
        lines: Sequence[str],
        y: float,
        size: float,
        weight: str = "normal",
        color: str = MUTED_COLOUR,
    ) -> float:
        """Write lines from a height in inches down; gives the height below them."""
        for line in lines:
            self.figure.text(
                MARGIN * self.scale, y * self.scale, line, va="top", fontsize=size, weight=weight,
                color=color, transform=self.figure.dpi_scale_trans,
            )  # fmt: skip
            y -= line_height(size)
        return y


def lay_out(
    n_cells: int,
    width: float,
    heights: Sequence[float],
    *,
    left: float,
    between: float = 0.3,
    right: float = 0.25,
    above: float = 0.3,
    below: float = 0.5,
    per_row: int = 4,
    gap: float = 0.08,
    keeps_width: bool = False,
    appearance: Appearance = IN_REPORT,
) -> Sheet:
    """Make a sheet of cells, each a stack of panels; all sizes are in inches.

    Parameters
    ----------
    n_cells : int
    width : float
        Of every panel.
    heights : sequence of float
        Of the panels of a cell, from top to bottom.
    left, between, right : float
        Room left of the first column, left of every other, and right of the last.
    above, below : float
        Room for a cell's title, and for its x axis.
    per_row : int
        Most cells in a row.
    gap : float
        Between panels of a cell.
    keeps_width : bool
        Whether panels stay as wide as they are where the figure has a width of its own.
    appearance : Appearance
    """
    n_columns = min(n_cells, per_row)
    if appearance.width is not None:
        room = appearance.width * LABEL_SIZE / appearance.label_size - left - right + between
        narrowest = width if keeps_width else NARROWEST * width
        n_columns = max(1, min(n_cells, int(room // (narrowest + between))))
        # Rows of five and one would rather be of three.
        n_columns = -(-n_cells // -(-n_cells // n_columns))
        if not keeps_width:
            width = min(max(room / n_columns - between, narrowest), WIDEST * width)
    n_rows = -(-n_cells // n_columns)
    cell_height = above + sum(heights) + gap * (len(heights) - 1) + below
    whole = (left + n_columns * (width + between) - between + right, n_rows * cell_height)
    figure = Figure(figsize=whole)
    FigureCanvasAgg(figure)
    stacks = []
    for cell in range(n_cells):
        row, column = divmod(cell, n_columns)
        x = left + column * (width + between)
        y = (n_rows - row) * cell_height - above
        stack = []
        for height in heights:
            box = (x / whole[0], (y - height) / whole[1], width / whole[0], height / whole[1])
            stack.append(figure.add_axes(box))
            y -= height + gap
        stacks.append(stack)
    return Sheet(figure, stacks, n_columns, width, appearance)


def _enlarge(wholes: Sequence[Artist], scale: float) -> None:
    """Make letters, lines, markers and what has its place in points larger or smaller."""
    if scale == 1:
        return
    for artist in dict.fromkeys(part for whole in wholes for part in whole.findobj()):
        if isinstance(artist, Axis):
            artist.labelpad *= scale
            artist.set_tick_params(pad=TICK_PAD * scale)
        elif isinstance(artist, Text):
            artist.set_fontsize(float(artist.get_fontsize()) * scale)
            if isinstance(artist, Annotation):
                across, up = artist.xyann
                artist.xyann = (across * scale, up * scale)
        elif isinstance(artist, Line2D):
            artist.set_linewidth(artist.get_linewidth() * scale)
            artist.set_markersize(artist.get_markersize() * scale)
            artist.set_markeredgewidth(artist.get_markeredgewidth() * scale)
        elif isinstance(artist, Patch):
            artist.set_linewidth(artist.get_linewidth() * scale)
        elif isinstance(artist, Collection):
            artist.set_linewidth((np.asarray(artist.get_linewidth()) * scale).tolist())
            if isinstance(artist, PathCollection):
                artist.set_sizes(artist.get_sizes() * scale**2)


def line_height(size: float) -> float:
    """Inches from one line of text of so many points to the next."""
    return size * LINE_SPACING / POINTS_PER_INCH


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Inches that a text takes, a little more than needed since renderers round."""
    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / POINTS_PER_INCH * 1.02


def shorten(text: str, room: float, size: float) -> str:
    """Take so much out of the middle of a text that it fits the room in inches."""
    if text_width(text, size) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: -(-kept // 2)]}…{text[len(text) - kept // 2 :]}"
        if text_width(short, size) <= room:
            return short
    return "…"


def wrap(text: str, room: float, size: float, *, bold: bool = False) -> list[str]:
    """Break a text into lines that fit the room in inches; a longer word is broken, too."""
    lines = [""]
    for word in unbroken(text).split(" "):
        if text_width(f"{lines[-1]} {word}", size, bold) > room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip(" ")
        while text_width(lines[-1], size, bold) > room and len(lines[-1]) > 1:
            kept = len(lines[-1]) - 1
            while kept > 1 and text_width(lines[-1][:kept], size, bold) > room:
                kept -= 1
            lines[-1:] = [lines[-1][:kept], lines[-1][kept:]]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines if line]


def label_room(labels: Sequence[str], size: float = LABEL_SIZE) -> tuple[list[str], float]:
    """Labels of a y axis, shortened where they would be too wide, and the inches they need."""
    fitting = [shorten(label, MAX_LABEL_WIDTH, size) for label in labels]
    return fitting, max((text_width(label, size) for label in fitting), default=0.0) + 0.2


def title_room(n_details: int) -> float:
    """Inches that `Sheet.set_title` needs over a panel."""
    return 0.3 + n_details * line_height(SMALL)
