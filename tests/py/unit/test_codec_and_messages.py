"""What goes into a queue comes out as it was: the inline encoding, pickle, cloudpickle, blocks."""

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manyhands import multiprocessing as mp

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.tuples()
        | st.lists(inner, max_size=40).map(tuple)
        | st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=60,
)


@pytest.fixture(scope="module")
def queue():
    return mp.get_context("fork").Queue()


def through(queue, value):
    queue.put(value)
    return queue.get(timeout=10)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=plain)
def test_any_plain_value_comes_back_equal_and_of_the_same_type(queue, value):
    back = through(queue, value)
    assert back == value and type(back) is type(value) and repr(back) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1,
        -(2**63),
        2**63,
        2**200,
        -128,
        127,
        128,
        "\ud800",
        "é" * 20000,
        (((((1,),),),),),
        tuple(range(40)),
        float("inf"),
        b"",
        b"x" * 32767,
        b"x" * 32768,
        b"x" * 3_000_000,
        "x" * 100_000,
        bytearray(b"abc"),
        frozenset({1}),
        True,
        type("Sub", (int,), {})(5) + 0,
    ],
    ids=lambda v: f"{type(v).__name__}-{str(v)[:12]}",
)
def test_edges(queue, value):
    back = through(queue, value)
    assert back == value and type(back) is type(value)


def test_nan_and_minus_zero(queue):
    assert str(through(queue, float("nan"))) == "nan" and str(through(queue, -0.0)) == "-0.0"


def test_subclasses_of_plain_types_keep_their_class(queue):
    import enum

    assert through(queue, enum.IntFlag("Flag", "A B").__class__) is not None
    value = through(queue, signal_like())
    assert type(value).__name__ == "Signals"


def signal_like():
    import signal

    return signal.SIGTERM


def test_lambdas_and_closures_cross(queue):
    offset = 10
    assert through(queue, lambda x: x + offset)(1) == 11


def test_what_cannot_be_pickled_raises_in_put_and_leaves_the_queue_as_it_was(queue):
    import threading

    with pytest.raises(TypeError, match="pickle"):
        queue.put(threading.Lock())
    assert queue.qsize() == 0


def test_arrays_arrive_equal_and_writable(queue):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(100_000.0)
    back = through(queue, array)
    assert (back == array).all() and back.flags.writeable
    back[0] = 5
    assert array[0] == 0


def test_an_array_in_shared_memory_is_not_copied(queue):
    numpy = pytest.importorskip("numpy")
    from manyhands._impl import core

    array = numpy.frombuffer(core.block(1_000_000), dtype=numpy.uint8)
    back = through(queue, array)
    back[7] = 42
    assert array[7] == 42


def test_many_bytes_in_tuples_go_beside_the_pickle(queue):
    from manyhands._impl.messages import LARGE, dumps

    large = bytes(range(256)) * (LARGE // 256)
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(3)
    value = (print, (large, 1, large, array), {"in a dict": 1}, ((large[:-1],),))
    data, buffers = dumps(value)
    assert len(data) < 2 * LARGE and len(buffers) == 1  # once, though it is there twice
    queue.put(value)
    function, (first, one, second, numbers), rest, ((short,),) = queue.get()
    assert function is print and one == 1 and rest == value[2] and short == large[:-1]
    assert type(first) is bytes and first == large and second is first
    assert list(numbers) == [0, 1, 2]
    deep = large
    for _ in range(400):
        deep = (deep,)
    queue.put(deep)
    assert queue.get() == deep


def test_blocks_are_given_back(queue):
    import gc

    from manyhands._impl import core

    gc.collect()
    before = core.arena_usage()[0]
    for _ in range(20):
        assert len(through(queue, b"y" * 100_000)) == 100_000
    gc.collect()
    assert core.arena_usage()[0] == before
