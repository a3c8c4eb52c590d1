"""The verbs `fit`, `validate`, `test` and `predict`, all with LightningCLI's options."""


def train(arguments: list[str]) -> int:
    """Run one of fit, validate, test and predict.

    Args:
        arguments: the command line from the verb on.

    Returns:
        The exit code, 0.
    """
    from bimcvr.training.lightning_cli import train as run

    return run(arguments)
