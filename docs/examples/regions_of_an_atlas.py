"""
Regions of another atlas
========================

Betas may be volumes, with regions from any atlas in the same space. Here they are simulated in
MNI152 space, and the atlas is Desikan-Killiany, which comes with conceptrsa. ``conceptrsa
atlases`` lists the others.
"""

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nilearn.datasets import load_mni152_brain_mask

import conceptrsa as crsa

rng = np.random.default_rng(7)
stimuli = [f"picture{number:02d}" for number in range(20)]
features = rng.normal(size=(20, 10))
folder = Path(tempfile.mkdtemp())

# %%
# One image for each subject and run, with a volume for each picture, and a table that says which
# is which. The posterior half of these brains carries the features.

brain = load_mni152_brain_mask(resolution=6)
inside = np.asarray(brain.dataobj) > 0
y = nib.affines.apply_affine(brain.affine, np.argwhere(inside))[:, 1]
rows = []
for subject in ["01", "02", "03", "04", "05", "06"]:
    signal = features @ rng.normal(size=(10, len(y))) * (y < -30)
    for run in (1, 2):
        volumes = np.zeros((*brain.shape, len(stimuli)), np.float32)
        volumes[inside] = (signal + 4 * rng.normal(size=signal.shape)).T
        file = folder / f"sub-{subject}_run-{run}_space-MNI152NLin6Asym_betas.nii.gz"
        nib.save(nib.Nifti1Image(volumes, brain.affine), file)
        rows += [
            {"subject": subject, "stimulus": name, "file": file.name, "run": run, "volume": volume}
            for volume, name in enumerate(stimuli)
        ]
pd.DataFrame(rows).to_csv(folder / "betas.tsv", sep="\t", index=False)

# %%
# Regions are names of the atlas' labels, or patterns of them. Several labels can make one region.

subjects = crsa.read_betas(
    folder / "betas.tsv",
    {
        "occipital": "ctx-?h-lateraloccipital,ctx-?h-cuneus,ctx-?h-lingual",
        "fusiform": "ctx-?h-fusiform",
        "frontal": "ctx-?h-superiorfrontal",
    },
    atlas="desikan-killiany",
)
subjects[0]

# %%

model = crsa.Features("network", "image", stimuli, features)
result = crsa.compare(subjects, [model], multiverse=False)
result.scores[["roi", "rsa", "low", "high", "p_max"]].round(3)

# %%

result.plot.figure("scores")
