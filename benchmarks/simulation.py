"""Simulated brains and models with a known relation, every data set with new subjects and stimuli.

Stimuli have random features. A voxel responds to them with random weights, to features that only
its subject sees, and with noise, anew in both halves of the runs. Models hold features of their
group, features of their own and, as far as they are related to the brain, the brain's features.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROUPS = ("multimodal",) * 5 + ("visual",) * 8 + ("language",) * 3
"""The paper's 16 models."""

N_FEATURES = 20


@dataclass(frozen=True)
class Design:
    """What is simulated.

    Attributes
    ----------
    n_subjects, n_stimuli, n_voxels : int
    n_categories : int
        Stimuli come from so many categories; 0: from one normal distribution.
    spread : float
        Standard deviation of the signal over subjects, as a share of its mean.
    own_share : float
        Share of the variance of a model's features that it does not have from its group; 0.38
        makes RDMs of a group correlate 0.66.
    """

    n_subjects: int = 5
    n_stimuli: int = 50
    n_voxels: int = 150
    n_categories: int = 0
    spread: float = 0.15
    own_share: float = 0.38


def draw_features(
    design: Design, generator: np.random.Generator, world: int | None = 0
) -> NDArray[np.float64]:
    """Features (stimuli, features) of new stimuli, with variances 1, 1/2, 1/3, ...

    Parameters
    ----------
    design : Design
    generator : Generator
    world : int or None
        Which fixed set of category means, the same in every data set, or None for a new one:
        were the categories new each time, no data set could tell how much that changes.
    """
    scale = 1 / np.sqrt(np.arange(1, N_FEATURES + 1))
    features = generator.standard_normal((design.n_stimuli, N_FEATURES))
    if design.n_categories:
        source = generator if world is None else np.random.default_rng(world)
        means = source.standard_normal((design.n_categories, N_FEATURES))
        category = generator.integers(design.n_categories, size=design.n_stimuli)
        features = (features + means[category]) / np.sqrt(2)
    return np.asarray(features * scale)


def draw_brain(
    features: NDArray[np.float64], signal: float, design: Design, generator: np.random.Generator
) -> NDArray[np.float64]:
    """RDMs (2 halves, subjects, pairs) of new subjects who see the stimuli."""
    return np.stack(
        [
            correlation_rdms(draw_patterns(features, signal, design, generator))
            for _ in range(design.n_subjects)
        ],
        axis=1,
    )


def draw_patterns(
    features: NDArray[np.float64],
    signal: float,
    design: Design,
    generator: np.random.Generator,
    subject: np.random.Generator | None = None,
) -> NDArray[np.float64]:
    """Patterns (2 halves, stimuli, voxels) of a subject; noise of standard deviation 1.

    The subject is a new one, or one whose responses come from a generator of its own.
    """
    subject = subject or generator
    own = draw_features(design, generator, world=None)
    both = np.concatenate([features, own / 2], axis=1)
    responses = both @ subject.standard_normal((both.shape[1], design.n_voxels))
    gain = signal * (1 + design.spread * subject.standard_normal())
    noise = generator.standard_normal((2, design.n_stimuli, design.n_voxels))
    # The expected power, not that of this sample, which would make stimuli depend on each other.
    power = (1 / np.arange(1, N_FEATURES + 1)).sum()
    return np.asarray(gain * responses / np.sqrt(power) + noise)


def draw_models(
    features: NDArray[np.float64],
    relation: NDArray[np.float64],
    design: Design,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """RDMs (models, pairs) of models in `GROUPS`, each holding the brain's features so strongly."""
    return correlation_rdms(draw_model_features(features, relation, design, generator))


def draw_model_features(
    features: NDArray[np.float64],
    relation: NDArray[np.float64],
    design: Design,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Features (models, stimuli, features) of models in `GROUPS`."""
    names = dict.fromkeys(GROUPS)
    common = {group: draw_features(design, generator, 1 + i) for i, group in enumerate(names)}
    share = design.own_share
    models = [
        np.concatenate(
            [
                np.sqrt(1 - share) * common[group],
                np.sqrt(share) * draw_features(design, generator, 100 + index),
                weight * features,
            ],
            axis=1,
        )
        for index, (group, weight) in enumerate(zip(GROUPS, relation, strict=True))
    ]
    return np.stack(models)


def correlation_rdms(patterns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation distances (..., pairs) of patterns (..., stimuli, voxels)."""
    centred = patterns - patterns.mean(axis=-1, keepdims=True)
    centred /= np.sqrt(np.square(centred).sum(axis=-1, keepdims=True))
    first, second = np.triu_indices(patterns.shape[-2], k=1)
    return np.asarray(1 - (centred @ centred.swapaxes(-1, -2))[..., first, second])
