"""A command line whose mistakes are one sentence, with the nearest right spelling."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from conceptrsa.bids_config.names import did_you_mean

_NUMBER = re.compile(r"-\.?\d")


class Parser(argparse.ArgumentParser):
    """Parser that ends wrong usage with one line and exit code 2."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, after a look at the spelling: a misspelled option is not a missing one."""
        words = list(sys.argv[1:] if args is None else args)
        for place, word in enumerate(words):
            is_option = word.startswith("-") and word not in ("-", "--") and " " not in word
            if not is_option and (word == "--" or self._subparsers is not None):
                break  # what follows is of the command
            if is_option and word.startswith("--"):
                name, *value = word.split("=", 1)  # fMRIPrep takes --participant_label as well
                words[place] = word = "=".join((name.replace("_", "-"), *value))
            if is_option and not self._is_known(word):
                name = word.partition("=")[0]
                known = f"--{name.lstrip('-')}"
                self.error(f"there is no option {name}{did_you_mean(known, self._option_names)}")
        return super().parse_known_args(words, namespace)

    @property
    def _option_names(self) -> list[str]:
        return list(self._option_string_actions)

    def _is_known(self, word: str) -> bool:
        """Whether a word is an option, the beginning of one, or a negative number."""
        if not word.startswith("--"):
            return bool(_NUMBER.match(word)) or word[:2] in self._option_names
        return any(name.startswith(word.partition("=")[0]) for name in self._option_names)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = None if action.choices is None else [str(choice) for choice in action.choices]
        if choices is not None and value not in choices:
            message = f"{value!r} is not possible{did_you_mean(str(value), choices)}"
            raise argparse.ArgumentError(action, f"{message}: choose from {', '.join(choices)}")

    def error(self, message: str) -> NoReturn:
        """End with one line that says what is wrong, and where help is."""
        self.exit(2, f"conceptrsa: {message}; see {self.prog} --help\n")
