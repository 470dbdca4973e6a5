"""A figure laid out in inches: panels, and around them heading, legend and footnotes.

Every panel keeps its size and the figure takes the size it needs, so that nothing has to be
measured but text; matplotlib's layout engines measure every artist, several times.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from conceptrsa.analysis.output.figures.style import MUTED_COLOUR, SMALL

PANELS_PER_ROW = 4
MIN_WIDTH = 5.6
MARGIN = 0.1
POINTS_PER_INCH = 72
LINE_SPACING = 1.25
HEADING_SIZE, DETAIL_SIZE = 11, 8.5
LABEL_SIZE = 9
MAX_LABEL_WIDTH = 2.6
GLUE = "\N{NO-BREAK SPACE}"
_GLUED_BEFORE = re.compile(r" (?=[<±%rρ](?:\W|$))")
_GLUED_AFTER = re.compile(r"(?<= [<±]) ")


@dataclass(frozen=True)
class Room:
    """Inches around each panel.

    Attributes
    ----------
    left : float
        Left of the first column, for what labels its y axis.
    between : float
        Left of every other column.
    right : float
        Right of the last column.
    above, below : float
        For titles, and for the x axis.
    """

    left: float
    between: float = 0.3
    right: float = 0.25
    above: float = 0.3
    below: float = 0.5


@dataclass(frozen=True)
class Sheet:
    """A figure in the making.

    Attributes
    ----------
    figure : Figure
    stacks : list of list of Axes
        Of each cell of the grid, its panels from top to bottom.
    corners : list of (float, float)
        Lower left corner of each cell in inches, from that of all cells.
    width, heights : float, tuple of float
        Of a cell's panels in inches.
    size : tuple of float
        Width and height of all cells with what is around them, inches.
    gap : float
        Inches between panels of a cell.
    """

    figure: Figure
    stacks: list[list[Axes]]
    corners: list[tuple[float, float]]
    width: float
    heights: tuple[float, ...]
    size: tuple[float, float]
    gap: float
    n_columns: int

    @property
    def panels(self) -> list[Axes]:
        """The topmost panel of every cell."""
        return [stack[0] for stack in self.stacks]

    def is_first_column(self, index: int) -> bool:
        """Whether a cell is the first of its row."""
        return index % self.n_columns == 0

    def is_lowest(self, index: int) -> bool:
        """Whether a cell has no other below it."""
        return index + self.n_columns >= len(self.stacks)

    def finish(
        self,
        heading: str,
        details: Sequence[str],
        handles: Sequence[Artist],
        notes: Sequence[str],
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
        width = max(self.size[0], MIN_WIDTH)
        room = width - 2 * MARGIN
        top: list[tuple[str, float, str, str]] = [
            *(
                (line, HEADING_SIZE, "bold", "black")
                for line in wrap(heading, room, HEADING_SIZE, bold=True)
            ),
            *(
                (line, DETAIL_SIZE, "normal", MUTED_COLOUR)
                for detail in details
                for line in wrap(detail, room, DETAIL_SIZE)
            ),
        ]
        bottom = [line for note in notes for line in wrap(note, room, SMALL)]
        legend_height = self._add_legend(handles, room)
        top_height = sum(line_height(size) for _, size, _, _ in top) + 0.06
        bottom_height = line_height(SMALL) * len(bottom) + (MARGIN if bottom else 0)
        height = 2 * MARGIN + top_height + legend_height + self.size[1] + bottom_height
        self.figure.set_size_inches(width, height)
        self._place_panels(((width - self.size[0]) / 2, MARGIN + bottom_height), width, height)
        y = height - MARGIN
        for line, size, weight, colour in top:
            self._write(line, y, size, weight, colour)
            y -= line_height(size)
        if self.figure.legends:
            self.figure.legends[0].set_bbox_to_anchor(
                (width / 2, y - 0.06), transform=self.figure.dpi_scale_trans
            )
        for row, line in enumerate(bottom):
            y = bottom_height - row * line_height(SMALL)
            self._write(line, y, SMALL, "normal", MUTED_COLOUR)
        return self.figure

    def _write(self, line: str, y: float, size: float, weight: str, colour: str) -> None:
        self.figure.text(
            MARGIN,
            y,
            line,
            va="top",
            fontsize=size,
            fontweight=weight,
            color=colour,
            transform=self.figure.dpi_scale_trans,
        )

    def _add_legend(self, handles: Sequence[Artist], room: float) -> float:
        """Add the legend with as many columns as fit; gives the inches that it takes."""
        if not handles:
            return 0.0
        renderer = self.figure.canvas.get_renderer()  # type: ignore[attr-defined]
        for n_columns in range(len(handles), 0, -1):
            legend = self.figure.legend(
                handles=handles,
                loc="upper center",
                ncols=n_columns,
                columnspacing=1.4,
                handlelength=1.6,
                borderaxespad=0.0,
                borderpad=0.2,
            )
            extent = legend.get_window_extent(renderer)
            if extent.width / self.figure.dpi <= room or n_columns == 1:
                break
            legend.remove()
        return float(extent.height / self.figure.dpi)

    def _place_panels(self, origin: tuple[float, float], width: float, height: float) -> None:
        for stack, corner in zip(self.stacks, self.corners, strict=True):
            x, y = origin[0] + corner[0], origin[1] + corner[1]
            for panel, of_panel in zip(reversed(stack), reversed(self.heights), strict=True):
                panel.set_position((x / width, y / height, self.width / width, of_panel / height))
                y += of_panel + self.gap


def lay_out(
    n_cells: int,
    width: float,
    heights: Sequence[float],
    room: Room,
    *,
    per_row: int = PANELS_PER_ROW,
    gap: float = 0.08,
) -> Sheet:
    """Make a sheet of so many cells, each a stack of panels of such heights (inches)."""
    n_columns = min(n_cells, per_row)
    n_rows = -(-n_cells // n_columns)
    cell_height = room.above + sum(heights) + gap * (len(heights) - 1) + room.below
    figure = Figure()
    FigureCanvasAgg(figure)
    return Sheet(
        figure=figure,
        stacks=[[figure.add_axes((0.0, 0.0, 1.0, 1.0)) for _ in heights] for _ in range(n_cells)],
        corners=[
            (
                room.left + (cell % n_columns) * (width + room.between),
                (n_rows - 1 - cell // n_columns) * cell_height + room.below,
            )
            for cell in range(n_cells)
        ],
        width=width,
        heights=tuple(heights),
        size=(
            room.left + n_columns * width + (n_columns - 1) * room.between + room.right,
            n_rows * cell_height,
        ),
        gap=gap,
        n_columns=n_columns,
    )


def label_outer(sheet: Sheet, x_label: str, y_label: str = "") -> None:
    """Name the x axis under the lowest panel of each column, the y axis left of each row."""
    for index, stack in enumerate(sheet.stacks):
        if sheet.is_lowest(index):
            stack[-1].set_xlabel(x_label)
        if sheet.is_first_column(index):
            stack[0].set_ylabel(y_label)


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
    lines: list[str] = []
    line = ""
    for word in _GLUED_BEFORE.sub(GLUE, _GLUED_AFTER.sub(GLUE, text)).split(" "):
        longer = f"{line} {word}" if line else word
        if text_width(longer, size, bold) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        while text_width(word, size, bold) > room and len(word) > 1:
            fitting = next(
                n for n in range(len(word) - 1, 0, -1) if text_width(word[:n], size, bold) <= room
            )
            lines.append(word[:fitting])
            word = word[fitting:]
        line = word
    return [whole.replace(GLUE, " ") for whole in ([*lines, line] if line else lines)]


def label_room(labels: Sequence[str], size: float = LABEL_SIZE) -> tuple[list[str], float]:
    """Labels of a y axis, shortened where they would be too wide, and the inches they need."""
    fitting = [shorten(label, MAX_LABEL_WIDTH, size) for label in labels]
    widths = [text_width(line, size) for label in fitting for line in label.split("\n")]
    return fitting, max(widths, default=0.0) + 0.2


def set_title(panel: Axes, width: float, title: str, details: Sequence[str] = ()) -> None:
    """Write a title over a panel of so many inches, and smaller lines under it."""
    lines = [shorten(detail, width + 0.2, SMALL) for detail in details if detail]
    pad = 4 + SMALL * LINE_SPACING * len(lines)
    panel.set_title(shorten(title, width + 0.2, 10), pad=pad)
    if lines:
        panel.annotate(
            "\n".join(lines),
            (0.5, 1),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=MUTED_COLOUR,
            linespacing=LINE_SPACING - 0.1,
        )


def title_room(n_details: int) -> float:
    """Inches that `set_title` needs over a panel."""
    return 0.3 + n_details * line_height(SMALL)
