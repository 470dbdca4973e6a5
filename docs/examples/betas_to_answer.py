"""
From betas to an answer
=======================

Betas of six subjects in two regions are compared with two networks. Everything is simulated: V1
carries the features of one network, and IT those of the other.
"""

import numpy as np

import conceptrsa as crsa

rng = np.random.default_rng(0)
stimuli = [f"picture{number:02d}" for number in range(40)]
clip, resnet = rng.normal(size=(2, 40, 20))  # features: (stimuli, features)


def betas(features):
    """Simulate four runs of 60 voxels, (runs, stimuli, voxels)."""
    return features @ rng.normal(size=(20, 60)) + 6 * rng.normal(size=(4, 40, 60))


# %%
# Patterns of a subject are arrays with a name for each region. Betas of single runs let
# conceptrsa choose voxels on one half of the runs and score them on the other.

subjects = [
    crsa.SubjectPatterns.from_arrays(label, stimuli, {"V1": betas(resnet), "IT": betas(clip)})
    for label in ["01", "02", "03", "04", "05", "06"]
]
subjects[0]

# %%
# A model has a name, a group, the names of the stimuli, and its features. Stimuli are matched by
# name.

models = [
    crsa.Features("CLIP", "image and text", stimuli, clip),
    crsa.Features("ResNet50", "image", stimuli, resnet),
]
result = crsa.compare(subjects, models, multiverse=False)

# %%
# ``rsa`` is the mean over subjects, ``low`` and ``high`` its 95 % interval for new subjects and
# new stimuli, and ``p_max`` the p-value corrected for all models and regions.

result.scores[["roi", "model", "rsa", "low", "high", "p_max"]].round(3)

# %%
# The dashed line is the noise ceiling: how well subjects agree with each other. The grey band
# reaches from Nili's lower to the upper bound of the best score that a model could have.

result.plot.scores("IT")

# %%
# ``result.save("out")`` writes all tables, figures and the report. What you should know before
# you trust a result is given as warnings, and kept:

print("\n\n".join(result.notes))
