"""
A distance of your own
======================

Distances between patterns, and comparisons between RDMs, can be functions. Here the city-block
distance and Lin's concordance correlation take the place of the built-in ones.
"""

import numpy as np
from scipy.spatial.distance import pdist

import conceptrsa as crsa

rng = np.random.default_rng(2)
stimuli = [f"picture{number:02d}" for number in range(24)]
shape, colour = rng.normal(size=(2, 24, 10))


def betas(features):
    """Simulate 50 voxels, (stimuli, voxels)."""
    return features @ rng.normal(size=(10, 50)) + 2 * rng.normal(size=(24, 50))


subjects = [
    crsa.SubjectPatterns.from_arrays(label, stimuli, {"LO": betas(shape), "V4": betas(colour)})
    for label in ["01", "02", "03", "04", "05", "06"]
]
models = [
    crsa.Features("shape", "features", stimuli, shape),
    crsa.Features("colour", "features", stimuli, colour),
]

# %%
# A distance takes patterns, (stimuli, features), and returns the pairs in the order of ``pdist``.
# It is used for brains and models alike.


def city_block(patterns):
    """Sum of absolute differences."""
    return pdist(patterns, "cityblock")


# %%
# A comparison takes two vectors of pairs, first the brain's, and returns a number that is higher
# the more they are alike.


def concordance(brain, model):
    """Agreement of two RDMs in size, too, after each was divided by its mean."""
    brain, model = brain / brain.mean(), model / model.mean()
    covariance = np.mean((brain - 1) * (model - 1))
    return 2 * covariance / (brain.var() + model.var())


result = crsa.compare(
    subjects, models, rdm_metric=city_block, rsa_metric=concordance, n_permutations=1000
)
result.scores[["roi", "model", "rsa", "p_max"]].round(3)

# %%
# What your function gives by chance is not known, so p-values come from permutations of the
# stimuli only.

result.plot.scores("LO")
