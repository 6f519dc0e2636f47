/* The private reader-writer lock (core/sync/rwlock_private.c), beyond the two or three threads of tests/core/sched: three
 * threads that read or write as they like, two of them twice; the third may give up its wait. Each step of the model is one atomic
 * access of the word, or one turn under the guard, whose own steps are tests/core/sched's matter; but what is loaded and
 * stored of the word under the guard are two steps, since that is what FROZEN has to protect.
 *
 * A state in which somebody sleeps for ever is an end of the run that is no proper one, which SPIN reports.
 *
 * Broken: NO_FREEZE   the word is not frozen while the guard is held
 *         EARLY_THAW  the word is thawed while somebody stands in line
 *         NO_HAND     who leaves by the guard lets nobody in
 *         OVER_TAKE   a reader goes in by the one CAS although somebody stands in line
 */
#define N 3
#define READ 1
#define WRITE 2
#define HELD 0

byte readers, writer;       /* the word; writer: 1 + who */
bool frozen;
bool guard;                 /* held */
byte ticket[N];             /* READ, WRITE: in line; HELD */
byte line[N], length;       /* who stands in line, in order */
byte reading, writing;      /* inside */
bool passed;                /* somebody went in by the one CAS although the line was not empty */

inline lock_guard() {
    atomic { !guard -> guard = true }
#ifndef NO_FREEZE
    frozen = true
#endif
}

/* Under the guard: load the word, and store what became of it; another step may come in between. */
inline let_in() {
    do
    :: length > 0 && ticket[line[0]] == READ && writer == 0 ->
        seen = readers;
        d_step { readers = seen + 1; who = line[0]; line[0] = line[1]; line[1] = line[2]; length-- };
        ticket[who] = HELD
    :: length > 0 && ticket[line[0]] == WRITE && writer == 0 && readers == 0 ->
        d_step { who = line[0]; writer = who + 1; line[0] = line[1]; line[1] = line[2]; length-- };
        ticket[who] = HELD
    :: else -> break
    od
}

inline unlock_guard() {
    if
#ifdef EARLY_THAW
    :: true -> frozen = false
#else
    :: length == 0 -> frozen = false
    :: else
#endif
    fi;
    guard = false
}

inline leave_line() {
    d_step {
        if
        :: line[0] == me -> line[0] = line[1]; line[1] = line[2]
        :: line[0] != me && line[1] == me -> line[1] = line[2]
        :: else
        fi;
        length--
    }
}

/* held: 1 where it was acquired. */
inline acquire(kind) {
    held = 0;
    if
#ifdef OVER_TAKE
    :: atomic { kind == READ && writer == 0 -> passed = passed || length > 0; readers++; held = 1 }
#else
    :: atomic { kind == READ && writer == 0 && !frozen -> passed = passed || length > 0; readers++; held = 1 }
#endif
    :: atomic { kind == WRITE && writer == 0 && readers == 0 && !frozen -> writer = me + 1; held = 1 }
    :: true ->
        lock_guard();
        if
        :: length == 0 && writer == 0 && kind == READ -> seen = readers; readers = seen + 1; held = 1
        :: length == 0 && writer == 0 && kind == WRITE && readers == 0 -> writer = me + 1; held = 1
        :: else -> d_step { ticket[me] = kind; line[length] = me; length++ }
        fi;
        unlock_guard();
        if
        :: held == 1
        :: held == 0 && ticket[me] == HELD -> held = 1      /* let in, before or after it fell asleep */
        :: held == 0 && may_give_up ->
            lock_guard();
            if
            :: ticket[me] == HELD -> held = 1
            :: else -> leave_line(); ticket[me] = HELD; let_in()
            fi;
            unlock_guard()
        fi
    fi
}

inline release(kind) {
    if
    :: atomic { kind == READ && !frozen -> readers-- }
    :: atomic { kind == WRITE && !frozen -> writer = 0 }
    :: true ->
        lock_guard();
        if
        :: kind == READ -> seen = readers; readers = seen - 1
        :: else -> writer = 0
        fi;
#ifndef NO_HAND
        let_in();
#endif
        unlock_guard()
    fi
}

proctype user(byte me; byte turns; bool may_give_up)
{
    byte turn, seen, who, held, what;
    for (turn : 1 .. turns) {
        if :: what = READ :: what = WRITE fi;
        acquire(what);
        if
        :: held == 1 && what == READ ->
            reading++;
            assert(writing == 0);
            reading--;
            release(READ)
        :: held == 1 && what == WRITE ->
            writing++;
            assert(writing == 1 && reading == 0);
            writing--;
            release(WRITE)
        :: held == 0
        fi
    }
}

init {
    atomic { run user(0, 2, false); run user(1, 2, false); run user(2, 1, true) }
    _nr_pr == 1;
    assert(readers == 0 && writer == 0 && length == 0 && !frozen);
    assert(!passed)
}
