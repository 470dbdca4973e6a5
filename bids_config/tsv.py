"""The one reader of tables, and the one writer of tab-separated ones, as BIDS has them.

The latter know no quoting: a double quote is a character like any other. Every row has as many
cells as the header; a cell too many or too few would shift the others into wrong columns.
"""

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import clean_name, in_quotes, require_distinct
from conceptrsa.bids_config.writing import atomic_path, file_errors

if TYPE_CHECKING:  # neither is needed for a command's --help
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MISSING = "n/a"
_LINE_END = re.compile("\r\n|\n|\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I | re.A)
_ONLY_IN_NUMBERS = re.compile(r"[0-9eE.+\- ]*")
INDEX_READ_BACK = "Unnamed: 0"
"""Name that pandas gives to an unnamed index when it is read again."""

_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_WIDE_ENCODINGS = (b"\xff\xfe", b"\xfe\xff")
_BREAKS = re.compile("[\t\r\n]+")


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are texts, without the space round them.

    Attributes
    ----------
    file : Path
    columns : tuple of str
        Each once.
    rows : list of list of str
        As many cells in each as there are columns.
    lines : tuple of int
        Line of each row in the file, counted from 1.
    """

    file: Path
    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: tuple[int, ...]

    def require_columns(self, columns: Iterable[str], remedy: str = "add it") -> None:
        """Raise InputError when a column is missing."""
        missing = [column for column in columns if column not in self.columns]
        if missing:
            quoted = in_quotes(self.columns)
            if quoted is not None:
                remedy = f"write {quoted} without the quotes, which BIDS tables do not use"
            word = "column" if len(missing) == 1 else "columns"
            raise InputError(
                f"{self.file} lacks the {word} {', '.join(missing)} (it has "
                f"{', '.join(self.columns)}): {remedy}"
            )

    def column(self, name: str) -> tuple[str, ...]:
        """Cells of a column.

        Raises
        ------
        InputError
            If there is no such column.
        """
        self.require_columns([name])
        place = self.columns.index(name)
        return tuple(row[place] for row in self.rows)

    def numbers(self, columns: Sequence[str], *, missing: bool = False) -> "NDArray[np.float64]":
        """Numbers of some columns.

        Parameters
        ----------
        columns : sequence of str
        missing : bool
            Whether empty cells and `n/a` become NaN, or are an error.

        Returns
        -------
        ndarray, (rows, columns)

        Raises
        ------
        InputError
            On a column that is not there, or a cell that is no number; the message names its line.
        """
        import numpy as np

        self.require_columns(columns)
        places = [self.columns.index(column) for column in columns]
        cells = [[row[place] for place in places] for row in self.rows]
        if missing:
            cells = [["nan" if cell in ("", MISSING) else cell for cell in row] for row in cells]
        # numpy and Python also take 1_000 and digits of other scripts for numbers.
        if not all(_ONLY_IN_NUMBERS.fullmatch("".join(row)) for row in cells):
            self._require_numbers(columns, cells)
        try:
            values = np.array(cells, dtype=np.float64)
        except ValueError:
            self._require_numbers(columns, cells)
            raise
        return values.reshape(len(cells), len(columns))

    def frame(self, texts: Collection[str] | None = None) -> "pd.DataFrame":
        """Give the table as a DataFrame whose index is the line in the file.

        Parameters
        ----------
        texts : collection of str, optional
            Columns that stay text; all others become numbers, `n/a` NaN. None: all stay text.
        """
        import pandas as pd

        frame = pd.DataFrame(self.rows, columns=list(self.columns), index=list(self.lines))
        numeric = [] if texts is None else [name for name in self.columns if name not in texts]
        if numeric:
            frame[numeric] = self.numbers(numeric, missing=True)
        return frame

    def _require_numbers(self, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        for line, row in zip(self.lines, cells, strict=True):
            for column, cell in zip(columns, row, strict=True):
                if _NUMBER.fullmatch(cell) is None:
                    raise InputError(
                        f"{self.file} has {column} {cell!r} in line {line}, which is not a number: "
                        "correct it (a decimal point, no comma, no quotes, no unit)"
                    )


def read_table(file: str | Path) -> TextTable:
    r"""Read a tab-separated table, or a `.csv` file, whose cells commas or semicolons separate.

    A byte order mark and line ends of Windows are no matter; lines without any content, and a last
    column without name and content, are passed over. Between the rows of a single column, a line
    without content could be a cell, and is refused. In `.csv`, cells may stand in quotes, and a
    first column without a name is the index of pandas: numbers of rows, or else stimuli.

    Raises
    ------
    InputError
        When the file cannot be read, is empty or no UTF-8 text, separates cells by something else
        than tabs, has a column twice, or a row with more or fewer cells than its header.
    """
    file = Path(file)
    is_csv = file.suffix.lower() == ".csv"
    text = read_text(file)
    lines = list(_cells_of_csv(text, file) if is_csv else _cells_of_tsv(text))
    if not lines:
        raise InputError(f"{file} is empty: restore it, as a tab-separated table with a header")
    columns = tuple(map(clean_name, lines[0][1]))
    if not is_csv:
        _refuse_other_separators(file, columns)
    rows = lines[1:]
    for number, row in rows:
        if len(row) != len(columns):
            raise InputError(
                f"{file}, line {number} has {len(row)} cells where the header has {len(columns)}: "
                f"correct this line (one {'separator' if is_csv else 'tab'} between two cells, "
                f"{MISSING} for a missing value)"
            )
    if len(columns) == 1 and rows and rows[-1][0] - lines[0][0] != len(rows):
        numbers = {number for number, _ in rows}
        blank = next(n for n in range(lines[0][0] + 1, rows[-1][0]) if n not in numbers)
        raise InputError(
            f"{file}, line {blank} is empty, which could be a missing value: write {MISSING} "
            "there, or remove the line"
        )
    if not columns[-1] and not any(row[-1] for _, row in rows):
        columns = columns[:-1]
        rows = [(number, row[:-1]) for number, row in rows]
    if is_csv and columns[0] in ("", INDEX_READ_BACK) and len(columns) > 1:
        index = [row[0] for _, row in rows]
        is_numbers = index == [str(number) for number in range(len(rows))]
        if is_numbers or columns[0] or "stimulus" in columns:
            columns, rows = columns[1:], [(number, row[1:]) for number, row in rows]
        else:
            columns = ("stimulus", *columns[1:])
    _check_header(file, columns)
    return TextTable(file, columns, [row for _, row in rows], tuple(number for number, _ in rows))


def table_at(file: Path) -> Path:
    """Give the path of a table, or of the `.csv` of its name where only that is there."""
    as_csv = file.with_suffix(".csv")
    return as_csv if as_csv.is_file() and not file.exists() else file


def write_table(file: str | Path, frame: "pd.DataFrame", float_format: str | None = None) -> None:
    """Write a tab-separated table; what is missing becomes `n/a`.

    Nothing is quoted, for readers of BIDS do not know it; a tab or line end within a cell becomes
    a space.
    """
    with atomic_path(file) as temporary:
        frame.replace(_BREAKS, " ", regex=True).to_csv(
            temporary,
            sep="\t",
            index=False,
            na_rep=MISSING,
            float_format=float_format,
            lineterminator="\n",
            quoting=csv.QUOTE_NONE,
        )


def read_text(file: Path) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Raises
    ------
    InputError
        If it cannot be read or is in another encoding.
    """
    with file_errors(file):
        content = file.read_bytes()
    if content.startswith(_WIDE_ENCODINGS) or b"\0" in content:
        raise InputError(
            f"{file} is UTF-16 text (Excel's 'Unicode text') or not text: save it as UTF-8, tab-"
            "separated"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{file} is not UTF-8 text (line {line} holds the byte {content[error.start]:#04x}): "
            "save it in that encoding"
        ) from error


def _cells_of_tsv(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number of each line with content, and its cells."""
    for number, line in enumerate(_LINE_END.split(text), start=1):
        if line.strip():
            yield number, [cell.strip() for cell in line.split("\t")]


def _cells_of_csv(text: str, file: Path) -> Iterator[tuple[int, list[str]]]:
    lines = _LINE_END.split(text)
    first = _QUOTED.sub("", next((line for line in lines if line.strip()), ""))
    sign = max(",;\t", key=first.count)
    rows = csv.reader(lines, delimiter=sign, skipinitialspace=True, strict=True)
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                yield rows.line_num, [cell.strip() for cell in row]
    except csv.Error as error:  # most likely a quote without its other
        raise InputError(
            f"{file}, line {rows.line_num} cannot be read ({error}): check that every quote is "
            "closed, or save the table separated by tabs"
        ) from error


def _refuse_other_separators(file: Path, columns: Sequence[str]) -> None:
    (first, *others) = columns
    if not others and re.search("[,;]", first):
        sign = "commas" if "," in first else "semicolons"
        raise InputError(
            f"{file} separates its columns by {sign} ({first[:60]}): save it as a tab-separated "
            "table"
        )


def _check_header(file: Path, columns: Sequence[str]) -> None:
    for place, column in enumerate(columns, start=1):
        if not column:
            raise InputError(f"{file} has no name for its column {place}: add it to the header")
    require_distinct(columns, f"{file} holds the column", "keep one")
