"""Values that are made once, however many threads need them at the same time."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Generic, TypeVar, overload

from nightjar_reader_v1 import forks

T = TypeVar("T")


class Once(Generic[T]):
    """Values by key. The first thread that asks makes the value; the others wait for it.

    An error reaches all threads that wait. It is not kept: a later call tries again.

    Parameters
    ----------
    most
        How many values are kept; the least recently used go first.
    kept_by_children
        Whether a forked process may use what its parent has made.
    """

    def __init__(self, most: int | None = None, *, kept_by_children: bool = True) -> None:
        self._most = most
        self._kept_by_children = kept_by_children
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self.after_fork()
        forks.register(self)

    def after_fork(self) -> None:
        """Forget the values under way, whose threads are not in the child."""
        self._lock = Lock()
        self._futures: dict[Hashable, Future[T]] = {}
        if not self._kept_by_children:
            self._values.clear()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made if it is missing."""
        while True:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
                running = self._futures.get(key)
                future = running or self._futures.setdefault(key, Future())
            try:
                if running is None:
                    return self._make(key, make, future)
                with suppress(CancelledError):
                    return running.result()
            finally:
                del running, future  # they refer to an error, and the error to this frame

    def drop(self, key: Hashable, value: T) -> None:
        """Forget a value, unless another has taken its place."""
        with self._lock:
            if self._values.get(key) is value:
                del self._values[key]

    def _make(self, key: Hashable, make: Callable[[], T], future: "Future[T]") -> T:
        try:
            value = make()
        except Exception as error:
            self._end(key)
            future.set_exception(error)
            raise
        except BaseException:  # an interrupt of this thread alone: a waiting one makes the value
            self._end(key)
            future.cancel()
            raise
        else:
            self._end(key, value)
            future.set_result(value)
            return value
        finally:
            del future

    def _end(self, key: Hashable, *values: T) -> None:
        with self._lock:
            self._futures.pop(key, None)
            for value in values:
                self._values[key] = value
            while self._most and len(self._values) > self._most:
                self._values.popitem(last=False)


class once(Generic[T]):  # noqa: N801, it reads like `property`
    """A property that is made once, by one thread.

    `functools.cached_property` will not do (python/cpython#87634). From Python 3.12 on every thread makes the
    value. In 3.11 one lock serves all objects, and a forked process may wait for it for ever. The object
    keeps a `Once` in `_once`.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, holder: None, owner: type) -> "once[T]": ...

    @overload
    def __get__(self, holder: object, owner: type) -> T: ...

    def __get__(self, holder: Any, owner: type) -> "T | once[T]":
        if holder is None:
            return self
        value: T = holder._once.get(self._name, partial(self._make, holder))
        holder.__dict__[self._name] = value  # from now on Python reads it there, and calls this no more
        return value
