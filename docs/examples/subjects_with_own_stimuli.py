"""
Subjects who saw different stimuli
==================================

In some studies each subject sees pictures of its own, as in the Natural Scenes Dataset. Each
subject can be scored on all that it saw.
"""

import numpy as np

import conceptrsa as crsa

rng = np.random.default_rng(5)
stimuli = [f"picture{number:03d}" for number in range(140)]
clip, resnet = rng.normal(size=(2, 140, 20))

# %%
# Five subjects saw 20 pictures in common, and 24 each of their own.

subjects = []
for number in range(5):
    seen = [*range(20), *range(20 + 24 * number, 44 + 24 * number)]
    signal = clip[seen] @ rng.normal(size=(20, 60))
    betas = signal + 5 * rng.normal(size=(4, len(seen), 60))
    names = [stimuli[row] for row in seen]
    subjects.append(crsa.SubjectPatterns.from_arrays(f"{number + 1:02d}", names, {"IT": betas}))

models = [
    crsa.Features("CLIP", "image and text", stimuli, clip),
    crsa.Features("ResNet50", "image", stimuli, resnet),
]

# %%
# On the shared pictures alone, the interval is wide.

shared = crsa.compare(subjects, models, subject_stimuli="shared", multiverse=False)
shared.scores[["model", "rsa", "low", "high"]].round(3)

# %%
# On all pictures it is narrower, because each subject adds new ones.

own = crsa.compare(subjects, models, subject_stimuli="own", multiverse=False)
own.scores[["model", "rsa", "low", "high"]].round(3)

# %%

own.plot.scores("IT")
