"""Functions that run in other processes: under spawn and forkserver they are imported by name."""

import logging
import os
import signal
import sys
import threading
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


def take_and_hold(queue, said, count, done):
    """Take `count` items, be done with `done` of them, and keep the rest."""
    items = [queue.get() for _ in range(count)]
    for _ in range(done):
        queue.task_done()
    said.put(items)
    signal.pause()


def second_thread_is_done(queue):
    """This thread takes one item, another one takes the next and is done with it; then the end."""
    queue.get()

    def take():
        queue.get()
        queue.task_done()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGKILL)


def raises_value_error(call):
    try:
        call()
    except ValueError:
        return
    sys.exit(1)


def _unloadable():
    raise RuntimeError("unloadable")


class Unloadable:
    def __reduce__(self):
        return _unloadable, ()


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("unpicklable")


def consume(queue, count):
    for _ in range(count):
        queue.get()
        queue.task_done()


def put_for_ever(queue):
    while True:
        queue.put({"an": "item"})


def work_slowly(queue, done):
    while True:
        item = queue.get()
        time.sleep(0.001)
        done.put(item)
        queue.task_done()


def raise_on_purpose():
    raise ValueError("on purpose")


def leave(code):
    raise SystemExit(code)


def report_self(results):
    """What a process says of itself."""
    import multiprocessing

    me = multiprocessing.process.current_process()
    said = [me.state, me.outcome, me.cpu_time > 0]
    for verb in (me.pause, me.resume, me.terminate, me.kill):
        try:
            verb()
        except ValueError as error:
            said.append(str(error))
    results.put(said)


def start_child(method, pids, options):
    """Start one that sleeps, tell its id, and sleep too."""
    from manyhands import multiprocessing

    try:
        process = multiprocessing.get_context(method).Process(target=time.sleep, args=(120,), **options)
        process.start()
    except BaseException as error:
        pids.put(repr(error))
        raise
    pids.put(process.pid)
    time.sleep(120)


def pass_around(queue):
    while True:
        queue.put(queue.get())


def tell_parents(method, results, depth):
    """Tell who started this process, and the same of a child, and of its child ..."""
    from manyhands import multiprocessing

    results.put(os.getppid())
    if depth:
        process = multiprocessing.get_context(method).Process(
            target=tell_parents, args=(method, results, depth - 1)
        )
        process.start()
        process.join()


def burn(seconds):
    while time.process_time() < seconds:
        pass


def log_many(name, count):
    for i in range(count):
        logging.getLogger("kitchen").info("%s %d", name, i)


def log_trouble(name):
    try:
        raise_on_purpose()
    except ValueError:
        logging.getLogger("kitchen").exception("%s failed", name)
    logging.getLogger("kitchen").info("%s", name, extra={"lock": threading.Lock()})


def log_from_a_child(name, method):
    from manyhands import multiprocessing

    process = multiprocessing.get_context(method).Process(target=log_many, args=(name, 1))
    process.start()
    process.join()


def log_silently(name):
    logging.root.handlers = [logging.NullHandler()]
    log_many(name, 1)


def log_when(event):
    event.wait(30)
    log_many("late", 3)


def log_for_ever():
    while True:
        logging.getLogger("kitchen").info("x" * 1000)


def send_and_die(connection, items):
    for item in items:
        connection.send(item)
    os.kill(os.getpid(), signal.SIGKILL)


def send_bytes_for_ever(connection, size):
    while True:
        connection.send_bytes(b"x" * size)


def take_and_die(connection):
    connection.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def put_and_die(queue, items):
    for item in items:
        queue.put(item)
    os.kill(os.getpid(), signal.SIGKILL)


def divide(a, b):
    return a / b


def same(value):
    return value


def pid_of(_):
    time.sleep(0.005)
    return os.getpid()


def send_to_received(connection, item):
    with connection.recv() as writer:
        writer.send(item)


def hold_reader(queue, go):
    """Until `go` this process could take from the queue."""
    go.wait(30)
