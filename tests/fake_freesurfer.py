"""Stand-ins for FreeSurfer's programs, and a made-up reconstruction for them to work on.

They prove nothing about FreeSurfer itself. They note how they were called, and write what
FreeSurfer's source says that its programs write, by arithmetic of their own where there is any.
`$FAKE_<PROGRAM>` makes one go wrong: fail, die, silent, hang, wrong.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAMS = ("recon-all", "tkregister2_cmdl", "tkregister2", "mri_vol2vol", "bbregister")
SHAPE = (76, 76, 93)
AFFINE = np.array([[-2.0, 0, 0, 74], [0, 0, 2, -109], [0, -2, 0, 85], [0, 0, 0, 1]])
NOTED = ("SUBJECTS_DIR", "FREESURFER_HOME", "FS_LICENSE", "OMP_NUM_THREADS", "PWD")

_WRAPPER = """#!/bin/sh
export FAKE_DOES="${{FAKE_{variable}:-}}"
case "$FAKE_DOES" in
  fail) echo "ERROR: the {program} of the test fails" >&2; exit 1;;
  die) kill -KILL $$;;
  silent) echo "ERROR: nothing was written"; exit 0;;
  hang) exec sleep 60;;
esac
exec "{python}" "{script}" {program} "$@"
"""


def install(home: Path, programs=PROGRAMS) -> Path:
    """A folder that looks like FreeSurfer's."""
    (home / "bin").mkdir(parents=True)
    for program in programs:
        path = home / "bin" / program
        variable = program.removesuffix("_cmdl").replace("-", "_").upper()
        path.write_text(
            _WRAPPER.format(
                variable=variable, program=program, python=sys.executable, script=__file__
            )
        )
        path.chmod(0o755)
    (home / "build-stamp.txt").write_text(
        "freesurfer-linux-ubuntu22_x86_64-7.4.1-20230614-7eb8460\n"
    )
    (home / "license.txt").write_text("name@place\n1\n *a\n b\n")
    return home


def calls(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def write_reconstruction(subject_dir: Path, talairach: np.ndarray) -> None:
    """`orig.mgz`, `talairach.xfm`, and an `aparc+aseg.mgz` of balls; no `scripts`."""
    transforms = subject_dir / "mri" / "transforms"
    transforms.mkdir(parents=True)
    rows = "\n".join(" ".join(f"{number:.6f}" for number in row) for row in talairach[:3])
    (transforms / "talairach.xfm").write_text(
        "MNI Transform File\n% avi2talxfm\n\n"
        f"Transform_Type = Linear;\nLinear_Transform = \n{rows};\n"
    )
    affine = np.array([[-4.0, 0, 0, 124.3], [0, 0, 4, -145.6], [0, -4, 0, 137.1], [0, 0, 0, 1]])
    shape = (64, 64, 64)
    places = apply_affine(affine, np.indices(shape).reshape(3, -1).T)
    labels = np.zeros(len(places), dtype=np.int32)
    for label, centre in {17: (-25, 0, 20), 53: (25, 0, 20), 1007: (-35, -25, 10)}.items():
        labels[np.linalg.norm(places - centre, axis=1) < 14] = label
    aseg = nib.MGHImage(labels.reshape(shape), affine)
    nib.save(aseg, subject_dir / "mri" / "aparc+aseg.mgz")
    nib.save(nib.MGHImage(np.zeros(shape, np.uint8), affine), subject_dir / "mri" / "orig.mgz")


def main(program: str, arguments: list[str]) -> None:
    with Path(os.environ["FAKE_LOG"]).open("a") as stream:
        noted = {name: os.environ.get(name) for name in NOTED}
        asked = not os.isatty(0) and sys.stdin.read() == ""
        call = {"argv": [program, *arguments], "environment": noted, "stdin_empty": asked}
        stream.write(json.dumps(call) + "\n")
    options = _options(arguments)
    does = os.environ["FAKE_DOES"]
    {
        "tkregister2": _tkregister2,
        "tkregister2_cmdl": _tkregister2,
        "bbregister": _bbregister,
        "mri_vol2vol": _mri_vol2vol,
        "recon-all": _recon_all,
    }[program](options, does)


def _options(arguments):
    options = {}
    for word, following in zip(arguments, [*arguments[1:], "-"], strict=True):
        if word.startswith("-"):
            options[word.lstrip("-")] = None if following.startswith("-") else following
    return options


def _mri(subject):
    return Path(os.environ["SUBJECTS_DIR"]) / subject / "mri"


def _tkr(image):
    """`vox2ras-tkr` as FreeSurfer's help spells it."""
    (c, r, s), (dc, dr, ds) = image.shape[:3], np.linalg.norm(image.affine[:3, :3], axis=0)
    return np.array(
        [[-dc, 0, 0, dc * c / 2], [0, 0, ds, -ds * s / 2], [0, -dr, 0, dr * r / 2], [0, 0, 0, 1]]
    )


def _header_registration(options):
    moving, orig = nib.load(options["mov"]), nib.load(_mri(options["s"]) / "orig.mgz")
    return (
        _tkr(moving) @ np.linalg.inv(moving.affine) @ orig.affine @ np.linalg.inv(_tkr(orig))
    ), moving


def _write_register(options, matrix, moving):
    sizes = moving.header.get_zooms()
    rows = "\n".join(" ".join(f"{number:.6e}" for number in row) for row in matrix)
    Path(options["reg"]).write_text(
        f"{options['s']}\n{sizes[0]:f}\n{sizes[2]:f}\n0.150000\n{rows}\nround\n"
    )


def _tkregister2(options, does):
    assert "noedit" in options and "regheader" in options
    matrix, moving = _header_registration(options)
    if does == "wrong":
        matrix[0, 3] += 1
    _write_register(options, matrix, moving)


def _bbregister(options, does):
    from scipy.spatial.transform import Rotation

    assert "init-header" in options and "bold" in options
    matrix, moving = _header_registration(options)
    shift = np.eye(4)
    shift[:3, :3] = Rotation.from_euler("y", 1, degrees=True).as_matrix()
    shift[:3, 3] = [0.5, -1, 20 if does == "wrong" else 0.25]
    _write_register(options, shift @ matrix, moving)
    cost = 0.95 if does == "wrong" else 0.45
    Path(options["reg"] + ".mincost").write_text(f"{cost} 101.2 110.3 8.6\n")


def _mri_vol2vol(options, does):
    from scipy import ndimage

    assert "tal" in options and int(float(options["talres"])) == 2
    lines = Path(options["reg"]).read_text().splitlines()
    registration = np.array([[float(word) for word in line.split()] for line in lines[4:8]])
    orig = nib.load(_mri(lines[0]) / "orig.mgz")
    text = (_mri(lines[0]) / "transforms" / "talairach.xfm").read_text()
    numbers = text.split("Linear_Transform =")[1].split(";")[0].split()
    talairach = np.vstack([np.reshape([float(word) for word in numbers], (3, 4)), [0, 0, 0, 1]])
    devolved = talairach @ orig.affine @ np.linalg.inv(_tkr(orig))
    target = nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE)
    rtal = _tkr(target) @ np.linalg.inv(AFFINE)
    moving = nib.load(options["mov"])
    final = registration @ np.linalg.inv(devolved) @ np.linalg.inv(rtal)
    points = apply_affine(
        np.linalg.inv(_tkr(moving)) @ final @ _tkr(target), np.indices(SHAPE).reshape(3, -1).T
    )
    shape = np.array(moving.shape[:3])
    nearest = np.floor(points + 0.5).astype(int)
    within = ((nearest >= 0) & (nearest < shape)).all(axis=1)
    volumes = np.nan_to_num(np.asarray(moving.dataobj, np.float32)).reshape(*shape, -1)
    sampled = np.zeros((len(points), volumes.shape[3]), np.float32)
    if options.get("interp") == "nearest":
        sampled[within] = volumes[tuple(nearest[within].T)]
    else:
        for number in range(volumes.shape[3]):
            sampled[within, number] = ndimage.map_coordinates(
                volumes[..., number], points[within].T, order=1, mode="nearest"
            )
    sampled = sampled.reshape(*SHAPE, -1)
    if does == "wrong":
        sampled = sampled[:-1]
    if sampled.shape[3] == 1:
        sampled = sampled[..., 0]
    nib.save(nib.Nifti1Image(sampled, AFFINE), options["o"])


def _recon_all(options, does):
    subject_dir = Path(options["sd"]) / options["subjid"]
    scripts = subject_dir / "scripts"
    if "i" in options and subject_dir.exists():
        sys.exit("ERROR: You are trying to re-run an existing subject with (possibly) new input")
    if "i" not in options and not subject_dir.exists():
        sys.exit(f"ERROR: cannot find {subject_dir}")
    scripts.mkdir(parents=True, exist_ok=True)
    if "i" in options:
        original = subject_dir / "mri" / "orig" / "001.mgz"
        original.parent.mkdir(parents=True)
        nib.save(nib.MGHImage.from_image(nib.load(options["i"])), original)
    for name in ("recon-all.error", "recon-all.done"):
        (scripts / name).unlink(missing_ok=True)
    if does in ("killed", "slow"):
        (scripts / "IsRunning.lh+rh").write_text("SUBJECT\n")
        if does == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    if does == "error":
        (scripts / "recon-all.error").write_text("CMD mri_ca_register\n")
        (scripts / "recon-all.done").write_text("1\n")
        print("ERROR: mri_ca_register: out of memory")
        sys.exit(1)
    if does != "partial":
        finished = Path(os.environ["FAKE_RECONSTRUCTION"])
        subprocess.run(["cp", "-R", f"{finished}/.", str(subject_dir)], check=True)
    (scripts / "recon-all.done").write_text(f"------\nSUBJECT {options['subjid']}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
