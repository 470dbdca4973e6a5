"""The literature that methods are described with, and the file of what to cite."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from conceptrsa.bids_config.writing import atomic_path

THE_TOOL = """\
@software{{conceptrsa,
  author = {{{{The conceptrsa developers}}}},
  title = {{{{conceptrsa: which neural network explains which brain region?}}}},
  version = {{{version}}},
}}"""


@dataclass(frozen=True)
class Reference:
    """One publication.

    Attributes
    ----------
    key : str
        Its key in BibTeX.
    citation : str
        As it stands in a text: authors and year.
    entry : str
        As it stands in a list of references, without the link.
    link : str
        Its persistent address.
    bibtex : str
        As it stands in a .bib file.
    """

    key: str
    citation: str
    entry: str
    link: str
    bibtex: str

    @classmethod
    def parse(cls, bibtex: str) -> "Reference":
        """Read an article as `references.bib` has it: a field a line."""
        fields = dict(re.findall(r"^  (\w+) = \{+(.*?)\}+,$", bibtex, re.MULTILINE))
        authors = fields["author"].split(" and ")
        surnames = [author.split(",")[0] for author in authors]
        short = f"{surnames[0]} et al." if len(authors) > 2 else " & ".join(surnames)
        listed = " & ".join(filter(None, (", ".join(authors[:-1]), authors[-1])))
        pages = fields.get("pages", "").replace("--", "-")
        source = ", ".join(filter(None, (f"{fields['journal']} {fields['volume']}", pages)))
        return cls(
            key=bibtex.split("{", 1)[1].split(",", 1)[0],
            citation=f"{short}, {fields['year']}",
            entry=f"{listed.replace('& others', 'et al.')} ({fields['year']}). "
            f"{fields['title']}. {source}",
            link=fields["url"],
            bibtex=bibtex,
        )


_BIB = files(__package__).joinpath("templates", "references.bib").read_text(encoding="utf-8")

REFERENCES = {
    reference.key: reference for reference in map(Reference.parse, _BIB.strip().split("\n\n"))
}


def write_citation(references: Sequence[Reference], file: Path) -> None:
    """Write BibTeX entries of this tool, of the paper it began with, and of the methods used."""
    cited = dict.fromkeys((REFERENCES["choksi2022"], *references))
    entries = [THE_TOOL.format(version=version("conceptrsa")), *(found.bibtex for found in cited)]
    with atomic_path(file) as temporary:
        temporary.write_text("\n\n".join(entries) + "\n", encoding="utf-8")
