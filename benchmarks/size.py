"""Lines of code of the product, folder by folder: no comments, docstrings or blank lines."""

import ast
import tokenize
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("analysis", "bids_config", "conceptrsa", "interfaces", "pipelines")
WITHOUT_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def count_code_lines(file: Path) -> int:
    """Count the lines of a file that hold code."""
    with tokenize.open(file) as source:
        code = {
            line
            for token in tokenize.generate_tokens(source.readline)
            if token.type not in WITHOUT_CODE
            for line in range(token.start[0], token.end[0] + 1)
        }
    for node in ast.walk(ast.parse(file.read_bytes())):
        # Docstrings of modules, classes and functions, and those below attributes.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            code -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(code)


def main() -> None:
    """Print files and lines of each folder, and of all."""
    lines: dict[str, list[int]] = defaultdict(list)
    for part in PRODUCT:
        for file in sorted((ROOT / part).rglob("*.py")):
            folder = file.relative_to(ROOT).parent
            lines["/".join(folder.parts[:2])].append(count_code_lines(file))
    for name, counts in lines.items():
        print(f"{name:24} {len(counts):4d} files {sum(counts):6d} lines")
    everything = [count for counts in lines.values() for count in counts]
    print(f"{'all':24} {len(everything):4d} files {sum(everything):6d} lines of code")


if __name__ == "__main__":
    main()
