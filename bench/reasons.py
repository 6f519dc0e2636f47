"""Why a row is behind its goal, or missing, said in one line each. What was not measured is called a guess."""

_NOT_YET_DICT = "SharedDict is not built yet"
_VALUE = (
    "the read itself, without taking the lock, is a third of it; the look-up, the call and the int are Python's. The "
    "peer is faster here than where the goal was set"
)
_FAST_PEER = (
    "ours takes what a bare C call does, 15 to 30 ns; the peer is faster here than where the goal was set"
)

_TURNS = (
    "where the system lets the peer's threads run one after the other for whole time slices, they do not contend, and "
    "both take what a free lock takes; where they meet, ours takes half as long"
)
_LINES = (
    "5 to 7x from run to run, less on busy cores: where the consumer keeps up with the producer, each "
    "message's lines go from core to core; where it does not, ten at a time"
)
_SHARED_FUTEX = (
    "the same system calls, but a futex that processes share is found through the page tables, 60 ns a call (perf), "
    "and 40 ns of locks and looks an end: 2.7 µs a round trip to 2.3"
)

_LARGE = (
    "on busy cores: a message wakes who sleeps (0.8 futex calls a message), whose start takes longer than the copy; on "
    "one core, where they take turns, 64 KB are 2.2 to 2.6x. A guess: a pipe's wake keeps both on one core"
)

# The Python from which on the peer is there; below it the row is not one that is missing.
SINCE: dict[str, tuple[int, int]] = {"pool/interpreters-submit": (3, 14)}

REASONS: dict[str, str] = {
    "c/lock-nsync": "one atomic instruction each way in both; which is ahead differs from run to run by a tenth",
    "c/lock-crowd": _TURNS,
    "c/rwlock-contended": _TURNS,
    "c/rwlock-read-nsync": "ours remembers who reads, so that an upgrade and a wrong release are told",
    "c/channel-pingpong": "46 to 55x on idle cores; where other work keeps one of them busy, both run on the other, "
    "where the kernel hands a pipe's turn on without a queue (a guess: its synchronous wake): 0.5 to 0.9x",
    "c/channel-pingpong-1core": _SHARED_FUTEX,
    "c/channel-pingpong-2cores": "the same two wakes between cores in both, 60 µs; a process that may run on one core "
    "only does not spin",
    "c/barrier": "0.95 to 1.1x from run to run where the system puts both on one core: both sleep and wake as much. "
    "On two cores it is c/barrier-2cores",
    "c/channel": _LINES,
    "c/channel-8-pipe": _LINES,
    "c/cond-pingpong-2cores": "the same wakes and sleeps between cores in both, 60 µs a turn: 0.87 to 1.04x from run "
    "to run, where one core alone shows 1.13x",
    "c/sem-pingpong-2cores": "the same wake and sleep in both, 0.96 to 1.1x from run to run; a pair that "
    "once meets awake takes 1.3 µs, not 50, for the rest",
    "c/thread-start-join": "15 system calls where the peer's thread takes 10 (strace): a join that can be cancelled "
    "sleeps on a word of ours, then in the system's join; its id, its processor time. In all 5 of 25 µs on one core",
    "c/channel-64k": _LARGE,
    "c/channel-1m": _LARGE,
    "c/process-start-join": "19 system calls, where a fork and its wait need 3 (pidfd, start times from /proc, wait), "
    "and 39 page faults in both processes, where they have 18 (the arena, code that the child runs): strace, getrusage",
    "shared/dict-get": _NOT_YET_DICT,
    "shared/dict-set": _NOT_YET_DICT,
    "pool/processes-submit": "16 to 27x from run to run, with how long the two cores run at the same time: the pairs "
    "of one run are 11 to 22x apart",
    "pool/processes-map": "15.8 to 24x from run to run, for the same reason: pairs of one run are 12 to 35x apart",
    "pool/start-executor": "as many system calls as the peer (strace: 397 lines to 425), but a larger process to "
    "fork: 13 MB of memory of its own to 8, 0.35 ms to 0.26 for a bare fork; 0.9 to 1x on cores that do nothing else. "
    "Where numpy is loaded, as in a run of all rows, 0.8 to 0.9x: its libraries are looked for, 0.9 ms, and told",
    "pool/start-pool": "0.99 to 1.07x from run to run",
    "pool/pool-map": "9 to 15x from run to run: parent and workers run Python for each task, 1.5 µs in all",
    "pool/create-fork": "two forks, two ends of processes and the threads beside them, in both: 7 ms of processor "
    "time the peer's, 8 ours, of a larger process (13 MB of its own to 8). The peer takes 6 ms here, "
    "27 where the goal was set",
    "pool/create-forkserver": "two forks of a warm server, one after the other, take 5 of 7.5 ms, the end of the "
    "workers the rest; the peer's children take 15, not the 89 of the machine on which the goal was set",
    "pool/create-spawn": "2.2 to 2.8x from run to run: the workers come from a zygote, and the end of an "
    "interpreter, which copies 1,800 pages there, takes 6 of a worker's 13 ms (docs/design/0026); the pool that begins "
    "the zygote is the slowest pair",
    "mp/value-get": _VALUE,
    "mp/array-item": _VALUE,
    "mp/process-fork": "12 pages more to copy in the parent and 20 in the child, and three looks at start times in "
    "/proc (25 µs each with the place in the arena): 0.15 of 1.7 ms, half of it while both run",
    "mp/process-forkserver": "the fork of a warm server takes 0.9 of 3.2 ms, its child's life and end 2.4; the "
    "peer's child takes 10 to 12, not the 25 of the machine on which the goal was set",
    "mp/queue-numpy-shared-80mb": "300 to 617x from run to run: nothing is copied; ours is the reading of one "
    "element of each of 19,500 pages",
    "mp/event-set": _FAST_PEER,
    "mp/event-wait": _FAST_PEER,
    "mp/pingpong-event": "not profiled (a guess: two futex calls and two switches of processes are what is left)",
    "mp/pingpong-condition": "two futex wakes, two waits and two switches of processes, nothing more (strace); they "
    "are three quarters of it, as in mp/pingpong-event",
    "mp/pipe-pingpong": "8 µs on one core, half of it the system's: two futex wakes, two waits, two switches, which "
    "take 5.8 in a bare C program; the goal would leave 1.6 for two sends and two receives in Python",
    "mp/pipe-1mb": "6 to 9x from run to run: two copies of 1 MB from core to core take 110 of 125 µs a turn; the first "
    "three turns, in fresh pages of both processes, take 300 to 600",
    "mp/pipe-100mb": "6 to 9x from run to run, with how much of the second core there is for the copies: 10 ms into "
    "the arena by two threads, 15 out into fresh bytes, in bare C too",
}
