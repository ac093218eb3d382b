"""Items that a thread makes ready while their reader is at work on earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Semaphore, Thread
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """The items of an iterator, made in a thread of their own, a few of them ahead.

    Order is kept. An error comes up in the reader where the item would have come, so all items
    before it are still to be had. The thread lives within the ``with`` block.
    """

    def __init__(self, items: Iterator[T], ahead: int = 2) -> None:
        """Take an iterator, which belongs to the thread from now on.

        Args:
            items: What to make ready.
            ahead: Most items that wait, the one in the making included.
        """
        self._items = items
        self._room = Semaphore(ahead)
        self._ready: SimpleQueue[tuple[list[T], BaseException | None]] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._fill, name="ultraedit-reader", daemon=True)

    def __enter__(self) -> Background[T]:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the thread end after the item at work, and wait for it."""
        self._closed = True
        self._room.release()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        """The items in their order.

        Raises:
            BaseException: What the iterator raised in the thread.
        """
        while True:
            item, error = self._ready.get()
            if error is not None:
                raise error
            if not item:
                return
            yield item.pop()
            self._room.release()

    def _fill(self) -> None:
        """Make items until there is no more, or nobody wants them."""
        try:
            while True:
                self._room.acquire()
                if self._closed:
                    break
                item = [next(self._items)]
                self._ready.put((item, None))
                del item  # a reader that is done with it must not find it held here
        except StopIteration:
            self._ready.put(([], None))
        except BaseException as error:
            self._ready.put(([], error))
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
