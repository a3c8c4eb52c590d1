"""The verb `dry-run`: what a `fit` would take, before anything is spent."""

from bimcvr.commands.stdout import say


def dry_run(arguments: list[str]) -> int:
    """Print parameters, memory, disk and time of a `fit` with the same options.

    Nothing is trained, cached or written.

    Args:
        arguments: The command line, the verb first.
    """
    from bimcvr.training.dry_run import DryRunCLI
    from bimcvr.training.lightning_cli import command_line

    say(command_line(["fit", *arguments[1:]], DryRunCLI).report())
    return 0
