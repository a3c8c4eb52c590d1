"""Work that is parallel over volumes: workers with a single thread each, and the progress bar over them."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def use_one_thread() -> None:
    """Let SimpleITK and torch use a single thread from now on: threads of parallel workers slow each other down."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    # a worker that has not loaded torch does not need it
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Use a single thread inside the block; afterwards torch has its threads back, for a worker that is the caller."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 0
    use_one_thread()
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)


def progress_bar(title: str, hidden: bool = False) -> "Progress":
    """Return a progress bar like `title ━━━━ 3/10 0:00:05`; a task's description is `{task.description}` in the title.

    Args:
        title: what is being done.
        hidden: show nothing.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=hidden)
