"""The demo's data set: ds001246's rules, valid BIDS, and the planted signal truly in the images."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_template
from scipy import ndimage
from scipy.spatial.distance import pdist
from scipy.stats import gamma
from small_demo import small_settings
from validation import bids_errors

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.bids.reading import read_dataset
from conceptrsa.pipelines.demo.bold import (
    MARGIN,
    StillHead,
    draw_motion,
    rigid,
    simulate_run,
    slice_positions,
)
from conceptrsa.pipelines.demo.demo_dataset import write_demo_dataset
from conceptrsa.pipelines.demo.demo_settings import PLANTED_ROIS, DemoSettings
from conceptrsa.pipelines.demo.head import (
    WARP_LEAST_JACOBIAN,
    WARP_SD_MM,
    Warp,
    bias_field,
    draw_warp,
    sample_template,
    template_head,
)
from conceptrsa.pipelines.demo.presentations import (
    draw_schedule,
    events_table,
    response_weights,
    slice_delays,
)
from conceptrsa.pipelines.demo.subject import draw_subject, scan_bold, scan_t1w
from conceptrsa.pipelines.demo.truth import SubjectTruth, plant_responses

STIMULI = tuple(f"thing_{n:02d}" for n in range(12))
SMALL = small_settings(seed=3)


@pytest.fixture(scope="module")
def features() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    return {
        roi.model: rng.standard_normal((len(STIMULI), 40)) + rng.standard_normal(40)
        for roi in PLANTED_ROIS.values()
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, features: dict[str, np.ndarray]) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo_dataset(folder, features, STIMULI, SMALL)
    return folder


def _checksums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# Events and timing


def test_each_stimulus_once_and_repeats_straight_away() -> None:
    schedule = draw_schedule(24, 2, np.random.default_rng(1))
    shown = np.array(schedule.shown)
    is_repeat = np.append(False, shown[1:] == shown[:-1])
    assert is_repeat.sum() == 2
    assert sorted(shown[~is_repeat].tolist()) == list(range(24))
    assert np.isnan(np.array(schedule.response_times)[~is_repeat]).all()
    assert schedule.duration == 33 + 26 * 9 + 6
    assert schedule.duration / 3 == 91


def test_events_are_written_as_in_ds001246(shared_data: Path) -> None:
    folder = shared_data / "ds001246/sub-01/ses-perceptionTest01/func"
    real = pd.read_csv(next(folder.glob("*run-01_events.tsv")), sep="\t", keep_default_na=False)
    schedule = draw_schedule(50, 5, np.random.default_rng(2))
    made = events_table(schedule, [f"n{n:02d}_1" for n in range(50)])
    assert list(made.columns) == list(real.columns)
    for column in ("onset", "duration", "trial_no", "event_type"):
        assert made[column].tolist() == real[column].tolist()


def test_slices_are_acquired_in_ds001246s_order(shared_data: Path) -> None:
    sidecar = json.loads((shared_data / "ds001246/task-perception_bold.json").read_text())
    delays = slice_delays(50, 3.0)
    assert np.argsort(delays).tolist() == np.argsort(sidecar["SliceTiming"]).tolist()
    np.testing.assert_allclose(delays, sidecar["SliceTiming"], atol=0.015)


def test_response_weights_equal_a_fine_convolution() -> None:
    schedule = draw_schedule(4, 1, np.random.default_rng(0))
    step = 0.01
    fine = np.arange(0, schedule.duration, step)
    hrf = gamma.pdf(fine, 6) - gamma.pdf(fine, 16) / 6
    hrf /= hrf.sum()
    weights = response_weights(schedule, 4, fine)
    for stimulus in range(4):
        blocks = np.zeros_like(fine)
        for onset, shown in zip(schedule.onsets, schedule.shown, strict=True):
            blocks[(fine >= onset) & (fine < onset + 9) & (shown == stimulus)] = 1
        expected = np.convolve(blocks, hrf)[: len(fine)]
        np.testing.assert_allclose(weights[stimulus], expected, atol=0.002)


def test_the_tool_reads_the_events_back(demo: Path) -> None:
    config = load_dataset_config("demo")
    (subject,) = read_dataset(demo / "bids", config)
    assert [(run.session, run.run) for run in subject.runs] == [
        ("perceptionTest01", "01"),
        ("perceptionTest02", "01"),
    ]
    for run in subject.runs:
        assert run.repetition_time == 3.0
        assert run.slice_times == tuple(slice_delays(26, 3.0))
        events = run.conditions
        stimuli = events[events["kind"] == "stimulus"]["condition"]
        assert sorted(stimuli) == list(STIMULI)
        assert (events["kind"] == "one-back").sum() == SMALL.n_one_backs
        assert (events["kind"] == "fixation").sum() == 2
        last = events.iloc[-1]
        assert last["onset"] + last["duration"] == 3.0 * nib.load(run.bold).shape[3]


# Files


def test_the_data_set_is_valid_bids(demo: Path, tmp_path: Path) -> None:
    assert bids_errors(demo / "bids", tmp_path) == []
    description = json.loads((demo / "bids/dataset_description.json").read_text())
    assert description["DatasetType"] == "raw"
    assert description["BIDSVersion"]
    assert description["GeneratedBy"][0]["Name"] == "conceptrsa"


def test_images_do_not_share_a_grid(demo: Path) -> None:
    t1w = nib.load(next((demo / "bids").rglob("*_T1w.nii.gz")))
    bold = nib.load(next((demo / "bids").rglob("*_bold.nii.gz")))
    assert t1w.get_data_dtype() == bold.get_data_dtype() == np.int16
    assert nib.aff2axcodes(t1w.affine) == ("A", "S", "R")
    assert nib.aff2axcodes(bold.affine) == ("L", "A", "S")
    assert bold.header.get_zooms() == (4.5, 4.5, 4.5, 3.0)
    truth = SubjectTruth.read(demo / "truth/sub-01.npz")
    np.testing.assert_allclose(bold.affine, truth.bold_affine, atol=1e-4)


def test_files_do_not_depend_on_processes_and_broken_ones_come_back(
    demo: Path, tmp_path: Path, features: dict[str, np.ndarray]
) -> None:
    expected = _checksums(demo / "bids") | _checksums(demo / "truth")
    progress: list[tuple[int, int]] = []

    def write(settings: DemoSettings = SMALL) -> dict[str, str]:
        progress.clear()
        write_demo_dataset(
            tmp_path,
            features,
            STIMULI,
            settings,
            n_procs=2,
            on_progress=lambda *numbers: progress.append(numbers),
        )
        return _checksums(tmp_path / "bids") | _checksums(tmp_path / "truth")

    assert write() == expected
    assert progress == [(0, 2), (1, 2), (2, 2)]
    assert write() == expected
    assert progress == [(2, 2)]

    bold_file = next((tmp_path / "bids").rglob("*perceptionTest02*_bold.nii.gz"))
    bold_file.write_bytes(bold_file.read_bytes()[:1000])
    (bold_file.parent / ".writing-left.nii.gz").touch()
    assert write() == expected
    assert progress == [(1, 2), (2, 2)]

    with pytest.raises(InputError, match="other settings"):
        write(replace(SMALL, seed=4))


def test_bad_input_is_named(tmp_path: Path, features: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match="MiniLM"):
        write_demo_dataset(tmp_path, {**features, "MiniLM": features["MiniLM"][:5]}, STIMULI, SMALL)
    without = {name: values for name, values in features.items() if name != "MiniLM"}
    with pytest.raises(InputError, match="MiniLM, whose features have 0 rows"):
        write_demo_dataset(tmp_path, without, STIMULI, SMALL)
    (tmp_path / "bids").mkdir()
    (tmp_path / "bids" / "dataset_description.json").write_text("{}")
    with pytest.raises(InputError, match="not the demo"):
        write_demo_dataset(tmp_path, features, STIMULI, SMALL)


# Anatomy and motion


def test_t1w_is_the_template_at_its_planted_place(demo: Path) -> None:
    truth = SubjectTruth.read(demo / "truth/sub-01.npz")
    t1w = nib.load(next((demo / "bids").rglob("*_T1w.nii.gz")))
    template = load_mni152_template(resolution=2)
    to_t1w = np.linalg.inv(t1w.affine) @ np.linalg.inv(truth.t1w_to_mni152) @ template.affine
    data = np.asarray(t1w.dataobj, dtype=np.float32)
    moved = ndimage.affine_transform(data, to_t1w, output_shape=template.shape, order=1)
    # Each point of MNI152 holds what the template has at the point that the warp makes of it.
    points = Warp(truth.warp).template_points(template.affine, template.shape)
    voxels = np.moveaxis(points, 0, -1) - template.affine[:3, 3]
    unwarped = np.asarray(template.dataobj)
    values = ndimage.map_coordinates(unwarped, np.moveaxis(voxels, -1, 0) / 2, order=1)
    brain = ndimage.binary_erosion((values > 0.3) & (unwarped > 0.3), iterations=2)
    # Apart from noise, the bias field and the coarse grid of this test.
    with_warp = np.corrcoef(moved[brain], values[brain])[0, 1]
    assert with_warp > 0.75
    assert np.corrcoef(moved[brain], unwarped[brain])[0, 1] < with_warp - 0.1
    # The head is not skull-stripped: there is tissue beyond a dark shell.
    distance = 2 * ndimage.distance_transform_edt(values < 0.01)
    skull, scalp = (distance > 5) & (distance < 8), (distance > 11) & (distance < 13)
    assert np.median(moved[skull]) < 0.2 * np.median(moved[brain])
    assert np.median(moved[scalp]) > 0.4 * np.median(moved[brain])


@pytest.fixture(scope="module")
def warp() -> Warp:
    return draw_warp(np.random.default_rng(4))


def test_warp_has_its_size_and_no_affine_part_over_the_brain(warp: Warp) -> None:
    head = template_head()
    points = warp.template_points(head.affine, head.brain.shape)
    brain = sample_template(head.brain, points) > 0.5
    places = apply_affine(head.affine, np.argwhere(brain))
    displacements = points[:, brain].T - places
    np.testing.assert_allclose(displacements.std(axis=0), WARP_SD_MM, rtol=0.05)
    linear = np.column_stack([places, np.ones(len(places))])
    fit, *_ = np.linalg.lstsq(linear, displacements, rcond=None)
    assert np.linalg.norm(linear @ fit, axis=1).mean() < 0.1


def test_warp_is_invertible(warp: Warp) -> None:
    # Every fourth millimetre of the whole padded head, by finite differences.
    head = template_head()
    fine = head.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    n_i, n_j, n_k = (n // 2 for n in head.brain.shape)
    points = warp.template_points(fine, (n_i, n_j, n_k)).astype(float)
    derivative = np.stack(np.gradient(points, 4.0, axis=(1, 2, 3)), axis=-1)
    determinants = np.linalg.det(np.moveaxis(derivative, 0, -2))
    assert determinants.min() > 0.9 * WARP_LEAST_JACOBIAN
    exact = warp.jacobians()
    assert exact.min() > WARP_LEAST_JACOBIAN
    assert determinants.min() == pytest.approx(exact.min(), abs=0.15)


def test_warp_is_the_same_in_every_grid(warp: Warp) -> None:
    fine = np.diag([1.5, 1.5, 1.5, 1.0])
    fine[:3, 3] = -40
    coarse = fine @ np.diag([2.0, 2.0, 2.0, 1.0])
    np.testing.assert_allclose(
        warp.template_points(fine, (20, 24, 28))[:, ::2, ::2, ::2],
        warp.template_points(coarse, (10, 12, 14)),
        atol=1e-4,
    )


def test_subjects_have_warps_of_their_own_from_their_seeds(
    features: dict[str, np.ndarray],
) -> None:
    first, again, second = (
        draw_subject(index, features, STIMULI, SMALL).truth.warp for index in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.5


def test_every_other_subject_is_defaced_outside_the_brain(features: dict[str, np.ndarray]) -> None:
    for index in range(4):
        subject = draw_subject(index, features, STIMULI, SMALL)
        t1w = scan_t1w(subject, SMALL)
        data = np.asarray(t1w.dataobj)
        truth = subject.truth
        points = Warp(truth.warp).template_points(truth.t1w_to_mni152 @ t1w.affine, data.shape)
        head = sample_template(template_head().t1w, points) > 0.05
        brain = sample_template(template_head().brain, points) > 0.01
        cut = (data == 0) & head
        if index % 2:
            assert 3.0**3 * cut.sum() > 100_000  # mm3
        else:
            assert not cut.any()
        assert not cut[brain].any()


def test_bias_field_has_its_strength_over_the_head() -> None:
    inside = np.zeros((20, 22, 24), dtype=bool)
    inside[4:16, 5:18, 3:20] = True
    bias = bias_field(inside, 0.45, np.random.default_rng(0))
    assert np.ptp(np.log(bias[inside])) == pytest.approx(0.45, abs=1e-4)


def test_slices_of_a_volume_see_the_head_where_it_is_at_their_moment() -> None:
    motion = draw_motion((5,), 5, np.zeros(3), np.random.default_rng(2))
    positions = slice_positions(motion, np.array([0.0, 0.5, 0.75]))
    assert positions.shape == (5, 3, 4, 4)
    # At the middle of a volume it is where the truth says; before it, on its way there.
    np.testing.assert_array_equal(positions[:, 1], motion)
    np.testing.assert_allclose(positions[1:, 0], (motion[1:] + motion[:-1]) / 2)
    np.testing.assert_allclose(positions[:-1, 2], 0.75 * motion[:-1] + 0.25 * motion[1:])
    np.testing.assert_array_equal(positions[0, 0], motion[0])
    np.testing.assert_array_equal(positions[-1, 2], motion[-1])


def test_motion_starts_at_rest_and_stays_small() -> None:
    motion = draw_motion((273, 273), 91, np.zeros(3), np.random.default_rng(5))
    np.testing.assert_allclose(motion[0], np.eye(4), atol=1e-12)
    rotations = motion[:, :3, :3]
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (546, 1, 1)), atol=1e-12
    )
    shifts = np.linalg.norm(motion[:, :3, 3], axis=1)
    assert 0.3 < shifts.max() < 8
    assert np.linalg.norm(motion[273, :3, 3] - motion[272, :3, 3]) > 0.1


def test_a_moved_head_is_seen_where_it_moved() -> None:
    rng = np.random.default_rng(6)
    shape = (12, 14, 10)
    padded = ndimage.gaussian_filter(rng.standard_normal([n + 2 * MARGIN for n in shape]), 1)
    affine = np.diag([-3.0, 3.0, 3.0, 1.0])
    head = StillHead.from_images(padded, padded[np.newaxis], affine)
    nothing = np.zeros((1, shape[2]))
    inside = padded[MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN]
    still = np.tile(np.eye(4), (shape[2], 1, 1))
    np.testing.assert_allclose(head.acquire(still, nothing, shape), inside, atol=1e-5)

    # 3 mm to the left is one voxel up the first axis; 6 mm up is two slices.
    position = rigid(np.array([-3.0, 0, 6]), np.zeros(3), np.zeros(3))
    there = padded[MARGIN - 1 : -MARGIN - 1, MARGIN:-MARGIN, MARGIN - 2 : -MARGIN - 2]
    everywhere = np.tile(position, (shape[2], 1, 1))
    np.testing.assert_allclose(head.acquire(everywhere, nothing, shape), there, atol=1e-5)

    # A head that moves between two slices is seen in both places.
    half_way = np.where(np.arange(shape[2])[:, np.newaxis, np.newaxis] < 5, still, everywhere)
    np.testing.assert_allclose(
        head.acquire(half_way, nothing, shape),
        np.concatenate([inside[..., :5], there[..., 5:]], axis=-1),
        atol=1e-5,
    )

    # Each slice carries the response of its own moment.
    weights = np.linspace(0, 1, shape[2])[np.newaxis]
    np.testing.assert_allclose(
        head.acquire(still, weights, shape), inside * (1 + weights), atol=1e-5
    )


# Planted responses


def test_planted_shares_and_distance_between_regions(demo: Path) -> None:
    truth = SubjectTruth.read(demo / "truth/sub-01.npz")
    assert truth.rois == tuple(PLANTED_ROIS)
    assert truth.models == tuple(roi.model for roi in PLANTED_ROIS.values())
    counts = [(truth.responsive == n).sum() for n in (1, 2, 3, 4)]
    assert all(count > 5 for count in counts)
    assert counts[3] < min(counts[:2])
    assert truth.betas.shape == (len(STIMULI), sum(counts))
    for n in (1, 2, 3, 4):
        others = (truth.responsive > 0) & (truth.responsive != n)
        assert not (ndimage.binary_dilation(truth.responsive == n) & others).any()


def test_planted_patterns_have_the_models_geometry(features: dict[str, np.ndarray]) -> None:
    mask = np.zeros((16, 16, 16), dtype=bool)
    mask[4:12, 4:12, 4:12] = True
    values = features["MiniLM"]
    responses = plant_responses(values, mask, SMALL, np.random.default_rng(7))
    brain_rdm, model_rdm = pdist(responses, "correlation"), pdist(values, "correlation")
    assert np.corrcoef(brain_rdm, model_rdm)[0, 1] > 0.97
    np.testing.assert_allclose(responses.std(), SMALL.response_spread, rtol=0.02)
    np.testing.assert_allclose(responses.mean(), SMALL.mean_response, atol=0.3)
    # A linear map of the centred features: of their rank, and no more.
    assert np.linalg.matrix_rank(responses - SMALL.mean_response, tol=1e-3) == len(STIMULI)


def test_the_planted_betas_are_in_the_images(features: dict[str, np.ndarray]) -> None:
    """Ordinary least squares on a still, noise-free run gives the truth back."""
    settings = replace(SMALL, thermal_noise=0.0, physiological_noise=0.0, drift=0.0)
    subject = draw_subject(0, features, STIMULI, settings)
    times = 3.0 * np.arange(len(subject.truth.motion[0]))[:, np.newaxis] + slice_delays(26, 3.0)
    weights = response_weights(subject.schedules[0], len(STIMULI), times)
    still = np.tile(np.eye(4), (*times.shape, 1, 1))
    rng = np.random.default_rng(0)
    data = simulate_run(subject.head, still, weights, settings, rng).astype(float)
    data *= 100 / data.mean(axis=-1)[subject.truth.brain].mean()
    estimated = np.empty_like(subject.truth.betas)
    voxels = np.argwhere(subject.truth.responsive)
    for column, (x, y, z) in enumerate(voxels):
        design = np.column_stack([weights[:, :, z].T, np.ones(len(times))])
        estimated[:, column] = np.linalg.lstsq(design, data[x, y, z], rcond=None)[0][:-1]
    planted = subject.truth.betas
    assert np.corrcoef(estimated.ravel(), planted.ravel())[0, 1] > 0.995
    slope = np.polyfit(planted.ravel(), estimated.ravel(), 1)[0]
    assert abs(slope - 1) < 0.02


def test_noise_is_as_strong_as_set(features: dict[str, np.ndarray]) -> None:
    settings = replace(SMALL, drift=0.0, mean_response=0.0, response_spread=1e-6)
    subject = draw_subject(0, features, STIMULI, settings)
    still = np.tile(np.eye(4), (*subject.truth.motion.shape[:2], 1, 1))
    subject = replace(subject, truth=replace(subject.truth, motion=still))
    data = scan_bold(subject, 0, settings).get_fdata()
    inside = ndimage.binary_erosion(subject.truth.brain, iterations=3)
    series = data[inside] / data[inside].mean(axis=-1, keepdims=True)
    expected = np.hypot(settings.thermal_noise, settings.physiological_noise)
    assert abs(100 * series.std(axis=-1).mean() - expected) < 0.1
    centred = series - series.mean(axis=-1, keepdims=True)
    lag_one = (centred[:, 1:] * centred[:, :-1]).mean() / (centred**2).mean()
    share = settings.physiological_noise**2 / expected**2
    assert abs(lag_one - settings.noise_ar1 * share) < 0.05
