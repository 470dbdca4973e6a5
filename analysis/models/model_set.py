"""The models of a comparison, each giving an RDM of the same stimuli."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.models.feature_files import Features
from analysis.models.model_rdms import ModelRdm
from analysis.models.registry import Group
from analysis.rdm import compute_rdm, metric_of_models, out_of_range, without_distance
from analysis.settings import Groups, RdmMetric
from bids_config.errors import InputError
from bids_config.names import require_distinguishable, spelt_otherwise, warn_of_case

ROUNDING = 1e-12
"""Distances that differ by less, in units of the features' mean square, are the same."""

AUTHORS_GROUPS: dict[str, Group] = {"ICMLM-attfc": "visual", "ICMLM-tfm": "visual"}
"""Where the authors' code puts models, by a slip of spelling, other than the paper."""


@dataclass(frozen=True)
class ModelSet:
    """Models and the stimuli that they are compared on.

    Attributes
    ----------
    models : tuple of Features or ModelRdm
        With every stimulus, in any order, and perhaps more.
    stimuli : tuple of str
    """

    models: tuple[Features | ModelRdm, ...]
    stimuli: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(model.model for model in self.models)

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each model."""
        return tuple(model.group for model in self.models)

    @cached_property
    def _rdms(self) -> dict[RdmMetric, NDArray[np.float64]]:
        return {}

    def rdms(self, metric: RdmMetric) -> NDArray[np.float64]:
        """RDMs of all models, (models, pairs), in the order of the stimuli.

        Models have neither runs nor noise: where the brain's distance is Mahalanobis or
        crossnobis theirs is Euclidean. RDMs that were supplied stay as they are.

        Raises
        ------
        InputError
            On features that a distance cannot be taken from.
        """
        metric = metric_of_models(metric)
        if metric not in self._rdms:
            self._rdms[metric] = np.stack([self._rdm(model, metric) for model in self.models])
        return self._rdms[metric]

    def _rdm(self, model: Features | ModelRdm, metric: RdmMetric) -> NDArray[np.float64]:
        if isinstance(model, ModelRdm):
            return model.of_stimuli(self.stimuli)
        rows = {stimulus: row for row, stimulus in enumerate(model.stimuli)}
        wanted = [rows[stimulus] for stimulus in self.stimuli]
        values = np.asarray(model.values, dtype=np.float64)[wanted]
        if out_of_range(values):
            raise InputError(
                f"the features of {model.model} are too large or too small to compute with: scale "
                "them"
            )
        shapeless = np.flatnonzero(without_distance(values, metric))
        if len(shapeless):
            raise InputError(
                f"the features of {model.model} for stimulus {self.stimuli[shapeless[0]]} are not "
                "finite or all the same, so it has no distance to others: extract them again"
            )
        rdm = compute_rdm(values, metric)
        scale = 1.0 if metric in ("correlation", "cosine") else float(np.square(values).mean())
        if np.ptp(rdm) <= ROUNDING * scale:
            raise InputError(
                f"{model.model} puts the same distance between all stimuli of the betas, so that "
                "its RDM compares with nothing: leave the model out"
            )
        return rdm


def gather_models(
    models: Sequence[Features | ModelRdm], stimuli: tuple[str, ...], groups: Groups
) -> ModelSet:
    """Check that models can be compared on the stimuli.

    Raises
    ------
    InputError
        On no model, models of one name, or a stimulus that a model lacks.
    """
    if not models:
        raise InputError("there is no model to compare with: name at least one")
    names = [model.model for model in models]
    require_distinguishable(names, "model", "the comparison")
    warn_of_case(names, "model", "the comparison")
    for model in models:
        if names.count(model.model) > 1:
            raise InputError(f"model {model.model} is given more than once: give each its own name")
        absent = sorted(set(stimuli) - set(model.stimuli))
        if absent:
            raise InputError(
                f"stimulus {absent[0]} of the betas has no features of {model.model}: add its "
                "picture to the stimuli, or its row to the features"
                f"{spelt_otherwise(absent[0], model.stimuli)}"
            )
    if groups == "authors-code":
        models = [
            replace(model, group=AUTHORS_GROUPS.get(model.model, model.group)) for model in models
        ]
    return ModelSet(tuple(models), stimuli)


def hash_model(model: Features | ModelRdm) -> str:
    """SHA-256 of a model's stimuli and features or RDM."""
    values = model.rdm if isinstance(model, ModelRdm) else model.values
    digest = hashlib.sha256("\n".join(model.stimuli).encode())
    digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return digest.hexdigest()
