"""
Layers of a network
===================

Which depth of a network resembles a region? Each layer becomes a model of its own. This example
runs a real network, EfficientNet-Lite0, on the pictures that come with the demo; both are
installed with the extra ``networks``.
"""

from pathlib import Path

import numpy as np

import conceptrsa as crsa
from conceptrsa.pipelines import demo

stimuli = Path(demo.__file__).parent / "stimuli"

# %%
# ``blocks`` takes every stage and block from one pass through the network. Features are kept in a
# cache, so that the second time takes no time.

models = crsa.extract_features(stimuli, ["EfficientNet-Lite0"], layers=("blocks",))
print(*[model.model for model in models], sep="\n")

# %%
# Simulated subjects carry an early layer in one region, and the last layer in another.

rng = np.random.default_rng(3)
names = models[0].stimuli
early, late = models[2].values, models[-1].values


def betas(features):
    """Simulate four runs of 80 voxels."""
    features = (features - features.mean(0)) / features.std()
    signal = features @ rng.normal(size=(features.shape[1], 80))
    return signal / signal.std() + 2 * rng.normal(size=(4, len(names), 80))


subjects = [
    crsa.SubjectPatterns.from_arrays(label, names, {"early": betas(early), "late": betas(late)})
    for label in ["01", "02", "03", "04", "05", "06"]
]
result = crsa.compare(subjects, models, multiverse=False, n_permutations=1000)

# %%
# The profile over depth, with 95 % intervals. The marked layer scores highest in the region. It
# was chosen on the data that it is scored on, so its score is optimistic: compare intervals.

result.plot.figure("depth_profile")
