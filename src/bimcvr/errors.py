"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: the message names the culprit and the remedy.

    The command line prints it as one paragraph, without a traceback, and exits with 1.
    """
