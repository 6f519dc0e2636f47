"""Connections answer as the standard library's do: each scenario runs on both, and the answers are compared."""

import array
import importlib
import os
import pickle
import signal
import socket
import threading
import time

import manyhands
import mp_helpers as helpers
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

import multiprocessing as std_mp

import manyhands.shared
from manyhands import multiprocessing as our_mp
from manyhands._impl import core


def answer(call, *args, **kwargs):
    """What it returned, or what it raised and said."""
    try:
        result = call(*args, **kwargs)
    except Exception as error:
        name = (
            "BufferTooShort" if type(error).__name__ == "BufferTooShort" else type(error).__mro__[0].__name__
        )
        return name, [str(a) if not isinstance(a, bytes) else a for a in error.args]
    return result


def ends(mp, duplex=True):
    return mp.get_context("fork").Pipe(duplex)


def sizes_and_offsets(mp):
    a, b = ends(mp)
    data = b"0123456789"
    for args in (
        (data,),
        (data, 3),
        (data, 3, 4),
        (bytearray(data),),
        (memoryview(data)[2:],),
        (array.array("i", [1, 2]),),
        (b"",),
    ):
        yield answer(a.send_bytes, *args)
        yield answer(b.recv_bytes)
    for args in (
        (data, -1),
        (data, 11),
        (data, 3, -1),
        (data, 3, 8),
        ("text",),
        (5,),
    ):
        yield answer(a.send_bytes, *args)
    yield b.poll()


def into_buffers(mp):
    a, b = ends(mp)
    for _ in range(9):
        a.send_bytes(b"abcdef")
    room = bytearray(10)
    yield answer(b.recv_bytes_into, room), bytes(room)
    yield answer(b.recv_bytes_into, room, 4), bytes(room)
    ints = array.array("h", [0] * 8)
    yield answer(b.recv_bytes_into, ints, 4), ints.tobytes()
    for buffer, *offset in ((bytearray(5),), (bytearray(10), 5), (bytearray(0),)):
        yield answer(b.recv_bytes_into, buffer, *offset), bytes(buffer)
    for buffer, *offset in ((room, -1), (room, 11), (b"read only",), ("text",)):
        yield answer(b.recv_bytes_into, buffer, *offset)[0]
    yield answer(b.recv_bytes)
    yield b.poll()


def too_long(mp):
    a, b = ends(mp)
    a.send_bytes(b"x" * 100)
    a.send_bytes(b"y")
    yield answer(b.recv_bytes, 100)
    yield answer(b.recv_bytes, -1)
    a.send_bytes(b"z" * 100)
    yield answer(b.recv_bytes, 1)
    yield answer(b.recv_bytes, 99)
    yield b.closed


def too_long_one_way(mp):
    a, b = ends(mp, False)
    b.send_bytes(b"x" * 100)
    yield answer(a.recv_bytes, 99)
    yield a.closed


def end_of_file(mp):
    a, b = ends(mp)
    a.send([1, 2])
    a.send_bytes(b"raw")
    a.close()
    yield b.poll(), answer(b.recv), b.poll(), answer(b.recv_bytes), b.poll(), b.poll(5)
    yield answer(b.recv), answer(b.recv_bytes), answer(b.recv_bytes_into, bytearray(5)), answer(b.recv)
    yield answer(b.send, 1)
    yield b.closed, b.readable, b.writable
    b.close()
    b.close()
    for call in (
        b.recv,
        b.recv_bytes,
        b.poll,
        b.fileno,
        lambda: b.send(1),
        lambda: b.send_bytes(b""),
        lambda: b.recv_bytes_into([]),
    ):
        yield answer(call)
    yield b.closed


def directions(mp):
    reader, writer = ends(mp, False)
    yield reader.readable, reader.writable, writer.readable, writer.writable
    for call in (
        writer.recv,
        writer.recv_bytes,
        writer.poll,
        lambda: reader.send(1),
        lambda: reader.send_bytes(b""),
    ):
        yield answer(call)
    yield answer(lambda: writer.recv_bytes_into(bytearray(1)))
    reader.close()
    yield answer(writer.send, 1)


def blocks(mp):
    a, b = ends(mp)
    with a as entered, b:
        yield entered is a
    yield a.closed, b.closed, answer(a.__enter__().fileno)


def polls(mp):
    a, b = ends(mp)
    yield [answer(b.poll, t) for t in (0, 0.0, 0.01, -1)]
    a.send(None)
    yield [answer(b.poll, *t) for t in ((), (0,), (None,), (5,), (-1,))]
    yield answer(b.recv), answer(b.poll, "soon")[0]


def values(mp):
    a, b = ends(mp)
    for value in (
        None,
        1,
        -(10**40),
        1.5,
        "t\udc80",
        b"b",
        (1, (2,)),
        {"a": [1]},
        {1, 2},
        bytearray(b"x"),
        ...,
        int,
        range(3),
    ):
        a.send(value)
        got = b.recv()
        yield type(got), got == value
    yield answer(a.send, helpers.Unpicklable())
    a.send(helpers.Unloadable())
    yield answer(b.recv)
    a.send(helpers.Unloadable())
    yield type(answer(b.recv_bytes)), b.poll()
    a.send_bytes(b"no pickle")
    yield answer(b.recv)[0]
    a.send_bytes(pickle.dumps([5]))
    yield b.recv()
    a.send([6])
    yield pickle.loads(b.recv_bytes())


def many_of_all_sizes(mp):
    a, b = ends(mp)
    sizes = [0, 1, 15, 16, 17, 4095, 4096, 16384, 16385, 65535, 65536, 1 << 20, (1 << 20) + 1, 5_000_000]
    thread = threading.Thread(
        target=lambda: [a.send_bytes(bytes([n % 251]) * size) for n, size in enumerate(sizes)]
    )
    thread.start()
    yield [(b.recv_bytes() == bytes([n % 251]) * size) for n, size in enumerate(sizes)]
    thread.join()


def a_dead_writer(mp):
    context = mp.get_context("fork")
    reader, writer = context.Pipe(False)
    process = context.Process(target=helpers.send_and_die, args=(writer, ["one", b"2" * 100_000]))
    process.start()
    writer.close()
    yield reader.recv(), len(reader.recv())
    process.join(30)
    yield process.exitcode, reader.poll(), answer(reader.recv), answer(reader.recv)


def a_writer_dead_in_a_message(mp):
    """The whole message never came: not what there was of it, and no silence."""
    context = mp.get_context("fork")
    reader, writer = context.Pipe(False)
    process = context.Process(target=helpers.send_bytes_for_ever, args=(writer, 50_000_000))
    process.start()
    writer.close()
    reader.poll(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    yield answer(reader.recv_bytes)
    yield answer(reader.recv_bytes)[0]


def dead_readers(mp):
    context = mp.get_context("fork")
    reader, writer = context.Pipe(False)
    process = context.Process(target=helpers.take_and_die, args=(reader,))
    process.start()
    reader.close()
    writer.send(1)
    process.join(30)
    yield process.exitcode, answer(writer.send, 2), answer(writer.send_bytes, b"x" * 1_000_000)


def bare_descriptors(mp):
    """What others wrote by hand."""
    connection = importlib.import_module(mp.__name__ + ".connection").Connection
    left, right = socket.socketpair()
    end = connection(os.dup(left.fileno()))
    right.sendall(b"\0\0\0\3abc")
    yield end.recv_bytes()
    end.send_bytes(b"out")
    yield right.recv(100)
    end.send({"a": 1})
    raw = right.recv(100)
    yield pickle.loads(raw[4:]), int.from_bytes(raw[:4], "big") == len(raw) - 4
    right.sendall(b"\xff\xff\xff\xff" + (5).to_bytes(8, "big") + b"large")
    yield end.recv_bytes()
    right.sendall(b"\0\0\0\x0aonly")
    right.close()
    yield answer(end.recv_bytes)
    yield answer(end.recv_bytes)
    end.close()
    for arguments in ((-1,), ("x",), (0, False, False)):
        yield answer(connection, *arguments)[0]


def half_a_length(mp):
    connection = importlib.import_module(mp.__name__ + ".connection").Connection
    left, right = socket.socketpair()
    with connection(left.detach(), writable=False) as end:
        right.sendall(b"\0\0")
        right.close()
        yield answer(end.recv_bytes)
        yield end.poll(), answer(end.send, 1)


def last_writer_of_a_simple_queue(mp):
    context = mp.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=helpers.put_and_die, args=(queue, [1, 2]))
    process.start()
    queue._writer.close()
    process.join(30)
    yield (
        process.exitcode,
        queue.get(),
        queue.get(),
        queue._reader.poll(),
        answer(queue.get),
        answer(queue.empty),
    )


SCENARIOS = [
    sizes_and_offsets,
    into_buffers,
    too_long,
    too_long_one_way,
    end_of_file,
    directions,
    blocks,
    polls,
    values,
    many_of_all_sizes,
    a_dead_writer,
    dead_readers,
    bare_descriptors,
    half_a_length,
    last_writer_of_a_simple_queue,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_as_the_standard_library(scenario):
    theirs, ours = list(scenario(std_mp)), list(scenario(our_mp))
    for number, (want, have) in enumerate(zip(theirs, ours, strict=True)):
        assert have == want, f"answer {number}"


def test_a_writer_dead_in_a_message():
    """OSError, then the end of the file. The standard library says so, too, but where its writer dies between the
    length and the first byte: then it is EOFError at once."""
    theirs = list(a_writer_dead_in_a_message(std_mp))
    assert theirs[0] in [("OSError", ["got end of file during message"]), ("EOFError", [])]
    ours = list(a_writer_dead_in_a_message(our_mp))
    assert ours == [("OSError", ["got end of file during message"]), "EOFError"]


def test_who_sends_faster_than_the_other_receives_waits_after_64_mb():
    """In the standard library after 64 KB. Without it all that is sent would lie in shared memory."""
    near, far = our_mp.Pipe()
    piece, before = b"x" * 8_000_000, core.arena_usage()[1]
    sender = threading.Thread(target=lambda: [near.send(piece) for _ in range(30)], daemon=True)
    sender.start()
    while core.arena_usage()[1] - before < 64_000_000:
        time.sleep(0.001)
    sender.join(0.2)
    held_back, used = sender.is_alive(), core.arena_usage()[1] - before
    assert all(far.recv() == piece for _ in range(30))
    sender.join()
    assert held_back and used < 100_000_000


def test_a_shared_array_takes_no_memory_on_its_way_and_is_not_held_up():
    pytest.importorskip("numpy")
    near, far = our_mp.Pipe()
    array_ = manyhands.shared.zeros(10_000_000)
    for number in range(20):
        array_[0] = number
        near.send(array_)
    assert all(far.recv()[0] == 19 for _ in range(20))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_large_payloads(method):
    numpy = pytest.importorskip("numpy")
    context = our_mp.get_context(method)
    near, far = context.Pipe()
    process = context.Process(target=helpers.echo, args=(far,) if method != "fork" else (far, near))
    process.start()
    far.close()
    array_ = numpy.arange(2_000_000, dtype="f8").reshape(1000, 2000)
    for value in (
        b"x" * 20_000_000,
        bytearray(b"y" * 3_000_000),
        "z" * 5_000_000,
        [b"1" * 4_000_000, b"2" * 4_000_000],
    ):
        near.send(value)
        got = near.recv()
        assert type(got) is type(value) and got == value
    for value in (array_, array_.T, array_[::3], numpy.asfortranarray(array_), array_.astype("i2")):
        near.send({"a": value})
        got = near.recv()["a"]
        assert got.dtype == value.dtype and got.shape == value.shape and (got == value).all()
    near.send_bytes(memoryview(array_).cast("B"))
    near.close()
    process.join(30)
