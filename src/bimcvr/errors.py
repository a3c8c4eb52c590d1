"""The exceptions that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: the message names the culprit and the remedy.

    The command line prints it as one paragraph, without a traceback, and exits with 1.
    """


class WeightsAbsent(UserError):
    """A published model that is not on this machine and cannot be fetched; a benchmark prints its row as not run."""
