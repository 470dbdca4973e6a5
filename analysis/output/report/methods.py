"""A text on the methods, for a paper, as the settings and the data were; and what it cites."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from conceptrsa.analysis.cautions import TESTS_OVER_SUBJECTS
from conceptrsa.analysis.inference.findings import (
    MIXED_MODEL,
    ONE_SIDED_PERMUTATION,
    RANDOM_EFFECTS,
    TWO_SIDED_PERMUTATION,
    ZERO,
)
from conceptrsa.analysis.inference.population_inference import (
    has_no_zero,
    number_of_permutations,
)
from conceptrsa.analysis.output.figures.captions import RDM_NAMES, SCORE_NAMES
from conceptrsa.analysis.output.report.rendering import render_paragraphs
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.rsa.distances import metric_of_models
from conceptrsa.analysis.rsa.noise_ceiling import N_PERMUTATIONS
from conceptrsa.analysis.settings import is_own, is_product
from conceptrsa.bids_config.writing import write_text

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


@dataclass(frozen=True)
class Methods:
    """Paragraphs of plain text, and the references they name in the order of first mention."""

    paragraphs: tuple[str, ...]
    references: tuple[Reference, ...]


def describe_methods(result: ComparisonResult) -> Methods:
    """Describe how a result came about: no more, and nothing that was not done."""
    settings = result.settings
    cited: dict[str, Reference] = {}

    def cite(key: str) -> str:
        cited[key] = REFERENCES[key]
        return f"({cited[key].citation})"

    names: dict[str, list[str]] = {}
    for model in result.models:
        names.setdefault(model.group, []).append(model.name)
    slow = not is_product(settings.rsa_metric)
    floors = [t.p_floor for t in result.model_tests if t.test == ONE_SIDED_PERMUTATION]
    asked_for = number_of_permutations(settings)
    n_permutations = round(1 / max(floors)) if floors else asked_for
    paragraphs = render_paragraphs(
        "methods.txt.j2",
        cite=cite,
        result=result,
        settings=settings,
        primary=result.primary,
        estimation=_Estimation(result.estimation),
        models_by_group="; ".join(f"{group} ({', '.join(of)})" for group, of in names.items()),
        supplied_models=[model.name for model in result.models if model.supplied_rdm],
        model_distance=RDM_NAMES[metric_of_models(settings.rdm_metric)],
        score_name=SCORE_NAMES[settings.voxel_score],
        slow=slow,
        own_comparison=is_own(settings.rsa_metric),
        without_zero=has_no_zero(settings.rsa_metric),
        split_half=any(roi.ceiling_from == "halves" for roi in result.rois),
        n_ceiling_permutations=N_PERMUTATIONS + 1,
        n_permutations=n_permutations,
        all_permutations=n_permutations < asked_for,
        n_specifications=len(
            {(row.voxel_selection, row.rdm_metric, row.rsa_metric) for row in result.multiverse}
        ),
        tested=_tested(result),
    )
    return Methods(tuple(paragraphs), tuple(cited.values()))


class _Estimation(dict[str, Any]):
    """Read the betas' sidecar; None for keys that it lacks."""

    def __missing__(self, key: str) -> None:
        return None


def _tested(result: ComparisonResult) -> dict[str, bool]:
    """Say which kinds of tests were made."""
    of_models, of_groups = result.model_tests, result.group_tests
    made = [test for test in of_models if np.isfinite(test.p)]
    between_groups = [test for test in of_groups if np.isfinite(test.p)]
    return {
        "models": bool(made),
        "groups": bool(between_groups),
        "random_effects": any(
            test.test == RANDOM_EFFECTS and test.reference != ZERO for test in made
        ),
        "mixed_model": any(test.test == MIXED_MODEL for test in between_groups),
        "over_subjects": any(test.test.startswith(TESTS_OVER_SUBJECTS) for test in of_models),
        "screen": any(test.test == TWO_SIDED_PERMUTATION for test in of_models),
    }


def write_citation(references: Sequence[Reference], file: Path) -> None:
    """Write BibTeX entries of this tool and of the methods used."""
    entries = [THE_TOOL.format(version=version("conceptrsa"))]
    entries += [reference.bibtex for reference in references]
    write_text(file, "\n\n".join(entries) + "\n")
