"""The commands that the pages tell a reader to type."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^( *)```(?:sh|bash|console)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def commands_of(page: Path) -> list[str]:
    """Lines that begin with the command, with those that they go on in, without comments."""
    blocks = [block for _, block in _BLOCK.findall(page.read_text(encoding="utf-8"))]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("conceptrsa ")]


def words_of(command: str) -> list[str]:
    """What a command hands to the program."""
    return shlex.split(command, comments=True)[1:]
