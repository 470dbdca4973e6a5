"""The models of a comparison, each giving an RDM of the same stimuli."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.arrays import Floats, Singles
from conceptrsa.analysis.models.feature_files import Features, ModelRdm, require_distances_differ
from conceptrsa.analysis.models.zoo import LAYER_MARK
from conceptrsa.analysis.rsa.distances import (
    compute_rdm,
    compute_single_rdm,
    metric_of_models,
    out_of_range,
    without_distance,
)
from conceptrsa.analysis.settings import Groups, RdmMetric, is_own
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import map_on_threads
from conceptrsa.bids_config.names import (
    require_distinct,
    require_distinguishable,
    spelt_otherwise,
    warn_of_case,
)

SAME = 1e-5
"""Features that differ by less, in units of the largest, are those of one and the same layer."""

ROWS_OF_BLOCK = 256
"""Number of features that are converted to double precision at a time."""

ROUNDING = 1e-12
"""Distances that differ by less, in units of the features' mean square, are the same."""

AUTHORS_GROUPS = {"ICMLM-attfc": "visual", "ICMLM-tfm": "visual"}
"""Groups in the authors' code that differ from the paper because of a typo."""


@dataclass(frozen=True)
class ModelSet:
    """Models and the stimuli that they are compared on.

    Attributes
    ----------
    models : tuple of Features or ModelRdm
        With every stimulus, in any order, and perhaps more.
    stimuli : tuple of str
    notes : tuple of str
        Which models were left out, because they are the same as others.
    """

    models: tuple[Features | ModelRdm, ...]
    stimuli: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(model.model for model in self.models)

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each model."""
        return tuple(model.group for model in self.models)

    @property
    def forms(self) -> tuple[tuple[str, int], ...]:
        """Whether each model is features, and of which length, or an RDM."""
        return tuple(
            ("rdm", 0) if isinstance(model, ModelRdm) else ("features", model.values.shape[1])
            for model in self.models
        )

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of each model's stimuli and features or RDM."""
        return tuple(hash_model(model) for model in self.models)

    @cached_property
    def _rdms(self) -> dict[RdmMetric, Floats]:
        return {}

    def rdms(self, metric: RdmMetric) -> Floats:
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

    def single_rdms(self, metric: RdmMetric) -> Singles:
        """RDMs as `rdms` gives, in single precision, and not kept.

        Those of 16 models and 10,000 stimuli take 3.2 GB.
        """
        n_stimuli = len(self.stimuli)
        n_pairs = n_stimuli * (n_stimuli - 1) // 2
        rdms = np.empty((len(self.models), n_pairs), dtype=np.float32)
        metric = metric_of_models(metric)

        def fill_in(row: int) -> None:
            rdms[row] = self._rdm(self.models[row], metric, compute_single_rdm)

        map_on_threads(
            fill_in, range(len(self.models)), n_bytes=16 * n_pairs, in_turn=is_own(metric)
        )
        return rdms

    def of_stimuli(self, stimuli: Sequence[str]) -> "ModelSet":
        """The same models on some of the stimuli, in the order given."""
        return replace(self, stimuli=tuple(stimuli))

    def _rdm(
        self,
        model: Features | ModelRdm,
        metric: RdmMetric,
        compute: Callable[[Floats, RdmMetric], Floats | Singles] = compute_rdm,
    ) -> Floats | Singles:
        if isinstance(model, ModelRdm):
            return model.of_stimuli(self.stimuli)
        values = np.asarray(model.of_stimuli(self.stimuli), dtype=np.float64)
        if out_of_range(values):
            raise InputError(
                f"the features of {model.model} are too large or too small to compute with: scale "
                "them"
            )
        shapeless = np.flatnonzero(without_distance(values, metric))
        if len(shapeless):
            raise InputError(
                f"the features of {model.model} for stimulus {self.stimuli[shapeless[0]]} are not "
                "finite or all the same, so it has no distances to others: extract them again"
            )
        rdm = compute(values, metric)
        scale = 1.0 if metric in ("correlation", "cosine") else float(np.square(values).mean())
        if is_own(metric):
            scale = float(np.abs(rdm).max())
        require_distances_differ(model.model, rdm, ROUNDING * scale)
        return rdm


def gather_models(
    models: Sequence[Features | ModelRdm],
    stimuli: tuple[str, ...],
    groups: Groups,
    reference: str | None = None,
) -> ModelSet:
    """Check that models can be compared on the stimuli, and take one of those that are the same.

    A block and the pooling that ends it are one layer with two names: as two models they would
    count twice wherever there is a correction for the number of models.

    Parameters
    ----------
    models : sequence of Features or ModelRdm
    stimuli : tuple of str
    groups : {'paper', 'authors-code'}
    reference : str, optional
        Name of a model that stays in any case.

    Raises
    ------
    InputError
        On no model, models of one name, or a stimulus that a model lacks.
    """
    if not models:
        raise InputError("there is no model to compare: give at least one")
    names = [model.model for model in models]
    require_distinguishable(names, "model", "the comparison")
    warn_of_case(names, "model", "the comparison")
    require_distinct(names, "the comparison holds the model", "give each its own name")
    for model in models:
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
    doubles = _find_doubles(models, stimuli, reference)
    return ModelSet(
        tuple(_with_note(models[index], doubles[index]) for index in sorted(doubles)),
        stimuli,
        tuple(
            f"{double} is the same as {models[index].model} and left out"
            for index in sorted(doubles)
            for double in doubles[index]
        ),
    )


def _find_doubles(
    models: Sequence[Features | ModelRdm], stimuli: tuple[str, ...], reference: str | None
) -> dict[int, list[str]]:
    """Index of one of the models of a group that are the same, and the names of the others.

    Of several stays the reference model, else what has no layer in its name, else the layer that
    its network is known by, else what was given first.
    """

    def rank(index: int) -> tuple[bool, bool, bool, int]:
        model = models[index]
        layer = model.origin.get("layer")
        of_zoo = layer is not None and layer == model.origin.get("own_layer")
        return model.model != reference, LAYER_MARK in model.model, not of_zoo, index

    first = [_numbers(model, stimuli, is_first=True) for model in models]
    doubles: dict[int, list[str]] = {}
    for index in sorted(range(len(models)), key=rank):
        same = (
            kept
            for kept in doubles
            if models[kept].group == models[index].group
            and type(models[kept]) is type(models[index])
            and _are_same(first[kept], first[index])
            and _are_same(_numbers(models[kept], stimuli), _numbers(models[index], stimuli))
        )
        kept = next(same, None)
        if kept is None:
            doubles[index] = []
        else:
            doubles[kept].append(models[index].model)
    return doubles


def _numbers(
    model: Features | ModelRdm, stimuli: tuple[str, ...], is_first: bool = False
) -> NDArray[Any]:
    """Rows of the stimuli in their order, of features perhaps the first alone; or the RDM."""
    if isinstance(model, ModelRdm):
        return np.atleast_2d(model.of_stimuli(stimuli))
    if is_first:
        return model.values[[model.stimuli.index(stimuli[0])]]
    # A view where they are in that order.
    return np.asarray(model.values) if model.stimuli == stimuli else model.of_stimuli(stimuli)


def _are_same(values: NDArray[Any], others: NDArray[Any]) -> bool:
    """Tell whether numbers agree to rounding."""
    if values.shape != others.shape:
        return False
    difference = largest = 0.0
    for rows, other_rows in zip(_blocks(values), _blocks(others), strict=True):
        difference = np.maximum(difference, np.abs(rows - other_rows).max())
        largest = np.maximum(largest, np.abs(rows).max())
    return bool(difference <= SAME * largest)


def _blocks(values: NDArray[Any]) -> Iterator[Floats]:
    """Some rows after the other in double precision, without a copy of all."""
    for start in range(0, len(values), ROWS_OF_BLOCK):
        yield np.ascontiguousarray(values[start : start + ROWS_OF_BLOCK], dtype="<f8")


def _with_note(model: Features | ModelRdm, doubles: Sequence[str]) -> Features | ModelRdm:
    if not doubles:
        return model
    are = "which is the same, is" if len(doubles) == 1 else "which are the same, are"
    said = f"{', '.join(doubles)}, {are} left out"
    return replace(model, note="; ".join(filter(None, [model.note, said])))


def hash_model(model: Features | ModelRdm) -> str:
    """SHA-256 of a model's stimuli and features or RDM."""
    values = model.rdm if isinstance(model, ModelRdm) else model.values
    digest = hashlib.sha256("\n".join(model.stimuli).encode())
    for rows in _blocks(values):
        digest.update(rows.data)
    return digest.hexdigest()
