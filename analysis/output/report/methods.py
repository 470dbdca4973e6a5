"""A text on the methods, for a paper, as the settings and the data were."""

import math
from dataclasses import dataclass

import numpy as np

from conceptrsa.analysis.cautions import TESTS_OVER_SUBJECTS
from conceptrsa.analysis.inference.comparisons import (
    MIXED_MODEL,
    RANDOM_EFFECTS,
    SLOW_BOOTSTRAPS,
    SLOW_METRIC,
    SLOW_PERMUTATIONS,
    TWO_SIDED_PERMUTATION,
    WITHOUT_ZERO,
    ZERO,
)
from conceptrsa.analysis.output.figures.captions import RDM_NAMES, SCORE_NAMES
from conceptrsa.analysis.output.report.beta_estimation import describe_estimation
from conceptrsa.analysis.output.report.references import REFERENCES, Reference
from conceptrsa.analysis.output.report.wording import counted, joined
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.rsa.distances import metric_of_models
from conceptrsa.analysis.rsa.noise_ceiling import N_PERMUTATIONS
from conceptrsa.analysis.settings import RdmMetric, RsaMetric

RDM_TEXTS: dict[RdmMetric, str] = {
    "correlation": "one minus the Pearson correlation of two patterns over voxels",
    "cosine": "one minus the cosine of the angle between two patterns",
    "euclidean": "the squared Euclidean distance of two patterns divided by the number of voxels",
    "mahalanobis": (
        "the squared Mahalanobis distance of two patterns divided by the number of voxels, voxels "
        "whitened by the covariance of the residuals"
    ),
    "crossnobis": (
        "the squared Euclidean distance of two patterns, cross-validated over runs, or partitions "
        "of runs, so that noise does not make it positive, divided by the number of voxels"
    ),
}
WHITENED_CROSSNOBIS = (
    "the squared Mahalanobis distance of two patterns, voxels whitened by the covariance of the "
    "residuals, cross-validated over runs, or partitions of runs, so that noise does not make it "
    "positive, divided by the number of voxels"
)

RSA_TEXTS: dict[RsaMetric, str] = {
    "pearson": "Pearson's correlation",
    "spearman": "Spearman's rank correlation",
    "kendall-tau-a": "Kendall's tau-a, which does not reward a model for predicting ties",
    "rho-a": "rho-a, the rank correlation expected when ties are broken at random",
    "cosine": "the cosine of the angle between them",
    "whitened-cosine": (
        "the cosine of the angle between them after whitening by the covariance that distances "
        "have because they share stimuli"
    ),
}

RSA_REFERENCES: dict[RsaMetric, tuple[str, ...]] = {
    "kendall-tau-a": ("nili2014",),
    "rho-a": ("schuett2023",),
    "whitened-cosine": ("diedrichsen2021",),
}


@dataclass(frozen=True)
class Methods:
    """Paragraphs of plain text, and the references they name in the order of first mention."""

    paragraphs: tuple[str, ...]
    references: tuple[Reference, ...]


def describe_methods(result: ComparisonResult) -> Methods:
    """Describe how a result came about: no more, and nothing that was not done."""
    writer = _Writer(result)
    paragraphs = [writer.data(), writer.estimation(), writer.voxels(), writer.rdms()]
    paragraphs.append(writer.ceilings())
    # In this order, because references are listed as they are met.
    paragraphs += writer.of_the_paper() if result.inference is None else writer.recommended()
    return Methods(
        tuple(paragraph for paragraph in paragraphs if paragraph), tuple(writer.references)
    )


class _Writer:
    """Writes paragraphs and remembers what they refer to."""

    def __init__(self, result: ComparisonResult) -> None:
        self._result = result
        self._settings = result.settings
        self.references: list[Reference] = []

    def _cite(self, *keys: str) -> str:
        cited = [REFERENCES[key] for key in keys]
        self.references += [found for found in cited if found not in self.references]
        return f"({'; '.join(reference.citation for reference in cited)})"

    def data(self) -> str:
        result = self._result
        groups = dict.fromkeys(model.group for model in result.models)
        models = [
            f"{group} ({', '.join(model.name for model in result.models if model.group == group)})"
            for group in groups
        ]
        text = (
            "Responses to the same "
            f"{len(result.stimuli)} stimuli were compared between "
            f"{counted(len(result.subjects), 'subject')} and {counted(len(result.models), 'model')}"
            f" by representational similarity analysis {self._cite('kriegeskorte2008')} in "
            f"{counted(len(result.rois), 'region')}: {joined([roi.roi for roi in result.rois])}. "
            f"Models by group: {'; '.join(models)}."
        )
        if self._settings.preset == "paper":
            text += f" The analysis is that of the paper {self._cite('choksi2022')}."
        return text

    def estimation(self) -> str:
        return "" if self._result.primary.supplied else describe_estimation(self._result.estimation)

    def voxels(self) -> str:
        if self._result.primary.supplied:
            return "Representational dissimilarity matrices (RDMs) of the brain were supplied."
        parts = [self._selection()]
        if self._settings.remove_mean_pattern:
            parts.append(
                "The mean pattern over stimuli was first subtracted from the patterns, voxel by "
                "voxel."
            )
        if self._result.primary.circular:
            parts.append(
                "Voxels were chosen by the same data that were then scored, which is circular "
                f"{self._cite('kriegeskorte2009')}: scores and ceilings are optimistic."
            )
        elif any(fold.select_on for fold in self._result.primary.folds):
            parts.append(
                "Voxels were chosen on the odd runs and scored on the even ones, and the reverse, "
                "and results averaged, so that the choice is independent of what is scored "
                f"{self._cite('kriegeskorte2009')}."
            )
        return " ".join(parts)

    def _selection(self) -> str:
        settings = self._settings
        score = SCORE_NAMES[settings.voxel_score]
        if settings.voxel_score == "ncsnr" and settings.voxel_selection not in ("all", "random"):
            score = f"{score} {self._cite('allen2022')}"
        zeros = " Voxels with a beta of exactly 0 were passed over." * settings.skip_zeros
        match settings.voxel_selection:
            case "top-n":
                return (
                    f"In each region and subject the {settings.n_voxels} voxels of the {score} "
                    f"were taken.{zeros}"
                )
            case "threshold":
                return (
                    "In each subject the voxels above the score that leaves "
                    f"{settings.n_voxels} of them in {settings.threshold_roi} were taken, by the "
                    f"{score}."
                )
            case "best-n":
                return (
                    f"In each region as many voxels of the {score} were taken as give the highest "
                    f"noise ceiling over subjects.{zeros}"
                )
            case "random":
                return (
                    f"In each region and subject {settings.n_voxels} voxels were drawn at random, "
                    f"{counted(settings.n_random_draws, 'time')}, and results averaged."
                )
            case "all":
                return "All voxels of each region were taken."

    def rdms(self) -> str:
        settings = self._settings
        walther = (
            f" {self._cite('walther2016')}"
            if settings.rdm_metric in ("mahalanobis", "crossnobis")
            else ""
        )
        cited = RSA_REFERENCES.get(settings.rsa_metric, ())
        reference = f" {self._cite(*cited)}" if cited else ""
        of_brain = RDM_TEXTS[settings.rdm_metric]
        if settings.rdm_metric == "crossnobis" and self._result.primary.whitened:
            of_brain = WHITENED_CROSSNOBIS
        sentences = [
            ""
            if self._result.primary.supplied
            else f"Distances in the brain were {of_brain}{walther}.",
            self._model_distances(),
            "The RDM of every subject was compared with that of every model by "
            f"{RSA_TEXTS[settings.rsa_metric]}{reference}.",
        ]
        return " ".join(filter(None, sentences))

    def _model_distances(self) -> str:
        models = self._result.models
        supplied = [model.name for model in models if model.supplied_rdm]
        taken = f"The RDMs of {joined(supplied)} were supplied." if supplied else ""
        if len(supplied) == len(models):
            return "The RDMs of the models were supplied."
        name = RDM_NAMES[metric_of_models(self._settings.rdm_metric)]
        scaled = ", divided by their number" if name == RDM_NAMES["euclidean"] else ""
        computed = f"The distance between features of models was the {name}{scaled}."
        return f"{computed} {taken}".strip()

    def ceilings(self) -> str:
        nili = (
            ""
            if self._result.inference is None
            else f" Lower and upper bounds {self._cite('nili2014')} are given beside."
        )
        metric = (
            " (by Spearman's rank correlation)" if self._settings.rsa_metric == SLOW_METRIC else ""
        )
        return (
            "The noise ceiling of a subject is the mean of the comparisons of that subject's RDM "
            "with those of the other subjects. Whether subjects agree at all was tested by "
            f"permuting the stimuli in each subject's RDM{metric}, {N_PERMUTATIONS + 1} "
            f"permutations with the identity.{nili}"
        )

    def of_the_paper(self) -> list[str]:
        return [
            "Each subject's scores were divided by that subject's noise ceiling; subjects whose "
            f"ceiling is not above zero have no such shares.{self._tests_of_the_paper()} The seed "
            f"of all random numbers was {self._settings.seed}."
        ]

    def _tests_of_the_paper(self) -> str:
        result = self._result
        tests = []
        if any(np.isfinite(test.p) for test in result.model_tests):
            tests.append(
                f" Every other model was tested against {result.reference_model} by Wilcoxon's "
                "signed-rank test over subjects, exact where possible "
                f"{self._cite('wilcoxon1945')}."
            )
        if any(np.isfinite(test.p) for test in result.group_tests):
            tests.append(
                " Groups of models were tested against each other by Welch's t-test over the "
                f"models' means {self._cite('welch1947')}, which treats models as independent."
            )
        if tests:
            tests.append(
                " P-values were corrected for the false discovery rate "
                f"{self._cite('benjamini1995')}."
            )
        return "".join(tests)

    def recommended(self) -> list[str]:
        settings = self._settings
        slow = settings.rsa_metric == SLOW_METRIC
        n_permutations, are_all = self._permutations()
        which = "all there are" if are_all else "the identity among them"
        n_bootstraps = min(settings.n_bootstraps, SLOW_BOOTSTRAPS if slow else 10**9)
        return [
            "Whether a model is related to a region was tested by permuting the labels of the "
            f"stimuli ({n_permutations:,} permutations, {which}), p-values "
            "corrected for all models and regions by the largest statistic "
            f"{self._cite('nichols2002')}.",
            self._estimates(),
            "Standard errors by bootstrap over subjects, stimuli and both "
            f"{self._cite('schuett2023')} are given beside ({n_bootstraps:,} samples)."
            f"{self._screen()} P-values of "
            "other tests were corrected for the false discovery rate "
            f"{self._cite('benjamini1995')}. The seed of all random numbers was {settings.seed}.",
            self._explained(),
            self._multiverse(),
        ]

    def _estimates(self) -> str:
        intervals = (
            "Intervals (95 %) of scores, of differences between models and of noise ceilings are "
            "for new subjects and new stimuli: the variance over both, as crossed random factors, "
            "follows from the influence of each pair of stimuli on a subject's score, by mean "
            f"squares {self._cite('cornfield1956')}."
        )
        if self._settings.rsa_metric in WITHOUT_ZERO:
            return (
                f"{intervals} As the cosine of unrelated RDMs is above zero, only the label "
                "permutation gives p-values, and scores are not given as shares of the ceiling."
            )
        tests = self._tests_of_estimates()
        shares = (
            " Shares of the noise ceiling are ratios of means over subjects with Fieller's "
            f"interval {self._cite('fieller1954')}, withheld where the ceiling may be zero."
        )
        over_subjects = (
            " Sign-flip and Wilcoxon's signed-rank tests over subjects "
            f"{self._cite('wilcoxon1945')} are given beside; they speak of these stimuli only."
            if any(test.test.startswith(TESTS_OVER_SUBJECTS) for test in self._result.model_tests)
            else ""
        )
        return f"{intervals}{tests}{shares}{over_subjects}"

    def _permutations(self) -> tuple[int, bool]:
        """How many were made, and whether that is all that so few stimuli have."""
        slow = self._settings.rsa_metric == SLOW_METRIC
        wanted = min(self._settings.n_permutations, SLOW_PERMUTATIONS if slow else 10**9)
        n_stimuli = len(self._result.stimuli)
        # Factorials of more stimuli are above any number of permutations.
        existing = math.factorial(min(n_stimuli, 20))
        return (existing, True) if existing <= wanted else (wanted, False)

    def _tests_of_estimates(self) -> str:
        result = self._result
        between_models = any(
            test.test == RANDOM_EFFECTS and test.reference != ZERO and np.isfinite(test.p)
            for test in result.model_tests
        )
        between_groups = any(
            test.test == MIXED_MODEL and np.isfinite(test.p) for test in result.group_tests
        )
        text = " Models were tested against each other by these differences." * between_models
        if between_groups:
            text += (
                " Groups of models were tested against each other by a mixed model in which models "
                "are random as well."
            )
        return text

    def _screen(self) -> str:
        if not any(test.test == TWO_SIDED_PERMUTATION for test in self._result.model_tests):
            return ""
        return (
            " Permutation of labels for differences between models and between groups is given "
            "beside as a screen: it asks whether neither is related to the brain."
        )

    def _explained(self) -> str:
        inference = self._result.inference
        if inference is None or not inference.variance_parts:
            return ""
        return (
            "The variance of the RDMs, whitened "
            f"{self._cite('diedrichsen2021')}, was partitioned among the groups of models by least "
            "squares, less what unrelated models would explain; intervals are from a jackknife "
            "over subjects and stimuli."
        )

    def _multiverse(self) -> str:
        rows = self._result.multiverse
        if not rows:
            return ""
        choices = {(row.voxel_selection, row.rdm_metric, row.rsa_metric) for row in rows}
        return (
            f"All scores were computed by {len(choices)} combinations of voxel selection, distance "
            f"and comparison {self._cite('steegen2016')}; the one described above was declared "
            "beforehand."
        )
