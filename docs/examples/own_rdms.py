"""
RDMs of your own
================

You may have distances without patterns: from another laboratory, from behaviour, or from another
program. Both the brain's side and the models' side of a comparison can be RDMs.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.distance import pdist

import conceptrsa as crsa

rng = np.random.default_rng(1)
animals = ["ant", "bear", "cat", "dog", "eagle", "frog", "goat", "hare", "ibis", "jackal"]
tools = ["axe", "bolt", "chisel", "drill", "file", "grater", "hammer", "iron", "jack", "knife"]
stimuli = animals + tools
is_animal = np.repeat([1.0, 0.0], 10)[:, None]
appearance = rng.normal(size=(20, 5))

# %%
# Each subject's RDM is a vector in the order of ``scipy.spatial.distance.pdist``, or a square
# matrix.

subjects = [
    crsa.SubjectRdms.from_arrays(
        f"{number:02d}",
        stimuli,
        {
            "early": pdist(np.hstack([appearance, 0.8 * rng.normal(size=(20, 5))])),
            "late": pdist(np.hstack([3 * is_animal, 0.6 * rng.normal(size=(20, 5))])),
        },
    )
    for number in range(1, 9)
]

# %%
# A model RDM can be made of features by :func:`conceptrsa.compute_rdm`, or be anything else:
# here, a category, with distance 0 within and 1 between.

models = [
    crsa.ModelRdm("category", "hypothesis", stimuli, pdist(is_animal)),
    crsa.ModelRdm("appearance", "hypothesis", stimuli, crsa.compute_rdm(appearance, "euclidean")),
]
result = crsa.compare(subjects, models)
result.scores[["roi", "model", "rsa", "low", "high", "p_max"]].round(3)

# %%
# The mean RDM of the region, beside the model that explains it best.

figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
result.plot.rdm("late", ax=axes[0])
result.plot.rdm("category", ax=axes[1])
