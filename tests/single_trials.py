"""Single-trial betas with a planted answer, in the layouts that their authors describe.

GLMsingle: `glmsingle/glmsingle.py` and `utils/h5_utils.py` of cvnlab/GLMsingle, and the header of
`GLMestimatesingletrial.m`. NSD: the data manual, "Functional data (NSD)" and "Experiments".
THINGS-fMRI: `fMRI.md` of ViCCo-Group/THINGS-data_usage_notes.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pandas as pd
from scipy.io import savemat

SHAPE = (4, 5, 3)
AFFINE = np.diag([1.8, 1.8, 1.8, 1.0])
N_FEATURES = 5
SUBJECTS = ("01", "02")
LABELS = {"early": 1, "late": 2}


def labels() -> np.ndarray:
    """Two regions; -1 outside of cortex, as in NSD."""
    volume = np.zeros(SHAPE, np.int16)
    volume[0], volume[1:3, :4], volume[3] = 1, 2, -1
    return volume


def write_atlas(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels(), AFFINE), file)
    file.with_name(file.name.replace(".nii.gz", ".tsv")).write_text(
        "index\tname\n" + "".join(f"{label}\t{name}\n" for name, label in LABELS.items())
    )


def features(n_stimuli: int, which: str) -> np.ndarray:
    """Of the stimuli: those that region `early` follows, `late` follows, or nothing does."""
    seed = {"early": 1, "late": 2, "none": 3}[which]
    return np.random.default_rng(seed).standard_normal((n_stimuli, N_FEATURES))


def write_features(folder: Path, names: list[str], of_names: list[str] | None = None) -> None:
    """A model for each region and one for none."""
    folder.mkdir(parents=True, exist_ok=True)
    for which in ("early", "late", "none"):
        array = features(len(names), which)
        np.savez(folder / f"{which}.npz", stimulus=np.array(of_names or names), features=array)
    rows = "".join(f"{which}\tvisual\n" for which in ("early", "late", "none"))
    (folder / "models.tsv").write_text("model\tgroup\n" + rows)


def patterns(subject: str, n_stimuli: int) -> np.ndarray:
    """True responses to each stimulus, (stimuli, *SHAPE)."""
    volumes = np.zeros((n_stimuli, *SHAPE))
    rng = np.random.default_rng(10 + int(subject))
    for region, label in LABELS.items():
        inside = labels() == label
        weights = rng.standard_normal((N_FEATURES, inside.sum()))
        volumes[:, inside] = features(n_stimuli, region) @ weights
    return volumes


def trials(subject: str, order: np.ndarray, n_stimuli: int) -> np.ndarray:
    """Noisy responses (trials, *SHAPE) to stimuli in their order, -1 another stimulus."""
    rng = np.random.default_rng(20 + int(subject))
    noise = rng.standard_normal((len(order), *SHAPE))
    truth = np.concatenate([patterns(subject, n_stimuli), rng.standard_normal((1, *SHAPE))])
    return truth[order] + 0.5 * noise


@dataclass(frozen=True)
class Design:
    """Order of presentation of a small experiment, the same for all subjects."""

    names: tuple[str, ...]
    order: np.ndarray

    def expected(self, subject: str, repeats: slice = slice(None)) -> np.ndarray:
        """Mean of some presentations of each stimulus, (stimuli, *SHAPE), names sorted."""
        betas = trials(subject, self.order, len(self.names)).astype(np.float32).astype(np.float64)
        rows = np.argsort(self.names)
        return np.stack([betas[np.flatnonzero(self.order == row)[repeats]].mean(0) for row in rows])


def small_design(n_stimuli: int = 10, n_repeats: int = 4) -> Design:
    rng = np.random.default_rng(5)
    order = np.concatenate([rng.permutation(n_stimuli) for _ in range(n_repeats)])
    names = tuple(f"thing{number:02d}_{word}" for number, word in enumerate("zyxwvutsrqponm"))
    return Design(names[:n_stimuli], order)


def write_glmsingle(
    root: Path,
    kind: str,
    design: Design,
    folder: str = "sub-{}",
    part: slice = slice(None),
    mask: np.ndarray | None = None,
) -> None:
    """`TYPED_...` with its design; kinds are hdf5, npy, mat (7.3) and mat5.

    With a mask, data are of its voxels: units x 1 x 1 x trials, and it lies beside them.
    """
    for subject in SUBJECTS:
        out = root / folder.format(subject)
        out.mkdir(parents=True, exist_ok=True)
        betas = np.moveaxis(trials(subject, design.order, len(design.names)), 0, -1)[..., part]
        betas = betas.astype(np.float32)
        order = design.order[part]
        if mask is not None:
            nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), out / "brain_mask.nii.gz")
            betas = betas.T[:, mask.T].T if kind.startswith("mat") else betas[mask]
            betas = betas[:, None, None]
        stem = "TYPED_FITHRF_GLMDENOISE_RR"
        if kind.startswith("mat"):
            # Of MATLAB, conditions count from 1 and files of 7.3 hold axes reversed.
            content = {"stimorder": order[None] + 1.0, "numtrialrun": np.array([[len(order)]])}
            if kind == "mat5":
                savemat(out / f"{stem}.mat", {"modelmd": betas, "R2": betas[..., 0]})
                savemat(out / "DESIGNINFO.mat", content)
                continue
            with h5py.File(out / f"{stem}.mat", "w", userblock_size=512) as file:
                file.create_dataset("modelmd", data=betas.T, chunks=(1, *betas.shape[2::-1]))
            with h5py.File(out / "DESIGNINFO.mat", "w", userblock_size=512) as file:
                file["stimorder"] = content["stimorder"].T
            continue
        found = {"betasmd": betas, "R2": betas[..., 0], "pcnum": 3, "pcregressors": [betas[0, 0]]}
        if kind == "npy":
            np.save(out / f"{stem}.npy", found)
        else:
            with h5py.File(out / f"{stem}.hdf5", "w") as file:
                file.create_dataset("betasmd", data=betas)
                file.create_dataset("glmbadness", data=h5py.Empty("f"))
                file.attrs["pcnum"] = 3
        info = {
            "stimorder": list(order), "tr": 1.5, "params": {"wantlibrary": 1, "hrf": np.zeros(3)},
            "design": [np.zeros((5, 3))], "numtrialrun": [len(order)],
        }  # fmt: skip
        np.save(out / "DESIGNINFO.npy", info, allow_pickle=True)


def write_trial_table(file: Path, design: Design) -> None:
    rows = [f"{design.names[row]}.png" for row in design.order]
    file.write_text("\n".join(["trial,stimulus", *(f"{n},{name}" for n, name in enumerate(rows))]))


def write_condition_table(file: Path, design: Design) -> None:
    rows = [f"{number}\t{name}" for number, name in enumerate(design.names, start=1)]
    file.write_text("\n".join(["condition\tstimulus", *rows]))


N_SHARED = 12
SESSIONS = (1, 2)


def nsd_ids() -> np.ndarray:
    """73k ids, from 1, of the 10,000 images of each of 8 subjects; 1,000 are shared."""
    rng = np.random.default_rng(0)
    shared = np.sort(rng.choice(73_000, 1000, replace=False)) + 1
    rest = np.setdiff1d(np.arange(1, 73_001), shared)[: 8 * 9000].reshape(8, 9000)
    return np.concatenate([np.tile(shared, (8, 1)), rest], axis=1)


def nsd_order() -> np.ndarray:
    """Image, from 1 to 10,000, of each of 30,000 trials, of which the last are not measured."""
    rng = np.random.default_rng(1)
    seen = np.concatenate([np.tile(np.arange(1, N_SHARED + 1), 3), [14, 14, 13]])
    others = np.arange(1001, 1001 + 1500 - len(seen))
    order = rng.permutation(np.concatenate([seen, others]))
    return np.concatenate([order, rng.integers(5000, 10_001, 30_000 - 1500)])


def nsd_responses(subject: str) -> np.ndarray:
    """Percent signal change (1500, *SHAPE) times 300, as whole numbers; sessions differ."""
    index = nsd_order()[:1500] - 1
    order = np.where(index < N_SHARED, index, -1)
    found = 2 * trials(subject, order, N_SHARED)
    found[750:] = 3 * found[750:] + 5
    found[:, labels() == 0] = 0
    return np.round(found * 300).astype(np.int16)


def write_nsd(root: Path, kind: str = "hdf5") -> None:
    """`nsddata_betas` of two subjects and two sessions, `nsddata` with design and regions."""
    order, ids = nsd_order(), nsd_ids()
    design = {
        "masterordering": order[None].astype(np.float64),
        "basiccnt": np.zeros((3, 40)),
        "sharedix": ids[:1, :1000].astype(np.float64),
        "subjectim": ids.astype(np.float64),
        "stimpattern": np.zeros((40, 12, 75), np.uint8),
    }
    folder = root / "nsddata" / "experiments" / "nsd"
    folder.mkdir(parents=True)
    savemat(folder / "nsd_expdesign.mat", design)
    for subject in SUBJECTS:
        prepared = f"ppdata/subj{subject}/func1pt8mm"
        write_atlas(root / "nsddata" / prepared / "roi" / "streams.nii.gz")
        table = root / f"nsddata/freesurfer/subj{subject}/label/streams.mgz.ctab"
        table.parent.mkdir(parents=True)
        table.write_text("0 Unknown\n1 early\n2 late\n")
        betas = root / "nsddata_betas" / prepared / "betas_fithrf_GLMdenoise_RR"
        betas.mkdir(parents=True)
        responses = nsd_responses(subject)
        for session in SESSIONS:
            of_session = responses[750 * (session - 1) : 750 * session]
            file = betas / f"betas_session{session:02d}.{kind}"
            if kind == "hdf5":
                with h5py.File(file, "w") as content:
                    stored = of_session.transpose(0, 3, 2, 1)
                    content.create_dataset("betas", data=stored, chunks=(750, 1, 1, 1))
            else:
                nib.save(nib.Nifti1Image(np.moveaxis(of_session, 0, -1), AFFINE), file)


THINGS_REPEATS = 4
THINGS_TEST = tuple(f"{word}_14s.jpg" for word in ("candelabra", "dog", "mango", "panda", "axe"))
THINGS_TRAIN = tuple(f"object{number}_01b.jpg" for number in range(20))


def things_stimuli() -> pd.DataFrame:
    """As `StimulusMetadata.csv`: test pictures in each session, training pictures once."""
    rows = []
    for session in range(1, THINGS_REPEATS + 1):
        rng = np.random.default_rng(session)
        train = THINGS_TRAIN[session - 1 :: THINGS_REPEATS]
        here = [("test", name) for name in THINGS_TEST] + [("train", name) for name in train]
        for place in rng.permutation(len(here)):
            kind, name = here[place]
            rows.append((kind, session, 1, 1, len(rows), name))
    columns = ["trial_type", "session", "run", "subject_id", "trial_id", "stimulus"]
    return pd.DataFrame(rows, columns=columns)


def things_responses(subject: str) -> np.ndarray:
    """Responses (voxels, trials), as the file holds them."""
    stimuli = things_stimuli()
    order = np.array(
        [THINGS_TEST.index(name) if name in THINGS_TEST else -1 for name in stimuli["stimulus"]]
    )
    found = trials(subject, order, len(THINGS_TEST)).reshape(len(order), -1).T
    return found * stimuli["session"].to_numpy() + stimuli["session"].to_numpy()


def write_things(folder: Path) -> None:
    """The three files of each subject; responses as pandas keeps a DataFrame in `fixed` format."""
    folder.mkdir(parents=True, exist_ok=True)
    for subject in SUBJECTS:
        responses = things_responses(subject)
        n_voxels, n_trials = responses.shape
        stem = folder / f"sub-{subject}"
        with h5py.File(f"{stem}_ResponseData.h5", "w") as file:
            group = file.create_group("ResponseData")
            group.attrs["pandas_type"] = np.bytes_("frame")
            group["axis0"] = np.array(["voxel_id", *map(str, range(n_trials))], dtype="S8")
            group["axis1"] = np.arange(n_voxels)
            group["block0_items"] = np.array([*map(str, range(n_trials))], dtype="S8")
            group["block0_values"] = responses
            group["block1_items"] = np.array(["voxel_id"], dtype="S8")
            group["block1_values"] = np.arange(n_voxels)[:, None]
        things_stimuli().to_csv(f"{stem}_StimulusMetadata.csv", index=False)
        flat = labels().ravel()
        half = np.arange(n_voxels) % 2
        places = np.array(np.unravel_index(np.arange(n_voxels), SHAPE))
        voxels = pd.DataFrame({
            "voxel_id": np.arange(n_voxels), "subject_id": int(subject), "voxel_x": places[0],
            "voxel_y": places[1], "voxel_z": places[2], "nc_testset": 0.5 * places[0],
            "V1": (flat == 1).astype(int), "LO2 (prf)": (flat == 2).astype(int),
            "lFFA": ((flat == 2) & (half == 0)).astype(int),
            "rFFA": ((flat == 2) & (half == 1)).astype(int),
            "rSTS": ((flat == 2) & (subject == "01")).astype(int),
        })  # fmt: skip
        voxels.to_csv(f"{stem}_VoxelMetadata.csv", index=False)
