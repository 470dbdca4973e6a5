"""The command line: `conceptrsa COMMAND`.

Nothing heavy is imported here or in the modules that declare the options, so that `--help` is
quick; each command imports what it needs when it runs.
"""

import argparse
import errno
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.machine import limit_threads
from conceptrsa.pipelines.cli import (
    compare_command,
    demo_command,
    figures_command,
    inspect_commands,
    network_commands,
    run_command,
    setup_commands,
)
from conceptrsa.pipelines.cli.completion import complete
from conceptrsa.pipelines.cli.interrupts import exit_code, termination_as_interrupt
from conceptrsa.pipelines.cli.parser import Parser, add_version
from conceptrsa.pipelines.cli.surroundings import provide_home, require_temporary_folder

EXIT_FAILED, EXIT_USAGE, EXIT_PIPE = 1, 2, 141
_COMMANDS = (
    run_command,
    compare_command,
    figures_command,
    setup_commands,
    network_commands,
    inspect_commands,
    demo_command,
)
_ERRORS_OF_USERS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST, errno.EISDIR,
    errno.ENAMETOOLONG, errno.ELOOP,
}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    parser = Parser(
        prog="conceptrsa",
        description="Which neural network explains which brain region? Goes from raw BIDS fMRI, or "
        "from betas, to representational similarity analysis with tables, figures and a report. "
        "'conceptrsa COMMAND --help' explains a command.",
        examples=(
            "conceptrsa demo demo",
            "conceptrsa compare --betas betas --atlas destrieux --stimuli stimuli --out results",
            "conceptrsa run bids out participant --dataset-config study.toml",
        ),
    )
    add_version(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name (default: those of the process).

    Returns
    -------
    int
        0 done; 1 a subject or a step failed; 2 wrong use or input; 130 interrupted by
        Ctrl-C, 143 by SIGTERM.
    """
    parser = build_parser()
    complete(parser)
    args = parser.parse_args(argv)
    limit_threads()
    args.words = tuple(sys.argv[1:] if argv is None else argv)
    try:
        with termination_as_interrupt(), _messages_on_stderr():
            provide_home(require_temporary_folder())
            return int(args.function(args))
    except InputError as error:
        return _say(str(error), EXIT_USAGE)
    except StepError as error:
        return _say(str(error), EXIT_FAILED)
    except KeyboardInterrupt as interrupt:
        code = exit_code(interrupt)
        return _say("interrupted; run the same command again to continue", code)
    except BrokenPipeError:
        # `conceptrsa atlases | head`: nobody reads on, and Python would complain when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except OSError as error:
        if error.errno not in _ERRORS_OF_USERS:
            raise
        place = error.filename or "the output"
        reason = f"{place}: {error.strerror}; correct its permissions, free space or choose another"
        return _say(reason, EXIT_USAGE)


def _say(message: str, code: int) -> int:
    print(f"conceptrsa: {message}", file=sys.stderr)
    return code


@contextmanager
def _messages_on_stderr() -> Iterator[None]:
    """Show the package's log messages, and leave logging afterwards as a caller had set it up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("conceptrsa")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
