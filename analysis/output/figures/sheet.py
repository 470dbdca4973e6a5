"""A figure laid out in inches: panels, and around them heading, legend and footnotes.

Every panel keeps its size and the figure takes the size it needs, so that nothing has to be
measured but text; matplotlib's layout engines measure every artist, several times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from conceptrsa.analysis.output.figures.style import MUTED_COLOUR, SMALL, unbroken

MIN_WIDTH = 5.6
MARGIN = 0.1
POINTS_PER_INCH = 72
LINE_SPACING = 1.25
HEADING_SIZE, TITLE_SIZE, DETAIL_SIZE, LABEL_SIZE = 11, 10, 8.5, 9
MAX_LABEL_WIDTH = 2.6
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
    """

    figure: Figure
    stacks: list[list[Axes]]
    n_columns: int

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
                stack[-1].set_xlabel(x_label)
            if self.is_first_column(index):
                stack[0].set_ylabel(y_label)

    def finish(
        self, heading: str, details: Sequence[str], handles: Sequence[Artist], notes: Sequence[str]
    ) -> Figure:
        """Add what stands around the panels, and give everything its place.

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
        inner_width, inner_height = self.figure.get_size_inches()
        width = max(inner_width, MIN_WIDTH)
        room = width - 2 * MARGIN
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
        self.figure.set_size_inches(width, height)
        y = self._write(title, height - MARGIN, HEADING_SIZE, weight="bold", color="black")
        y = self._write(subtitle, y, DETAIL_SIZE)
        self._write(footnotes, below - MARGIN, SMALL)
        if handles:
            self.figure.legend(
                handles=handles,
                loc="upper center",
                bbox_to_anchor=(width / 2, y - 0.06),
                bbox_transform=self.figure.dpi_scale_trans,
                ncols=n_columns,
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
                MARGIN, y, line, va="top", fontsize=size, weight=weight, color=color,
                transform=self.figure.dpi_scale_trans,
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
    """
    n_columns = min(n_cells, per_row)
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
    return Sheet(figure, stacks, n_columns)


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


def set_title(panel: Axes, width: float, title: str, details: Sequence[str] = ()) -> None:
    """Write a title over a panel of so many inches, and smaller lines under it."""
    lines = [shorten(detail, width + 0.2, SMALL) for detail in details if detail]
    pad = 4 + SMALL * LINE_SPACING * len(lines)
    panel.set_title(shorten(title, width + 0.2, TITLE_SIZE), pad=pad)
    if lines:
        panel.annotate(
            "\n".join(lines), (0.5, 1), xycoords="axes fraction", xytext=(0, 3),
            textcoords="offset points", ha="center", va="bottom", fontsize=SMALL,
            color=MUTED_COLOUR, linespacing=LINE_SPACING - 0.1,
        )  # fmt: skip


def title_room(n_details: int) -> float:
    """Inches that `set_title` needs over a panel."""
    return 0.3 + n_details * line_height(SMALL)
