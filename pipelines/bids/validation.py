"""The BIDS validator on a data set, before anything is done with it.

It is the validator of the BIDS maintainers as PyPI's `bids-validator-deno` carries it. It looks at
names, sidecars, tables and the headers of images, needs no network, and takes seconds.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import atomic_path

COMMAND = "bids-validator-deno"
LIST_NAME = "bids-validator.txt"
TIME_LIMIT = 1800.0  # s
NO_ERRORS, ERRORS = 0, 16  # the validator's exit codes; any other is a crash
N_SHOWN = 3
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Issue:
    """Something that the validator found.

    Attributes
    ----------
    is_error : bool
        Or else a warning.
    code : str
        The validator's name for this kind of issue.
    location : str
        File, from the root of the data set; empty where it is about none.
    text : str
        In words; may be empty.
    """

    is_error: bool
    code: str
    location: str
    text: str

    def sentence(self) -> str:
        """Kind and file, in one piece."""
        return f"{self.code} {self.location or '(whole data set)'}"


def find_validator() -> str | None:
    """Find the validator's command: beside this Python, else on the PATH; None without one."""
    return shutil.which(COMMAND, path=str(Path(sys.executable).parent)) or shutil.which(COMMAND)


def require_valid(
    bids_dir: Path, participants: Collection[str], log_dir: Path | None = None
) -> None:
    """Let the validator look at a data set; say so in one line where it is not installed.

    Parameters
    ----------
    bids_dir : Path
        Root of the raw data set.
    participants : collection of str
        Labels without `sub-` of those that will be taken; errors in the folders of others are of
        no matter.
    log_dir : Path, optional
        Folder for the list of all findings; None: nothing is written.

    Raises
    ------
    InputError
        When there are errors, or the validator fails.
    """
    validator = find_validator()
    if validator is None:
        log.info(
            "the BIDS validator is not installed, so the data set was not validated; to install "
            "it: pip install 'conceptrsa[bids]'"
        )
        return
    issues = [
        issue for issue in run_validator(validator, bids_dir) if _concerns(issue, participants)
    ]
    errors = [issue.sentence() for issue in issues if issue.is_error]
    found_in = ""
    if log_dir is not None:
        file = log_dir / LIST_NAME
        with atomic_path(file) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in list_lines(bids_dir, issues)))
        found_in = f"see {file} for all, "
        if not errors:
            log.info("%s is valid BIDS (%d warnings: %s)", bids_dir, len(issues), file)
    if errors:
        raise InputError(
            f"{bids_dir} is not valid BIDS: the validator found {len(errors)} "
            f"error{'s' if len(errors) > 1 else ''} ({'; '.join(errors[:N_SHOWN])}"
            f"{'; ...' if len(errors) > N_SHOWN else ''}): {found_in}correct them, or give "
            "--skip-bids-validation"
        )


def run_validator(validator: str, bids_dir: Path) -> tuple[Issue, ...]:
    """Run the validator, without a network and without a trace in the user's folders.

    Parameters
    ----------
    validator : str
        Its command.
    bids_dir : Path
        Root of a data set.

    Raises
    ------
    InputError
        When it does not end as it should.
    """
    with tempfile.TemporaryDirectory(prefix="conceptrsa-deno-") as scratch:
        quiet = {"DENO_DIR": scratch, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
        try:
            finished = subprocess.run(
                [validator, "--format", "json", str(bids_dir.resolve())],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=TIME_LIMIT,
                env={**os.environ, **quiet},
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(bids_dir, " ".join(str(error).split())) from error
    if finished.returncode not in (NO_ERRORS, ERRORS):
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise _failed(bids_dir, f"exit code {finished.returncode}: {last}")
    try:
        return tuple(_issues(json.loads(finished.stdout)["issues"]))
    except (ValueError, KeyError, TypeError) as error:
        raise _failed(bids_dir, "its answer cannot be read") from error


def list_lines(bids_dir: Path, issues: Sequence[Issue]) -> Iterator[str]:
    """Write out what was found: every error, and how often each warning."""
    errors = [issue for issue in issues if issue.is_error]
    warnings = Counter(issue.code for issue in issues if not issue.is_error)
    yield f"BIDS validator on {bids_dir}: {len(errors)} errors, {warnings.total()} warnings"
    for issue in errors:
        yield f"error {issue.sentence()}{f' {issue.text}' if issue.text else ''}"
    for code, count in warnings.most_common():
        yield f"warning {code} ({count} times)"


def _issues(content: Mapping[str, Any]) -> Iterator[Issue]:
    texts = content["codeMessages"]
    for issue in content["issues"]:
        if issue["severity"] in ("error", "warning"):
            text = issue.get("issueMessage") or texts.get(issue["code"], "")
            yield Issue(
                issue["severity"] == "error",
                issue["code"],
                issue.get("location", ""),
                " ".join(text.split()),
            )


def _concerns(issue: Issue, participants: Collection[str]) -> bool:
    top = issue.location.lstrip("/").split("/")[0]
    return not top.startswith("sub-") or top.removeprefix("sub-") in participants


def _failed(bids_dir: Path, reason: str) -> InputError:
    return InputError(
        f"the BIDS validator failed on {bids_dir} ({reason}): install it again, or give "
        "--skip-bids-validation"
    )
