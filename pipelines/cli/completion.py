"""Complete commands, options, models and atlases by the Tab key, with argcomplete."""

import argparse
import os
from collections.abc import Iterable

from conceptrsa.pipelines.cli.comparison_options import PAPER


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and exit, if the shell asks; otherwise do nothing.

    Parameters
    ----------
    parser : ArgumentParser
        Parser of all commands.
    """
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:
        return
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    for name, command in commands.choices.items():
        for action in command._actions:
            if "--models" in action.option_strings:
                action.completer = _models
            elif "--atlas" in action.option_strings and name in ("compare", "init"):
                action.completer = _atlases
    argcomplete.autocomplete(parser)


def _models(**_: object) -> Iterable[str]:
    from conceptrsa.analysis.models.zoo import read_zoo

    return (PAPER, *(entry.name for entry in read_zoo().entries))


def _atlases(prefix: str, **_: object) -> Iterable[str]:
    from argcomplete.completers import FilesCompleter

    from conceptrsa.analysis.betas.named_atlases import named_atlases

    return (*named_atlases(), *FilesCompleter()(prefix))
