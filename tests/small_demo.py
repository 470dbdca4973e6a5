"""A demo's settings that take seconds instead of minutes."""

from conceptrsa.pipelines.demo.demo_settings import DemoSettings


def small_settings(*, n_subjects: int = 1, n_runs: int = 2, seed: int = 0) -> DemoSettings:
    """Coarse and short."""
    return DemoSettings(
        n_subjects=n_subjects,
        n_runs=n_runs,
        seed=seed,
        bold_shape=(40, 46, 26),
        bold_voxel_mm=4.5,
        t1w_voxel_mm=3.0,
        n_one_backs=1,
        patch_fwhm_mm=4.5,
    )
