"""Future: the same tests for the standard library's and for ours, and what is ours beyond it."""

import _thread
import asyncio
import collections
import concurrent.futures
import gc
import logging
import operator
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import _core as core
from manyhands import futures

STATES = ["PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED"]
FutureError = concurrent.futures.InvalidStateError


@pytest.fixture(params=[concurrent.futures.Future, futures.Future], ids=["stdlib", "ours"])
def make(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["bare", "seen"])
def future(request, make):
    """A future whose condition nobody has seen, and one in which it is there: two ways through ours."""
    made = make()
    if request.param:
        assert made._condition is made._condition
    return made


def outcome(call):
    """The result of a call, or the type of what it raises."""
    try:
        return call()
    except BaseException as error:
        return type(error)


def test_a_result(future):
    assert (future.done(), future.running(), future.cancelled()) == (False, False, False)
    assert future.set_running_or_notify_cancel() is True and future.running()
    future.set_result([1])
    assert future.result() == [1] and future.result(timeout=0) == [1] and future.exception() is None
    assert (future.done(), future.running(), future.cancelled(), future._state) == (
        True,
        False,
        False,
        "FINISHED",
    )
    assert future.cancel() is False


@pytest.mark.parametrize("error", [KeyError(3), KeyError], ids=["instance", "class"])
def test_an_exception(future, error):
    future.set_exception(error)
    assert future.exception() is error
    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            future.result()
    assert error is KeyError or caught.value is error


def test_no_exception_is_a_result_of_none(future):
    future.set_exception(None)
    assert future.result() is None and future.exception() is None


def test_an_exception_keeps_the_traceback_that_it_came_with(future):
    def fail():
        raise ValueError("deep")

    try:
        fail()
    except ValueError as error:
        future.set_exception(error)
    with pytest.raises(ValueError) as caught:
        future.result()
    assert "fail" in [entry.name for entry in caught.traceback]


def test_cancel(future):
    assert future.cancel() and future.cancel() and future.cancelled() and future._state == "CANCELLED"
    for call in (future.result, future.exception):
        assert outcome(call) is concurrent.futures.CancelledError
    assert future.set_running_or_notify_cancel() is False and future._state == "CANCELLED_AND_NOTIFIED"
    assert future.cancel() and future.cancelled()


def test_running_is_not_cancelled(future):
    future.set_running_or_notify_cancel()
    assert future.cancel() is False and future.running()


def test_wrong_orders(make, caplog):
    for state in STATES:
        made = make()
        made._state = state
        expected = {"PENDING": None, "RUNNING": None}.get(state, FutureError)
        for call in (lambda m=made: m.set_result(1), lambda m=made: m.set_exception(KeyError())):
            made._state = state
            assert outcome(call) is expected
        made._state = state
        expected = {"PENDING": True, "CANCELLED": False}.get(state, RuntimeError)
        assert outcome(made.set_running_or_notify_cancel) is expected
    assert "unexpected state" in caplog.text


@pytest.mark.parametrize("state", STATES)
def test_printed(make, state):
    made = make()
    made._state = state
    assert f"state={state.lower().replace('cancelled_and_notified', 'cancelled')}" in repr(made)


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_time_limits(future, timeout):
    for call in (future.result, future.exception):
        with pytest.raises(TimeoutError):
            call(timeout)
        with pytest.raises(TimeoutError):
            call(timeout=timeout)


def settled(future, how):
    if how == "cancel":
        future.cancel()
        future.set_running_or_notify_cancel()
    elif how == "result":
        future.set_result(how)
    else:
        future.set_exception(KeyError(how))


@pytest.mark.parametrize("how", ["result", "exception", "cancel"])
def test_callbacks(future, how):
    calls = []
    for number in range(3):
        future.add_done_callback(lambda f, number=number: calls.append((number, f)))
    settled(future, how)
    assert calls == [(0, future), (1, future), (2, future)]
    future.add_done_callback(fn=calls.append)
    assert calls[3:] == [future]


def test_what_a_callback_raises_is_logged_and_the_others_are_called(future, caplog):
    calls = []

    def fail(_):
        raise ZeroDivisionError

    future.add_done_callback(fail)
    future.add_done_callback(calls.append)
    future.set_result(1)
    future.add_done_callback(fail)
    assert calls == [future]
    records = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(records) == 2 and all("exception calling callback" in r.getMessage() for r in records)
    assert all(r.exc_info[0] is ZeroDivisionError for r in records)


def test_what_is_no_exception_comes_out_of_a_callback(future):
    future.add_done_callback(lambda _: sys.exit(3))
    with pytest.raises(SystemExit):
        future.set_result(1)
    assert future.result() == 1


def test_a_callback_may_add_callbacks_and_ask(future):
    seen = []
    future.add_done_callback(lambda f: f.add_done_callback(seen.append))
    future.add_done_callback(lambda f: seen.append(f.result()))
    future.set_result(5)
    assert seen == [future, 5]


@pytest.mark.parametrize("how", ["result", "exception", "cancel"])
def test_many_wait(future, how):
    """Waiters of each kind at once: result(), wait(), as_completed(), the condition, asyncio."""
    ready, got = threading.Barrier(6), []

    def by_condition():
        ready.wait()
        with future._condition:
            return future._condition.wait_for(future.done, 30)

    def by_wait():
        ready.wait()
        return len(concurrent.futures.wait([future], 30).done)

    def by_as_completed():
        ready.wait()
        return list(concurrent.futures.as_completed([future], 30)) == [future]

    def by_result():
        ready.wait()
        return outcome(lambda: future.result(30))

    def by_asyncio():
        async def main():
            wrapped = asyncio.wrap_future(future)
            ready.wait()
            return await wrapped

        return outcome(lambda: asyncio.run(main()))

    calls = [by_condition, by_wait, by_as_completed, by_result, by_asyncio]
    threads = [threading.Thread(target=lambda c=c: got.append((c.__name__, c()))) for c in calls]
    for thread in threads:
        thread.start()
    ready.wait()
    settled(future, how)
    for thread in threads:
        thread.join(30)
    value = {"result": "result", "exception": KeyError}.get(how)
    assert dict(got) == {
        "by_condition": True,
        "by_wait": 1,
        "by_as_completed": True,
        "by_result": value or concurrent.futures.CancelledError,
        "by_asyncio": value or asyncio.CancelledError,
    }


@pytest.mark.parametrize(
    "when", [concurrent.futures.FIRST_COMPLETED, concurrent.futures.FIRST_EXCEPTION, "ALL_COMPLETED"]
)
def test_wait_for_several(make, when):
    """Also with the standard library's futures among them."""
    mixed = [make(), concurrent.futures.Future(), futures.Future()]
    thread = threading.Thread(target=lambda: [f.set_exception(KeyError(1)) for f in mixed])
    thread.start()
    done, rest = concurrent.futures.wait(mixed, 30, when)
    thread.join()
    assert done | rest == set(mixed) and (done == set(mixed) if when == "ALL_COMPLETED" else len(done) >= 1)
    assert all(f._waiters == [] for f in mixed)


def test_attributes_that_programs_touch(make):
    made = make()
    with made._condition, made._condition:
        assert made._state == "PENDING" and made._waiters == [] and made._done_callbacks == []
        made._done_callbacks.append(lambda f: f._result.append(3))
        made._result, made._exception, made._state = [1], None, "FINISHED"
        made._condition.notify_all()
    made._invoke_callbacks()
    assert made.result() == [1, 3] and made.done()
    made._state = "PENDING"
    with pytest.raises(TimeoutError):
        made.result(0)


def test_a_state_that_is_set_by_hand_wakes_who_waits(make):
    made, got = make(), []
    thread = threading.Thread(target=lambda: got.append(made.result(30)))
    thread.start()
    with made._condition:
        made._result, made._state = 4, "FINISHED"
        made._condition.notify_all()
    thread.join(30)
    assert got == [4]


def test_who_holds_the_condition_holds_up_a_change(future):
    order = []
    with future._condition:
        thread = threading.Thread(target=lambda: (future.set_result(1), order.append("set")))
        thread.start()
        time.sleep(0.02)
        order.append("look")
        assert not future.done()
    thread.join(30)
    assert order == ["look", "set"]


def test_it_is_not_pickled_and_is_no_key_of_another(make):
    made = make()
    with pytest.raises(TypeError):
        pickle.dumps(made)
    assert {made: 1}[made] == 1 and made != make()


def test_it_goes_when_nobody_has_it(make):
    made = make()
    made.own, gone = made, weakref.ref(made)  # a cycle, and an attribute of a program's
    made.add_done_callback([made].append)
    made.set_result(made)
    del made
    gc.collect()
    assert gone() is None


def test_subclasses(make):
    class Mine(make):
        def __init__(self, name):
            super().__init__()
            self.name = name

    made = Mine("x")
    made.set_result(2)
    assert made.name == "x" and made.result() == 2 and "Mine" in repr(made)
    assert not isinstance(make(), Mine) and not issubclass(make, Mine) and make[int]


# ---- ours alone


def test_one_class_for_isinstance():
    ours, theirs = futures.Future(), concurrent.futures.Future()
    assert all(isinstance(f, c) for f in (ours, theirs) for c in (futures.Future, concurrent.futures.Future))
    assert issubclass(concurrent.futures.Future, futures.Future) and not isinstance(3, futures.Future)
    assert type(ours) is futures.Future and pickle.loads(pickle.dumps(futures.Future)) is futures.Future


def test_arguments_are_checked():
    made = futures.Future()
    for call in (
        lambda: made.result("1"),
        lambda: made.set_result(),
        lambda: made.result(1, 2),
        lambda: futures.Future(1),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="so so"):
        made._state = "so so"
    with pytest.raises(AttributeError):
        del made._state


def test_a_token_ends_the_wait():
    made, token = futures.Future(), manyhands.CancelToken()
    threading.Timer(0.02, token.cancel, ["enough"]).start()
    with pytest.raises(manyhands.Cancelled, match="enough"):
        made.result(30, cancel=token)
    with pytest.raises(manyhands.Cancelled):
        made.exception(cancel=token)
    made.set_result(3)
    assert made.result(cancel=token) == 3


def test_ctrl_c_ends_the_wait(tmp_path):
    script = (
        "from manyhands.futures import Future\n"
        "print('ready', flush=True)\n"
        "try:\n Future().result()\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=30)[0] == "interrupted\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError()])
def test_ctrl_c_that_has_come_is_told_before_what_a_worker_made_of_it(error):
    future = futures.Future()
    future.set_exception(error)
    at_once = map(operator.call, [_thread.interrupt_main, future.result])  # no bytecode between the two
    with pytest.raises(KeyboardInterrupt) as caught:
        collections.deque(at_once, 0)
    assert caught.value is not error
    assert future.exception() is error


def test_every_thread_sees_the_condition_appear():
    """One thread asks for the condition while another sets the result: whoever is first, nobody waits in vain."""
    for _ in range(300):
        made, start = futures.Future(), threading.Barrier(3)

        def look(made=made, start=start):
            start.wait()
            with made._condition:
                return made._condition.wait_for(made.done, 30)

        def put(made=made, start=start):
            start.wait()
            made.set_result(1)

        threads = [threading.Thread(target=call) for call in (look, put)]
        for thread in threads:
            thread.start()
        start.wait()
        assert made.result(30) == 1
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()


def test_one_of_many_sets_it():
    for _ in range(100):
        made, start, wins = futures.Future(), threading.Barrier(4), []

        def put(number, made=made, start=start, wins=wins):
            start.wait()
            try:
                made.set_result(number)
            except FutureError:
                return
            wins.append(number)

        threads = [threading.Thread(target=put, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert wins == [made.result(0)]


def test_who_begins_a_task_has_it_alone():
    made = core.FutureBase()
    assert made._begin(1) and not made._begin(2) and made.running() and made._runs == 1
    assert made._take_away() == 1 and made._take_away() is None
    assert made._begin(2) and made._cancel_running() and not made._begin(3) and made.cancelled()


def test_an_executors_future_is_collected_with_its_task():
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    with futures.ThreadPoolExecutor(1) as executor:
        kept = executor.submit(id, thing)
        kept.result(30)
        del thing
        executor.submit(int).result(30)  # the worker has gone on
        gc.collect()
        assert gone() is None and kept.done()
