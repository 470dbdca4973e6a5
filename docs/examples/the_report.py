"""
The report
==========

``result.save`` writes tables, figures and one page that needs no network. This example makes the
page for a small study of eight models in three regions, and shows it below.
"""

import tempfile

import numpy as np

import conceptrsa as crsa

rng = np.random.default_rng(9)
stimuli = [f"{kind}{number:02d}" for kind in ("face", "house", "tool") for number in range(12)]
category = np.kron(np.eye(3), np.ones((12, 1)))
shape, meaning = rng.normal(size=(2, 36, 15))

# %%
# Models of three groups, two of which are made of what the brain holds.

models = [
    crsa.Features(
        f"{group}-{number}", group, stimuli, content + size * rng.normal(size=content.shape)
    )
    for group, content in {"image": shape, "text": meaning}.items()
    for number, size in enumerate((0.3, 0.7, 1.5), start=1)
]
models += [
    crsa.Features("random", "control", stimuli, rng.normal(size=(36, 15))),
    crsa.Features("category", "control", stimuli, category + 0.01 * rng.normal(size=(36, 3))),
]


def betas(*contents, strength=1.0):
    """Simulate six runs of 70 voxels."""
    signal = sum(content @ rng.normal(size=(content.shape[1], 70)) for content in contents)
    return strength * signal + 7 * rng.normal(size=(6, 36, 70))


subjects = [
    crsa.SubjectPatterns.from_arrays(
        f"{number:02d}",
        stimuli,
        {
            "V1": betas(shape),
            "FFA": betas(shape, 5 * category),
            "hippocampus": betas(meaning, strength=0.6),
        },
    )
    for number in range(1, 9)
]

# %%
# The page begins with the best model of each region, its uncertainty, and the models that cannot
# be told apart from it.

result = crsa.compare(subjects, models, multiverse=False)
result.save(tempfile.mkdtemp())
