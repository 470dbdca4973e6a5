"""
A single subject
================

One subject is enough for a comparison. Intervals and tests then speak of new stimuli shown to
this subject, and say nothing about other people.
"""

import numpy as np

import conceptrsa as crsa

rng = np.random.default_rng(4)
stimuli = [f"picture{number:02d}" for number in range(60)]
clip, resnet = rng.normal(size=(2, 60, 20))
signal = clip @ rng.normal(size=(20, 100))
runs = signal + 8 * rng.normal(size=(6, 60, 100))  # (runs, stimuli, voxels)

subject = crsa.SubjectPatterns.from_arrays("01", stimuli, {"IT": runs})
models = [
    crsa.Features("CLIP", "image and text", stimuli, clip),
    crsa.Features("ResNet50", "image", stimuli, resnet),
]
result = crsa.compare(subject, models)
result.scores[["roi", "model", "rsa", "low", "high", "p_max"]].round(3)

# %%
# There are no other subjects to agree with. The noise ceiling is how well odd and even runs of
# this subject agree.

result.ceilings.round(3)

# %%

result.plot.scores("IT")

# %%
# The notes say what the numbers generalise to.

print("\n\n".join(result.notes))
