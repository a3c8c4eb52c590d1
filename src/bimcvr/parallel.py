"""Work that is parallel over volumes: workers with a single thread each, and the progress bar over them."""

import contextlib
import os
import pickle
import signal
import sys
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from bimcvr.errors import UserError
from bimcvr.processes.lifeline import end_with

if TYPE_CHECKING:
    from rich.progress import Progress

Result = TypeVar("Result")

_failed: "dict[str, _Failure]" = {}  # of this process: the run in which a call has failed
_SUSPECTS = 32
"""Tasks that run alone after a worker was killed: they are begun in order, so that the one at fault is of the first."""


class WorkerKilled(UserError):
    """A worker process was killed, by a lack of memory for instance."""


def in_parallel(
    function: Callable[..., Result],
    arguments: Iterable[tuple[Any, ...]],
    jobs: int,
    ordered: bool = True,
    batch_size: int | Literal["auto"] = "auto",
) -> Iterator[Result]:
    """Call a function many times in worker processes, which end when this process does.

    An error of one call is raised when the calls that have begun are done: what they write is whole or not there.

    Args:
        function: what the workers call.
        arguments: those of each call.
        jobs: processes to use; -1 for one a core, 1 for this process alone.
        ordered: yield the results in the order of the calls, not as they come.
        batch_size: calls that a worker gets at a time.

    Raises:
        WorkerKilled: a worker was killed.
    """
    from joblib import Parallel, delayed

    run = uuid.uuid4().hex
    failure: Exception | None = None

    def calls() -> Iterator[Any]:
        for one in arguments:
            if failure is not None:
                return
            yield delayed(_caught)(run, function, one)

    outcomes: Iterator[Any] = Parallel(
        n_jobs=jobs,
        return_as="generator" if ordered else "generator_unordered",
        batch_size=batch_size,
        initializer=_start_here,
        initargs=(os.getpid(), os.getcwd()),  # others than those of workers that are waiting: new ones are started
    )(calls())
    try:
        for outcome in outcomes:
            if isinstance(outcome, _Failure):
                failure = failure or outcome.error
            elif failure is None:
                yield outcome
    except BrokenExecutor as error:
        raise WorkerKilled(
            "A worker process was killed, as the system does when the memory is full. What was finished is kept: run"
            " the same command again. If it happens again, use fewer processes (--jobs, or the environment variable"
            " LOKY_MAX_CPU_COUNT), or a machine with more memory."
        ) from error
    if failure is not None:
        raise failure


def run_tasks(
    function: Callable[..., Any], tasks: Mapping[int, tuple[Any, ...]], jobs: int, few: int = 8
) -> Iterator[tuple[int, Any]]:
    """Call a function for each task, in several processes; a task that kills its process does not end the others.

    Once a worker was killed, the next tasks run one at a time in a process of their own, so that a task that kills it
    again is known; the others go on in parallel.

    Args:
        function: of module level; gets the task's arguments.
        tasks: key of each task → its arguments.
        jobs: processes to use; -1 for one a core.
        few: tasks that are done by the calling process.

    Yields:
        The key and the result of each task as it ends; the result is a `WorkerKilled` where there is none.
    """
    left = dict(tasks)
    workers = jobs if len(tasks) > few else 1
    while left:
        calls = [(function, key, arguments) for key, arguments in left.items()]
        try:
            for key, result in in_parallel(_keyed, calls, workers, ordered=False):
                del left[key]
                yield key, result
        except WorkerKilled:
            for call in [call for call in calls if call[1] in left][:_SUSPECTS]:
                del left[call[1]]
                try:
                    # a single process would be the calling one
                    yield from in_parallel(_keyed, [call], jobs=2)
                except WorkerKilled as killed:
                    yield call[1], killed


def _keyed(function: Callable[..., Any], key: int, arguments: tuple[Any, ...]) -> tuple[int, Any]:
    return key, function(*arguments)


class _Failure(NamedTuple):
    """What a call has raised; joblib would kill the other workers over it, in the middle of a file."""

    error: Exception


def _caught(run: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a function, unless another call of the same run has failed in this process."""
    if run in _failed:
        return _failed[run]
    try:
        return function(*arguments)
    except Exception as error:
        if not isinstance(error, UserError | OSError):
            error.add_note(traceback.format_exc())  # a process keeps its traceback to itself
        _failed.clear()
        _failed[run] = _Failure(_portable(error))
        return _failed[run]


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _start_here(parent: int, folder: str) -> None:
    os.chdir(folder)  # relative paths mean the same as in the process that hands out the work
    start_worker(parent)


def start_worker(parent: int) -> None:
    """Prepare a worker process: it leaves Ctrl-C to its parent, and ends with it.

    Args:
        parent: the process that hands out the work.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


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
