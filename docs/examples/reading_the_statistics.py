"""
Reading the statistics
======================

This study has a strong model, a weaker relative of it, and a model that has nothing to do with
the brain. The tables answer five questions about them, in the order in which you should ask.
"""

import matplotlib.pyplot as plt
import numpy as np

import conceptrsa as crsa

rng = np.random.default_rng(6)
stimuli = [f"picture{number:02d}" for number in range(50)]
content = rng.normal(size=(50, 12))
relative = np.hstack([content[:, :6], rng.normal(size=(50, 6))])  # shares half of the content
unrelated = rng.normal(size=(50, 12))


def betas(strength):
    """Simulate six runs of 60 voxels."""
    signal = content @ rng.normal(size=(12, 60))
    return strength * signal + 6 * rng.normal(size=(6, 50, 60))


subjects = [
    crsa.SubjectPatterns.from_arrays(label, stimuli, {"IT": betas(1.0), "noise": betas(0.0)})
    for label in ["01", "02", "03", "04", "05", "06"]
]
models = [
    crsa.Features("content", "related", stimuli, content),
    crsa.Features("relative", "related", stimuli, relative),
    crsa.Features("unrelated", "unrelated", stimuli, unrelated),
]
result = crsa.compare(subjects, models, multiverse=False)

# %%
# 1. Do subjects agree at all?
# ----------------------------
#
# The noise ceiling is how well the RDMs of different subjects agree. In the region of pure noise
# its interval includes zero: no model can be judged there.

result.ceilings.round(3)

# %%
# 2. Is a model related to the region?
# ------------------------------------
#
# ``p_max`` comes from permutations of the stimuli's labels, corrected for all models and regions.
#
# 3. How well does it do, and how sure is that?
# ---------------------------------------------
#
# ``low`` and ``high`` are a 95 % interval for the mean over all people *and* pictures that yours
# stand for. An interval over subjects alone would be too narrow.

result.scores[["roi", "model", "rsa", "low", "high", "p_max"]].round(3)

# %%
# The dashed line is the noise ceiling, small points are subjects. Open symbols are models that can
# be ruled out as the best of the region (``may_be_best`` in the table of scores).

figure, axes = plt.subplots(2, 1, figsize=(9, 7), layout="constrained")
result.plot.scores("IT", ax=axes[0])
result.plot.scores("noise", ax=axes[1])

# %%
# 4. Is one model better than another?
# ------------------------------------
#
# Two intervals that overlap do not answer this: both models saw the same brains and stimuli. The
# difference has an interval and a p-value of its own.

tests = result.model_tests
tests = tests[tests["test"].str.startswith("random effects") & (tests["reference"] != "zero")]
tests[["roi", "model", "reference", "statistic", "low", "high", "p"]].round(3)

# %%
# 5. What share of the explainable is explained?
# ----------------------------------------------
#
# ``normalised`` is the score divided by the noise ceiling. Where the ceiling may be zero, the
# share is withheld, and the reason is given.

result.scores[
    ["roi", "model", "normalised", "normalised_low", "normalised_high", "withheld"]
].round(2)
