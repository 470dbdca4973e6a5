"""The two ways in which a run can end short: the user's input, or a step that failed."""


class InputError(Exception):
    """Something the user can mend; the message is one sentence with the file and the remedy.

    The command line prints it without a traceback and ends with exit code 2.
    """


class StepError(Exception):
    """A step did not do its work; the message says which and what to do.

    The subject it belongs to fails (exit code 1); the others go on.
    """
