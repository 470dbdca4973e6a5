"""The design matrix against closed forms, SPM's conventions and real events."""

import numpy as np
import pandas as pd
import pytest
import scipy.fft
from block_design import (
    BLOCK,
    TR,
    block_events,
    exact_response,
    n_volumes,
    random_motion,
    real_events,
)

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics.design import MOTION_PARAMETERS, make_run_design, n_cosines

NO_MOTION = np.zeros((178, 6))


def events_table(*rows: tuple[float, float, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["onset", "duration", "condition", "kind"])


def test_volumes_stand_for_the_middle_of_their_acquisition() -> None:
    design = make_run_design(block_events(0), NO_MOTION, TR)
    np.testing.assert_allclose(design.matrix.index, TR * (np.arange(178) + 0.5))
    early = make_run_design(block_events(0), NO_MOTION, TR, slice_time_reference=0.0)
    np.testing.assert_allclose(early.matrix.index, TR * np.arange(178))


@pytest.mark.parametrize(("repetition_time", "volumes"), [(3.0, 178), (2.0, 267), (0.8, 668)])
def test_regressors_equal_the_closed_form_convolution(repetition_time: float, volumes: int) -> None:
    events = block_events(1)
    design = make_run_design(events, np.zeros((volumes, 6)), repetition_time)
    times = design.matrix.index.to_numpy()
    for onset, duration, name, kind in events.itertuples(index=False):
        if kind == "stimulus":
            column = design.matrix[f"stimulus:{name}"]
            np.testing.assert_allclose(column, exact_response(times, onset, duration), atol=0.01)


def test_a_long_block_reaches_a_plateau_of_one() -> None:
    events = events_table((60.0, 200.0, "long", "stimulus"))
    column = make_run_design(events, NO_MOTION, TR).matrix["stimulus:long"]
    np.testing.assert_allclose(column.loc[100:255], 1.0, atol=1e-3)


def test_glover_hrf_peaks_earlier_and_undershoots_more() -> None:
    events = events_table((60.0, 3.0, "short", "stimulus"))
    spm, glover = (
        make_run_design(events, np.zeros((178, 6)), 1.0, hrf=hrf).matrix["stimulus:short"]
        for hrf in ("spm", "glover")
    )
    assert spm.idxmax() - 60 == pytest.approx(6.5, abs=0.6)
    assert glover.idxmax() <= spm.idxmax()
    assert glover.min() / glover.max() < 2 * spm.min() / spm.max() < 0


def test_an_event_without_duration_is_a_stick_of_unit_area() -> None:
    events = events_table((60.0, 0.0, "stick", "stimulus"))
    volumes = np.zeros((200, 6))
    column = make_run_design(events, volumes, 1.0).matrix["stimulus:stick"]
    short_block = exact_response(column.index.to_numpy(), 59.95, 0.1) / 0.1
    np.testing.assert_allclose(column, short_block, atol=0.01)
    assert column.sum() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("volumes", "repetition_time", "high_pass", "expected"),
    [
        (178, 3.0, 128.0, 8),
        (256, 2.0, 128.0, 8),
        (160, 0.8, 128.0, 2),
        (40, 3.0, 128.0, 1),
        (178, 3.0, 2000.0, 0),
        (250, 1.2, 100.0, 6),
    ],
)
def test_cosines_are_those_of_spm(
    volumes: int, repetition_time: float, high_pass: float, expected: int
) -> None:
    assert n_cosines(volumes, repetition_time, high_pass) == expected
    events = events_table((6.0, 9.0, "picture", "stimulus"))
    matrix = make_run_design(
        events, np.zeros((volumes, 6)), repetition_time, high_pass_seconds=high_pass
    ).matrix
    drift = matrix[[name for name in matrix.columns if name.startswith("drift")]].to_numpy()
    basis = scipy.fft.idct(np.eye(volumes), axis=0, norm="ortho")[:, 1 : expected + 1]
    np.testing.assert_allclose(drift, basis, atol=1e-12)


def test_motion_is_about_its_mean_and_unchanging_parameters_are_left_out() -> None:
    motion = random_motion(178, np.random.default_rng(0)) + 5
    motion[:, 2] = 0.25
    matrix = make_run_design(block_events(0), motion, TR).matrix
    kept = [name for name in MOTION_PARAMETERS if name != "trans_z"]
    assert [name for name in matrix.columns if name in MOTION_PARAMETERS] == kept
    np.testing.assert_allclose(matrix[kept].mean(), 0, atol=1e-12)
    np.testing.assert_allclose(matrix["rot_z"], motion[:, 5] - motion[:, 5].mean())


@pytest.mark.parametrize(("baseline", "n_columns"), [("explicit", 67), ("implicit", 66)])
def test_real_run_of_ds001246(shared_data, baseline: str, n_columns: int) -> None:
    events = real_events(shared_data, "01", "perceptionTest01", "01")
    assert n_volumes(events) == 178
    motion = random_motion(178, np.random.default_rng(0))
    design = make_run_design(events, motion, TR, baseline=baseline)
    kinds = [condition.kind for condition in design.conditions]
    nuisance = design.matrix.columns[len(design.conditions) :]

    assert design.matrix.shape == (178, n_columns)
    assert kinds.count("stimulus") == 50
    assert kinds[50:] == (["fixation"] if baseline == "explicit" else []) + ["one-back"]
    assert list(nuisance) == [*MOTION_PARAMETERS, *(f"drift_{k}" for k in range(1, 9)), "constant"]
    assert [c.n_events for c in design.conditions if c.kind == "one-back"] == [5]

    # Shown at 69 s and again at 78 s; the second time is a one-back.
    times = design.matrix.index.to_numpy()
    np.testing.assert_allclose(
        design.matrix["stimulus:n02416519_12793"], exact_response(times, 69, BLOCK), atol=0.01
    )
    one_backs = sum(exact_response(times, onset, BLOCK) for onset in (78, 204, 249, 276, 303))
    np.testing.assert_allclose(design.matrix["one-back"], one_backs, atol=0.02)


def test_stimulus_ids_may_be_names_of_other_columns() -> None:
    ids = ["constant", "drift_1", "trans_x", "fixation", "one-back", "001"]
    rows = [(20.0 + 15 * k, 9.0, name, "stimulus") for k, name in enumerate(ids)]
    events = events_table(*rows, (0.0, 15.0, "rest", "fixation"), (115.0, 9.0, "x", "one-back"))
    design = make_run_design(events, random_motion(178, np.random.default_rng(0)), TR)
    assert [c.name for c in design.conditions] == [*sorted(ids), "fixation", "one-back"]
    assert design.matrix.columns.is_unique
    times = design.matrix.index.to_numpy()
    np.testing.assert_allclose(
        design.matrix["stimulus:fixation"], exact_response(times, 65, 9), atol=0.01
    )
    np.testing.assert_allclose(design.matrix["fixation"], exact_response(times, 0, 15), atol=0.01)


def test_condition_number_is_that_of_unit_columns() -> None:
    design = make_run_design(block_events(3), NO_MOTION, TR)
    columns = design.matrix.to_numpy()
    expected = np.linalg.cond(columns / np.linalg.norm(columns, axis=0))
    assert design.condition_number == pytest.approx(expected, rel=1e-6)
    assert 50 < design.condition_number < 1000


def test_information_is_the_inverse_covariance_of_the_conditions() -> None:
    design = make_run_design(block_events(3), random_motion(178, np.random.default_rng(0)), TR)
    columns = design.matrix.to_numpy()
    n_conditions = len(design.conditions)
    covariance = np.linalg.inv(columns.T @ columns)[:n_conditions, :n_conditions]
    np.testing.assert_allclose(design.information() @ covariance, np.eye(n_conditions), atol=1e-6)


def test_collinear_columns_are_named() -> None:
    events = events_table(
        (30.0, 9.0, "cat", "stimulus"), (30.0, 9.0, "dog", "stimulus"), (60, 9.0, "eel", "stimulus")
    )
    with pytest.raises(StepError, match=r"'stimulus:cat', 'stimulus:dog' are collinear"):
        make_run_design(events, NO_MOTION, TR)


def test_an_event_after_the_last_volume_is_named() -> None:
    events = events_table((30.0, 9.0, "cat", "stimulus"), (533.9, 9.0, "late", "stimulus"))
    with pytest.raises(StepError, match=r"'stimulus:late' leave no response"):
        make_run_design(events, NO_MOTION, TR)


def test_more_columns_than_volumes() -> None:
    with pytest.raises(StepError, match="60 columns for 60 volumes"):
        make_run_design(
            block_events(0, n_stimuli=50), np.zeros((60, 6)), 9.0, high_pass_seconds=140.0
        )
