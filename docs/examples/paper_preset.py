"""
The preset of a paper
=====================

conceptrsa began with one study (Choksi, Mozafari, VanRullen and Reddy), which compared groups of
image, text and image-text networks with four regions. ``"paper"`` repeats its analysis to the
letter. Use the default for new studies.
"""

import numpy as np

import conceptrsa as crsa

rng = np.random.default_rng(8)
stimuli = [f"picture{number:02d}" for number in range(30)]
shared = rng.normal(size=(30, 12))


def network():
    """Simulate features that share something with all others."""
    return np.hstack([0.6 * shared, rng.normal(size=(30, 12))])


# %%
# Models are compared in groups.

models = [
    crsa.Features(name, group, stimuli, network())
    for group, names in {
        "multimodal": ["CLIP", "VirTex", "TSM"],
        "visual": ["ResNet50", "BiT-M", "SIN"],
        "language": ["BERT", "GPT-2", "CLIP-L"],
    }.items()
    for name in names
]
subjects = [
    crsa.SubjectPatterns.from_arrays(
        label,
        stimuli,
        {
            roi: models[row].values @ rng.normal(size=(24, 90)) + 9 * rng.normal(size=(30, 90))
            for roi, row in {"visual": 3, "hippocampus": 0}.items()
        },
    )
    for label in ["01", "02", "03", "04", "05"]
]

# %%
# It takes the 30 voxels with the highest betas, and scores them on the same data.

result = crsa.compare(subjects, models, "paper")
result.plot.figure("shares_of_ceiling")

# %%
# The notes say which of these choices should not be trusted.

print("\n\n".join(result.notes))

# %%
# The same data by the default: all voxels, because there are no separate runs to choose them on,
# and intervals for new subjects and new stimuli.

recommended = crsa.compare(subjects, models, multiverse=False)
recommended.plot.figure("scores")
