"""A file-like wrapper that lets tarfile read a compressed stream strictly forward."""

from collections.abc import Callable
from typing import IO, Any

# tarfile reads a long name or an extended header at once; none is this long, but a forged header can claim so
_LONGEST_READ = 1 << 24


class ForwardStream:
    """Wraps a compressed stream for tarfile, which looks back by one byte at most.

    Seeking back in a compressed stream would decompress it from the start each time.

    Args:
        stream: a stream at its beginning.
        check: called with the number of bytes read so far; raises if there are too many.
    """

    def __init__(self, stream: IO[bytes] | Any, check: Callable[[int], None]) -> None:
        self._stream = stream
        self._check = check
        self._position = 0
        self._last = b""
        self._back = False

    def tell(self) -> int:
        """Return the position."""
        return self._position - self._back

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go forward to a position, or one byte back.

        Raises:
            ValueError: the position is further back.
        """
        if whence or offset < self._position - 1:
            raise ValueError("this stream is read forward only")
        self._back = offset == self._position - 1
        while offset > self._position and self.read(min(1 << 20, offset - self._position)):
            pass
        return self.tell()

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes.

        Raises:
            EOFError: more is requested at once than any valid archive needs.
        """
        if not 0 <= size <= _LONGEST_READ:
            raise EOFError(f"unexpected end: a header claims {size} bytes")
        head = self._last if self._back and size else b""
        self._back = self._back and not size
        data: bytes = self._stream.read(size - len(head))
        if data:
            self._last = data[-1:]
            self._position += len(data)
            self._check(self._position)
        return head + data

    def rest_is_data(self, start: int) -> bool:
        """Read to the end, and return whether anything but zeros follows `start`."""
        self.seek(max(start, self._position))
        has_data = False
        while chunk := self.read(1 << 20):
            has_data = has_data or bool(chunk.strip(b"\0"))
        return has_data
