"""Functions that run in other processes: under spawn and forkserver they are imported by name."""

import os
import signal
import time


def put_all(queue, items):
    for item in items:
        queue.put(item)


def echo(connection, other=None):
    """Send back what comes, until the other end closes. `other`: that end, which a forked child has, too."""
    if other is not None:
        other.close()
    try:
        while True:
            connection.send(connection.recv())
    except EOFError:
        pass


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def hold_and_die(lock):
    lock.acquire()
    die()


def release(lock):
    lock.release()


def add(counter, lock, times):
    for _ in range(times):
        with lock:
            counter.value += 1


def wait_for(event, done):
    event.wait()
    done.release()


def wait_condition(condition, ready, woken):
    with condition:
        ready.release()
        condition.wait(30)
    woken.release()


def meet(barrier, results):
    results.put(barrier.wait(30))


def square(x):
    return x * x


def kill_at(x, victim):
    if x == victim:
        die()
    return x


def exit_at(x, victim):
    if x == victim:
        os._exit(7)
    return x


class TwoArguments(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def raise_two(x):
    raise TwoArguments(x, x)


def fail(x):
    raise ValueError(f"bad {x}")


def spin(started, value):
    started.set()
    while True:
        value.value += 1


def sleep_for(seconds):
    time.sleep(seconds)


def pass_on(there, back):
    """Put all that comes into the other queue, up to None."""
    while (item := there.get()) is not None:
        back.put(item)


def shut_down(queue):
    queue.shutdown()


def write_to_received(connection):
    from manyhands.multiprocessing import reduction

    fd = reduction.recv_handle(connection)
    os.write(fd, connection.recv().encode())
    os.close(fd)
    connection.send("done")
