"""A text on the methods, for a paper, as the settings and the data were."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from conceptrsa.analysis.cautions import TESTS_OVER_SUBJECTS
from conceptrsa.analysis.inference.findings import (
    MIXED_MODEL,
    RANDOM_EFFECTS,
    TWO_SIDED_PERMUTATION,
    ZERO,
)
from conceptrsa.analysis.inference.population_inference import has_no_zero, numbers_of_draws
from conceptrsa.analysis.output.figures.captions import RDM_NAMES, SCORE_NAMES
from conceptrsa.analysis.output.report.references import REFERENCES, Reference
from conceptrsa.analysis.output.report.wording import render_paragraphs
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.rsa.distances import metric_of_models
from conceptrsa.analysis.rsa.noise_ceiling import N_PERMUTATIONS
from conceptrsa.analysis.settings import is_own, is_product


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
    n_permutations, n_bootstraps = numbers_of_draws(settings)
    # Factorials of more stimuli are above any number of permutations.
    n_orders = math.factorial(min(len(result.stimuli), 20))
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
        n_ceiling_permutations=N_PERMUTATIONS + 1,
        n_permutations=min(n_permutations, n_orders),
        all_permutations=n_orders <= n_permutations,
        n_bootstraps=n_bootstraps,
        n_specifications=len(
            {(row.voxel_selection, row.rdm_metric, row.rsa_metric) for row in result.multiverse}
        ),
        tested=_tested(result),
    )
    return Methods(tuple(paragraphs), tuple(cited.values()))


class _Estimation(dict[str, Any]):
    """What the betas' sidecar holds; None for what it lacks."""

    def __missing__(self, key: str) -> None:
        return None


def _tested(result: ComparisonResult) -> dict[str, bool]:
    """Which kinds of tests were made."""
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
