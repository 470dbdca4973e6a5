"""What the template of a subject's page is given."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A picture as a `data:` address, and what it shows in words."""

    source: str
    alternative: str


@dataclass(frozen=True)
class Flip:
    """Two pictures in one place."""

    id: str
    first: Picture
    second: Picture
    second_name: str
    caption: str


@dataclass(frozen=True)
class RunPart:
    """What is shown of a single run; pictures are None where there is nothing to show."""

    name: str
    summary: str
    motion: Picture
    tsnr: Picture | None
    design: Picture | None
    design_lines: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    numeric: bool = True
