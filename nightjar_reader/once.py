"""Values that are made once, however many threads ask for them at the same time."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Generic, TypeVar, overload

from nightjar_reader import forks

T = TypeVar("T")


class Once(Generic[T]):
    """Values by key. The first thread that asks makes the value; the others wait for it.

    An error reaches all that wait and is not kept: who asks later tries again.

    Parameters
    ----------
    most
        How many are kept; those used longest ago go first.
    kept_by_children
        Whether a forked process may use what its parent has made.
    """

    def __init__(self, most: int | None = None, *, kept_by_children: bool = True) -> None:
        self._most = most
        self._kept_by_children = kept_by_children
        self._made: OrderedDict[Hashable, T] = OrderedDict()
        self.after_fork()
        forks.tell(self)

    def after_fork(self) -> None:
        """Forget who makes what, for those threads are not in the child."""
        self._lock = Lock()
        self._making: dict[Hashable, Future[T]] = {}
        if not self._kept_by_children:
            self._made.clear()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made where there is none."""
        while True:
            with self._lock:
                if key in self._made:
                    self._made.move_to_end(key)
                    return self._made[key]
                others = self._making.get(key)
                mine = others or self._making.setdefault(key, Future())
            try:
                if others is None:
                    return self._make(key, make, mine)
                with suppress(CancelledError):
                    return others.result()
            finally:
                del others, mine  # an error refers to this frame, and they to the error

    def drop(self, key: Hashable, value: T) -> None:
        """Forget a value, unless another one has taken its place."""
        with self._lock:
            if self._made.get(key) is value:
                del self._made[key]

    def _make(self, key: Hashable, make: Callable[[], T], future: "Future[T]") -> T:
        try:
            value = make()
        except Exception as error:
            self._end(key)
            future.set_exception(error)
            raise
        except BaseException:  # meant for this thread alone: one that waits makes the value
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
            self._making.pop(key, None)
            for value in values:
                self._made[key] = value
            while self._most and len(self._made) > self._most:
                self._made.popitem(last=False)


class once(Generic[T]):  # noqa: N801, it reads like `property`
    """A property that is made once, by one thread.

    `functools.cached_property` lets every thread make it (from Python 3.12 on), or makes the threads of all
    objects wait for each other, and a forked process for ever (3.11). The object keeps a `Once` in `_once`.
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
        holder.__dict__[self._name] = value  # found before this method from now on
        return value
