"""The same small betas written in every form that `conceptrsa compare --betas` reads."""

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from scipy.io import savemat
from scipy.spatial.distance import pdist, squareform

from conceptrsa.bids_config.schema import RoiDefinition

SHAPE = (6, 7, 5)
AFFINE = np.diag([-2.0, 2.0, 2.0, 1.0])
ROIS = (RoiDefinition("visual", (1011, 2011)), RoiDefinition("hippocampus", (17,)))
STIMULI = (
    "n01443537_22563", "n01621127_19020", "n01677366_18182", "n01846331_17038", "n01858441_11077",
    "n01943899_24131", "n01976957_13223", "n02071294_46212",
)  # fmt: skip
SUBJECTS = ("01", "02", "03")
N_RUNS = 4
CONFIG = """
name = "small"
[runs]
task = "perception"
[events]
condition_column = "stimulus_name"
[events.one_back]
rule = "none"
[rois]
visual = [1011, 2011]
hippocampus = [17]
[stimuli]
"""
SHUFFLED = (5, 2, 0, 7, 3, 1, 6, 4)
"""Order in which files hold the stimuli, so that a reader has to go by their names."""


def labels() -> np.ndarray:
    """Label volume of both regions."""
    volume = np.zeros(SHAPE, np.int16)
    volume[0], volume[1], volume[2, :4] = 1011, 2011, 17
    return volume


def inside(roi: RoiDefinition) -> np.ndarray:
    """Mask of a region."""
    return np.isin(labels(), roi.labels)


def runs_of(subject: str) -> np.ndarray:
    """Betas of each run, (runs, stimuli, *SHAPE) float32, partly shared by all subjects."""
    shared = np.random.default_rng(0).standard_normal((len(STIMULI), *SHAPE))
    noise = np.random.default_rng(int(subject)).standard_normal((N_RUNS, len(STIMULI), *SHAPE))
    return (shared + noise).astype(np.float32)


def patterns_of(subject: str, roi: RoiDefinition) -> np.ndarray:
    """Betas of each run in a region, (runs, stimuli, voxels) float64."""
    return runs_of(subject)[:, :, inside(roi)].astype(np.float64)


def save(data: np.ndarray, file: Path, affine: np.ndarray = AFFINE) -> None:
    """Write a volume in the format of the file's name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = nib.MGHImage if file.suffix == ".mgz" else nib.Nifti1Image
    nib.save(kind(data, affine), file)


def write_atlas(file: Path) -> None:
    """Write the label volume."""
    save(labels(), file)


def write_derivatives(root: Path, halves: bool = True) -> None:
    """4D volumes with tables, as the participant level leaves them."""
    for subject in SUBJECTS:
        name = f"sub-{subject}"
        runs = runs_of(subject)[:, SHUFFLED]
        stem = f"{name}_task-perception_space-MNI305_res-2"
        parts = {"": runs, "_desc-odd": runs[0::2], "_desc-even": runs[1::2]}
        for description, of_runs in parts.items():
            if description and not halves:
                continue
            file = root / name / "func" / f"{stem}_stat-effect{description}_statmap"
            mean = of_runs.astype(np.float64).mean(axis=0)
            save(np.moveaxis(mean, 0, -1), Path(f"{file}.nii.gz"))
            rows = [f"{volume}\t{STIMULI[row]}\n" for volume, row in enumerate(SHUFFLED)]
            Path(f"{file}.tsv").write_text("volume\tstimulus\n" + "".join(rows))
        anat = root / name / "anat"
        save(labels(), anat / f"{name}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz")


def write_run_betas(root: Path) -> None:
    """What `--run-betas` adds to derivatives."""
    for subject in SUBJECTS:
        name = f"sub-{subject}"
        file = root / name / "func" / f"{name}_task-perception_space-MNI305_res-2_desc-runs"
        with h5py.File(f"{file}_roibetas.h5", "w") as content:
            text = h5py.string_dtype("utf-8", 20)
            content["stimulus"] = np.array([s.encode() for s in STIMULI], dtype=text)
            content["run"] = np.array([b"1", b"2", b"3", b"4"], dtype=text)
            content["half"] = np.array([b"odd", b"even", b"odd", b"even"], dtype=text)
            for roi in ROIS:
                betas = patterns_of(subject, roi)
                content[f"{roi.name}/betas"] = betas
                content[f"{roi.name}/voxels"] = np.flatnonzero(inside(roi))
                content[f"{roi.name}/residual_covariance"] = covariance_of(subject, roi)


def covariance_of(subject: str, roi: RoiDefinition) -> np.ndarray:
    """A covariance that can be told from others, (voxels, voxels) float32."""
    n_voxels = int(inside(roi).sum())
    half = np.random.default_rng(int(subject)).standard_normal((n_voxels, 2 * n_voxels))
    return (half @ half.T / n_voxels).astype(np.float32)


def write_paper_layout(root: Path, suffix: str = ".nii") -> None:
    """One volume a stimulus, the mean over runs."""
    for subject in SUBJECTS:
        mean = runs_of(subject).astype(np.float64).mean(axis=0)
        for number, row in enumerate(SHUFFLED, start=3):
            file = root / f"sub-{subject}" / f"{STIMULI[row]}_..beta_{number:04d}{suffix}"
            save(mean[row].astype(np.float32), file)


def spm_names(n_sessions: int = N_RUNS) -> Iterator[tuple[int, str, str]]:
    """Session (from 0), condition and regressor of SPM's design, in its order."""
    conditions = ["fixation", "one-back", *(STIMULI[row] for row in SHUFFLED)]
    for session in range(n_sessions):
        for condition in conditions:
            yield session, condition, f"Sn({session + 1}) {condition}*bf(1)"
            yield session, "", f"Sn({session + 1}) {condition}*bf(2)"
        yield session, "", f"Sn({session + 1}) {STIMULI[0]}xreaction time^1*bf(1)"
        yield session, "", f"Sn({session + 1}) R1"
    for session in range(n_sessions):
        yield session, "", f"Sn({session + 1}) constant"


def write_spm_model(folder: Path, subject: str, sessions: range = range(N_RUNS)) -> None:
    """`SPM.mat` and `beta_*.nii` of some of the runs as sessions."""
    folder.mkdir(parents=True, exist_ok=True)
    regressors = list(spm_names(len(sessions)))
    names = np.array([name for _, _, name in regressors], dtype=object)[None]
    design = {"xX": {"name": names}, "xBF": {"name": "hrf (with time derivative)"}}
    savemat(folder / "SPM.mat", {"SPM": design})
    others = np.random.default_rng(9).standard_normal((len(regressors), *SHAPE), dtype=np.float32)
    runs = runs_of(subject)[sessions.start : sessions.stop]
    for number, (session, condition, _) in enumerate(regressors, start=1):
        known = condition in STIMULI
        beta = runs[session, STIMULI.index(condition)] if known else others[number - 1]
        save(beta, folder / f"beta_{number:04d}.nii")


def write_spm(root: Path) -> None:
    """A model a subject, a session a run."""
    for subject in SUBJECTS:
        write_spm_model(root / f"sub-{subject}" / "glm", subject)


def contrast(stimulus: str) -> str:
    """The name that nilearn and fitlins give a contrast: no underscore."""
    return stimulus.replace("_", "")


def write_statmaps(root: Path) -> None:
    """A map a run and contrast; two runs in each of two sessions."""
    for subject in SUBJECTS:
        for run, betas in enumerate(runs_of(subject)):
            session = f"ses-{run // 2 + 1}"
            folder = root / f"sub-{subject}" / session
            stem = f"sub-{subject}_{session}_task-x_run-{run % 2 + 1}_space-T1w_contrast-"
            for stimulus, beta in zip(STIMULI, betas, strict=True):
                name = f"{stem}{contrast(stimulus)}_stat-effect_statmap.nii.gz"
                save(beta, folder / name)
            save(betas[0], folder / f"{stem}{contrast(STIMULI[0])}_stat-t_statmap.nii.gz")
            save(-betas[0], folder / f"{stem}fixation_stat-effect_statmap.nii.gz")
            save(2 * betas[0], folder / f"{stem}facesGtHouses_stat-effect_statmap.nii.gz")


def write_effect_maps(root: Path) -> None:
    """A plain map a stimulus and run, as `compute_contrast` of nilearn gives."""
    for subject in SUBJECTS:
        for run, betas in enumerate(runs_of(subject), start=1):
            folder = root / f"sub-{subject}" / f"run-{run}"
            for stimulus, beta in zip(STIMULI, betas, strict=True):
                save(beta, folder / f"{stimulus}_effect_size.nii.gz")
            save(betas[0], folder / "mask.nii.gz")


def write_roi_tables(folder: Path, name: str = "sub-{}.csv", sign: str = ",") -> None:
    """A row a presentation of a stimulus, a column a voxel of both regions."""
    folder.mkdir(parents=True, exist_ok=True)
    for subject in SUBJECTS:
        columns = [f"{roi.name}_{n}" for roi in ROIS for n in range(int(inside(roi).sum()))]
        lines = [sign.join(["stimulus", *columns])]
        betas = [patterns_of(subject, roi) for roi in ROIS]
        for run in range(N_RUNS):
            for row in SHUFFLED:
                cells = np.concatenate([of_roi[run, row] for of_roi in betas]).tolist()
                lines.append(sign.join([f"{STIMULI[row]}.JPEG", *map(repr, cells)]))
        (folder / name.format(subject)).write_text("\n".join(lines) + "\n")


def write_table(table: Path) -> None:
    """A 4D file a run, and a table of all volumes."""
    lines = ["subject\tstimulus\tfile\trun\tvolume"]
    for subject in SUBJECTS:
        for run, betas in enumerate(runs_of(subject)):
            name = f"maps/{subject}_{run}.nii.gz"
            save(np.moveaxis(betas[list(SHUFFLED)], 0, -1), table.parent / name)
            for volume, row in enumerate(SHUFFLED):
                # Runs 9, 10, 11, 12: text would sort them 10, 11, 12, 9.
                lines.append(f"{subject}\t{STIMULI[row]}\t{name}\t{run + 9}\t{volume}")
    table.write_text("\n".join(lines) + "\n")


def write_roi_patterns(folder: Path, kind: str = "npz") -> None:
    """Betas of runs in regions, with the covariance of residuals."""
    folder.mkdir(parents=True, exist_ok=True)
    for subject in SUBJECTS:
        arrays: dict[str, np.ndarray] = {"stimulus": np.array([STIMULI[row] for row in SHUFFLED])}
        for roi in ROIS:
            arrays[f"{roi.name}/betas"] = patterns_of(subject, roi)[:, list(SHUFFLED)]
            arrays[f"{roi.name}/residual_covariance"] = covariance_of(subject, roi)
            arrays[f"{roi.name}/voxels"] = np.flatnonzero(inside(roi))
        write_arrays(folder / f"sub-{subject}_patterns.{kind}", arrays)


def write_arrays(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as `.npz` or `.h5`."""
    if file.suffix == ".npz":
        np.savez(file, **arrays)
        return
    with h5py.File(file, "w") as content:
        for name, values in arrays.items():
            content[name] = values.astype(object) if values.dtype.kind == "U" else values


def rdm_of(subject: str, roi: RoiDefinition, runs: slice = slice(None)) -> np.ndarray:
    """RDM of the mean over runs, (pairs,)."""
    return pdist(patterns_of(subject, roi)[runs].mean(axis=0), "correlation")


def write_rdms(folder: Path, *, square: bool = True, halves: bool = False) -> None:
    """RDMs as arrays, stimuli in another order than the sorted one."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"rdm": slice(None)}
    if halves:
        parts |= {"rdm_odd": slice(0, None, 2), "rdm_even": slice(1, None, 2)}
    for subject in SUBJECTS:
        arrays: dict[str, np.ndarray] = {"stimulus": np.array([STIMULI[row] for row in SHUFFLED])}
        for roi in ROIS:
            for part, runs in parts.items():
                shuffled = squareform(rdm_of(subject, roi, runs))[np.ix_(SHUFFLED, SHUFFLED)]
                arrays[f"{roi.name}/{part}"] = shuffled if square else squareform(shuffled)
        np.savez(folder / f"sub-{subject}.npz", **arrays)


def write_rdm_tables(folder: Path) -> None:
    """RDMs as square tables, rows and columns in different orders."""
    folder.mkdir(parents=True, exist_ok=True)
    for subject in SUBJECTS:
        for roi in ROIS:
            write_square(folder / f"sub-{subject}_{roi.name}.tsv", squareform(rdm_of(subject, roi)))


def write_square(file: Path, square: np.ndarray) -> None:
    """Write an RDM of all stimuli as a table."""
    lines = ["\t".join(["stimulus", *STIMULI])]
    lines += ["\t".join([STIMULI[row], *map(repr, square[row].tolist())]) for row in SHUFFLED]
    file.write_text("\n".join(lines) + "\n")


def write_models(folder: Path) -> None:
    """Features, model RDMs as arrays and as a table, and a categorical model."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    features = rng.standard_normal((len(STIMULI), 20))
    np.savez(folder / "ResNet50.npz", stimulus=STIMULI, features=features)
    np.savez(folder / "CLIP.npz", stimulus=STIMULI, rdm=rng.random(len(pdist(features))))
    write_square(folder / "BERT.tsv", squareform(rng.random(len(pdist(features)))))
    kinds = ["alive", "alive", "alive", "thing", "thing", "alive", "thing", "alive"]
    rows = [f"{stimulus}\t{kind}\n" for stimulus, kind in zip(STIMULI, kinds, strict=True)]
    (folder / "categories.tsv").write_text("stimulus\tanimacy\n" + "".join(rows))
    (folder / "models.tsv").write_text(
        "model\tgroup\nResNet50\tvisual\nCLIP\tmultimodal\nBERT\tlanguage\nanimacy\tcategorical\n"
    )


def write_per_subject_atlases(folder: Path) -> None:
    """The label volume once a subject."""
    for subject in SUBJECTS:
        write_atlas(folder / f"sub-{subject}_dseg.nii.gz")


WITH_RUNS: dict[str, Callable[[Path], None]] = {
    "spm": write_spm,
    "statmaps": write_statmaps,
    "table": write_table,
    "roi-patterns": write_roi_patterns,
}
"""Writers of the forms that hold betas of single runs."""
