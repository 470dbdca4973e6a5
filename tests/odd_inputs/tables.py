"""Tables and names as spreadsheets, R, pandas and other systems write them."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

NO_BREAK, ZERO_WIDTH = "\u00a0", "\u200b"
ACCENTED = "caf\u00e9"
SAME = {
    "space at the end": ("alive ", "alive"),
    "two spaces": ("living  thing", "living thing"),
    "no-break space": (f"living{NO_BREAK}thing", "living thing"),
    "zero-width space": (f"ali{ZERO_WIDTH}ve", "alive"),
    "byte order mark": ("\ufeffalive", "alive"),
    "soft hyphen": ("ali\u00adve", "alive"),
    "variation selector": ("alive\ufe0f", "alive"),
    "accent of its own": (unicodedata.normalize("NFD", ACCENTED), ACCENTED),
    "ideographic space": ("living\u3000thing", "living thing"),
}
"""Two spellings that everybody reads as one name; the second is the clean one."""
LOOK_ALIKE = {
    "dash": ("t-shirt", "t\u2013shirt"),
    "no-break hyphen": ("t-shirt", "t\u2011shirt"),
    "apostrophe": ("rubik's", "rubik\u2019s"),
    "Cyrillic a": ("alive", "\u0430live"),
    "Greek o": ("dog", "d\u03bfg"),
    "ligature": ("fish", "\ufb01sh"),
    "full width": ("A1", "\uff211"),
}
"""Two names that look the same and have other characters."""

HEADER = ("onset", "duration", "stimulus_name")
TRIALS = tuple((f"{2 * n}", "1", f"picture{n % 4}") for n in range(16))


def text_of(header: Sequence[str], rows: Sequence[Sequence[str]], end: str = "\n") -> str:
    """Cells as a tab-separated table."""
    return "".join("\t".join(row) + end for row in (header, *rows))


def events(end: str = "\n") -> str:
    """Sixteen presentations of four pictures."""
    return text_of(HEADER, TRIALS, end)


def events_with_quotes() -> str:
    """The same with an inch sign in two cells of a column that nobody asks for."""
    notes = ['5" disc' if n in (3, 8) else "disc" for n in range(16)]
    rows = [(*row, note) for row, note in zip(TRIALS, notes, strict=True)]
    return text_of((*HEADER, "note"), rows)


def events_of(names: Sequence[str], column: str = "stimulus_name") -> str:
    """A presentation of each name."""
    rows = [(f"{3 * n}", "1", name) for n, name in enumerate(names)]
    return text_of(("onset", "duration", column), rows)


WRITTEN_ELSEWHERE = {
    "byte order mark": ("\ufeff" + events()).encode(),
    "Windows line ends": events("\r\n").encode(),
    "old Macintosh line ends": events("\r").encode(),
    "empty lines": events().replace("\n", "\n\n").encode(),
    "lines of tabs at the end": (events() + "\t\t\n\t\t\n").encode(),
    "tab at the end of every line": events("\t\n").encode(),
    "spaces round the cells": events().replace("\t", " \t ").encode(),
    "double quotes in another column": events_with_quotes().encode(),
    "no line end at the end": events().rstrip("\n").encode(),
}
"""Tables that hold just what `events` holds."""
REFUSED = {
    "cell too many": (events() + "40\t1\tpicture1\tx\n", "line 18 has 4 cells where"),
    "tab at the end of one line": (
        events().replace("picture1\n", "picture1\t\n", 1), "line 3 has 4 cells where",
    ),
    "cell too few": (events() + "40\tpicture1\n", "line 18 has 2 cells where the header has 3"),
    "cell too few after an empty line": (
        events() + "\n40\tpicture1\n", "line 19 has 2 cells where the header has 3",
    ),
    "column twice": (
        events().replace("duration", "onset"), "holds the column 'onset' more than once",
    ),
    "column without a name": (events().replace("duration", ""), "no name for its column 2"),
    "commas": (events().replace("\t", ","), "separates its columns by commas"),
    "semicolons": (events().replace("\t", ";"), "separates its columns by semicolons"),
    "UTF-16": (events().encode("utf-16"), "is UTF-16 text"),
    "UTF-16 without a mark": (events().encode("utf-16-le"), "is UTF-16 text"),
    "Latin-1": (
        events().replace("picture2", ACCENTED).encode("latin-1"),
        "is not UTF-8 text (line 4 holds the byte 0xe9)",
    ),
    "decimal comma": (events().replace("\n2\t", "\n2,5\t"), "onset '2,5' in line 3"),
    "thousands": (events().replace("\n2\t", "\n1_000\t"), "onset '1_000' in line 3"),
    "unit": (events().replace("\n2\t", "\n2 s\t"), "onset '2 s' in line 3"),
    "onset that is missing": (events().replace("\n2\t", "\nn/a\t"), "onset 'n/a' in line 3"),
    "names in quotes": (events().replace("picture1", '"picture1"'), "without quotes"),
    "all cells in quotes": (
        events().replace("\t", '"\t"').replace("\n", '"\n"')[:-1].join(['"', ""]),
        "write \"onset\" without the quotes",
    ),
    "empty": ("", "is empty"),
    "only empty lines": ("\n\n\n", "is empty"),
    "only a header": (text_of(HEADER, ()), "has column names but no events"),
}  # fmt: skip
"""Tables that cannot be read in one way only, and what has to be said of them."""


def write(file: Path, content: str | bytes) -> Path:
    """Write a table as it is, byte for byte."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file
