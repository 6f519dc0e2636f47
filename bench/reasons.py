"""Why a row is behind its goal, or missing, said in one line each."""

_NOT_YET_DICT = "SharedDict is not built yet"
_STDLIB_POOL = "Pool is the standard library's so far, on its own pipes"
_STDLIB_VALUES = "Value and Array are the standard library's ctypes wrappers so far; only their lock is ours"
_IMPORTS = "imports in the child decide this; a warm, preloaded server is not built yet"
_COLLECTOR = "results pass through one Python thread, and the standard library's Future; both are to go"
_FAST_PEER = "the peer is faster on this Python than on the one the goal was set on"

REASONS: dict[str, str] = {
    "shared/dict-get": _NOT_YET_DICT,
    "shared/dict-set": _NOT_YET_DICT,
    "pool/interpreters-submit": "InterpreterPoolExecutor is the standard library's so far",
    "pool/pool-map": _STDLIB_POOL,
    "pool/create-fork": _STDLIB_POOL,
    "pool/create-forkserver": _STDLIB_POOL,
    "pool/create-spawn": _STDLIB_POOL,
    "mp/value-get": _STDLIB_VALUES,
    "mp/array-item": _STDLIB_VALUES,
    "mp/process-fork": "a place in the arena is reserved for each child; the fork itself is the standard library's",
    "mp/process-forkserver": _IMPORTS,
    "mp/process-spawn": _IMPORTS,
    "future/cycle": "Future is the standard library's so far",
    "pool/threads-submit": _COLLECTOR,
    "pool/processes-submit": _COLLECTOR,
    "pool/processes-map": _COLLECTOR,
    "pool/processes-roundtrip": _COLLECTOR,
    "thread/semaphore": _FAST_PEER,
    "thread/bounded-semaphore": _FAST_PEER,
    "thread/event-set": _FAST_PEER + ": 20 ns are mostly the call itself",
    "thread/event-wait": _FAST_PEER + ": 16 ns are mostly the call itself",
    "thread/barrier": _FAST_PEER,
    "thread/condition-notify": _FAST_PEER,
    "thread/start-join": "the life cycle is the standard library's; a subclass's few lines come on top",
    "thread/pingpong-event": "two switches of the GIL and two futex calls on one core; the rest is gone",
    "thread/pingpong-condition": "as pingpong-event, and the lock is taken once more on each side",
    "queue/pingpong": "two switches of the GIL and two futex calls on one core; the rest is gone",
    "queue/queue-2p2c": _FAST_PEER,
    "queue/queue": _FAST_PEER,
    "mp/event-set": _FAST_PEER + ": 20 ns are mostly the call itself",
    "mp/event-wait": _FAST_PEER + ": 16 ns are mostly the call itself",
    "mp/pingpong-event": "two futex calls and two switches of processes on one core; the rest is gone",
    "mp/pingpong-condition": "the waiter is woken before the notifier lets go of the lock, and waits for it again",
    "mp/pipe-pingpong": "two futex calls and two switches of processes on one core; the rest is gone",
    "mp/pipe-100mb": "a fresh buffer of 100 MB for each message: page faults, not copying",
}
