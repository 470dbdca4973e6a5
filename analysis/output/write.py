"""The files of a comparison: tables, figures and where the numbers come from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conceptrsa.analysis.output.figures.all_figures import write_figures
from conceptrsa.analysis.output.provenance import provenance_of, write_provenance
from conceptrsa.analysis.output.report.group import REPORT, write_report
from conceptrsa.analysis.output.tables import write_tables
from conceptrsa.analysis.results import ComparisonResult


def write_comparison(
    result: ComparisonResult, out_dir: Path, further_settings: Mapping[str, Any] | None = None
) -> None:
    """Write tables, figures, report and provenance of a comparison to `out_dir`/group.

    The same result gives the same bytes. The provenance is written last: where it is, all is.

    Parameters
    ----------
    result : ComparisonResult
    out_dir : Path
    further_settings : mapping, optional
        What the betas and features were made with, as JSON can hold it; for the provenance.
    """
    group_dir = Path(out_dir) / "group"
    provenance_file = group_dir / "provenance.json"
    for file in (provenance_file, group_dir / REPORT):
        file.unlink(missing_ok=True)
    write_tables(result, group_dir)
    write_figures(result, group_dir / "figures")
    provenance = provenance_of(result, further_settings)
    write_report(result, group_dir, provenance)
    write_provenance(provenance, provenance_file)
