"""Any number of threads read a file once; an error reaches all of them, and is not kept."""

import gc
import os
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from nightjar_reader import Reader, ReleaseCorrupt, verified
from nightjar_reader import format as fmt
from nightjar_reader.once import Once, once

THREADS = 50


def together(ask, threads: int = THREADS) -> list[object]:
    """What each thread gets, or the error that it meets; all begin at the same time."""
    start = threading.Barrier(threads)

    def run(_: int) -> object:
        start.wait()
        try:
            return ask()
        except Exception as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def test_fifty_threads_read_each_file_once(build, monkeypatch) -> None:
    """After a refresh it was fifty full reads."""
    tiny, new = build(as_of="2017-09-29"), build(as_of="2017-09-30", seed=2)
    tiny.append(1)
    reader = Reader(tiny.uri)
    reader.nearest(user=3)
    new.append(2)
    assert reader.refresh()
    reads: Counter[str] = Counter()
    opened = verified.VerifiedFiles._open_here

    def counted(self, file: str):
        reads[file] += 1
        return opened(self, file)

    monkeypatch.setattr(verified.VerifiedFiles, "_open_here", counted)
    answers = together(lambda: (reader.for_user(3), reader.nearest(user=3), reader.nearest(item=500)))
    assert set(answers) == {(reader.for_user(3), reader.nearest(user=3), reader.nearest(item=500))}
    assert set(reads.values()) == {1}
    assert set(reads) == {
        fmt.POPULAR,
        fmt.ITEMS,
        fmt.USER_FACTORS,
        fmt.ITEM_FACTORS,
        fmt.INDEX,
        fmt.lists_path(fmt.bucket(3, 4)),
    }


def test_an_error_reaches_all_and_is_not_kept(build) -> None:
    tiny = build()
    file = tiny.path(fmt.lists_path(fmt.bucket(3, 4)))
    whole = file.read_bytes()
    reader = Reader(tiny.uri, release_id=tiny.release_id)
    file.write_bytes(whole[:-1])
    for found in together(lambda: reader.for_user(3)):
        assert isinstance(found, ReleaseCorrupt)
    file.write_bytes(whole)
    assert list(reader.for_user(3).items) == tiny.lists[3]["item_ids"]


def test_an_error_leaves_nothing_behind() -> None:
    """It referred to what waited for it, and that to the error: all that its frames held stayed."""

    class Held:
        """Stands for a release."""

    def fail(values: Once[str], held: object) -> None:
        def make() -> str:
            assert held
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011, any
            values.get("a", make)

    held = Held()
    freed = weakref.ref(held)
    gc.disable()
    try:
        fail(Once(), held)
        del held
        assert freed() is None
    finally:
        gc.enable()


def test_those_that_wait_get_what_one_makes() -> None:
    values: Once[object] = Once()
    begun, go, made = threading.Event(), threading.Event(), []

    def make() -> object:
        begun.set()
        go.wait()
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(values.get, "a", make)
        begun.wait()
        others = [pool.submit(values.get, "a", make) for _ in range(7)]
        assert values.get("b", lambda: "other keys do not wait") == "other keys do not wait"
        go.set()
        assert {id(future.result()) for future in [first, *others]} == {id(made[0])}
    assert len(made) == 1


def test_one_that_is_interrupted_leaves_it_to_another() -> None:
    values: Once[str] = Once()
    begun, go = threading.Event(), threading.Event()

    def interrupted() -> str:
        begun.set()
        go.wait()
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(values.get, "a", interrupted)
        begun.wait()
        second = pool.submit(values.get, "a", lambda: "made")
        go.set()
        with pytest.raises(KeyboardInterrupt):
            first.result()
        assert second.result() == "made"


def test_the_one_used_longest_ago_goes_first() -> None:
    values: Once[int] = Once(2)
    for key in ("a", "b", "a", "c"):
        values.get(key, lambda: 1)
    assert [values.get(key, lambda: 2) for key in ("a", "c", "b")] == [1, 1, 2]


def test_a_property_is_made_once_for_each_object() -> None:
    class Holder:
        def __init__(self) -> None:
            self._once: Once[object] = Once()

        @once
        def value(self) -> object:
            """What it is."""
            return object()

    one, two = Holder(), Holder()
    assert one.value is one.value
    assert one.value is not two.value
    assert Holder.value.__doc__ == "What it is."


def exit_code(child) -> int:
    """Fork, and end the child with 0 where it runs through."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_while_another_thread_makes_a_value() -> None:
    """The child waited for ever for a thread that it does not have."""
    values: Once[str] = Once()
    begun, go = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        go.wait()
        return "parent's"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(values.get, "a", slow)
        begun.wait()

        def child() -> None:
            assert values.get("a", lambda: "child's") == "child's"

        assert exit_code(child) == 0
        go.set()
        assert first.result() == "parent's"


def test_a_fork_while_threads_hold_locks_of_a_reader(build) -> None:
    tiny = build()
    tiny.append(1)
    reader = Reader(tiny.uri)
    reader.for_user(3)
    release = reader.release
    keyed = release._rows.keyed(fmt.lists_path(fmt.bucket(3, 4)))
    with reader._moving, keyed._lock, release._rows._opened._lock, release._once._lock:

        def child() -> None:
            assert not reader.refresh()
            for user, row in tiny.lists.items():
                assert list(reader.for_user(user).items) == row["item_ids"]

        assert exit_code(child) == 0
