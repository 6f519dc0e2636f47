/* The machine of the exhaustive scheduler: threads as coroutines on stacks of our own. A state is the bytes
 * of the shared memory, of each live stack and of `m`, so going back to a state is copying those bytes
 * back, and two executions that reach equal bytes have equal futures. */
#include "machine.h"

#include "core/os/atomic.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

machine m;
const sched_scenario *scenario;
const char *failure;

static _Alignas(64) char stacks[SCHED_THREADS][STACK_SIZE];
static jmp_buf home;
static actor *running;

/* ---- coroutines: makecontext for the first entry, then _setjmp and _longjmp, which save callee-saved
 * registers only */

static uintptr_t frame_below(void)
{
    return (uintptr_t) __builtin_frame_address(0);
}

static uintptr_t (*volatile below)(void) =
    frame_below; /* through memory: really called, so its frame is below ours */

static void leave(actor *a)
{
    a->sp = (char *) below();
    if (_setjmp(a->context) == 0) {
        _longjmp(home, 1);
    }
}

static void enter(actor *a)
{
    running = a;
    if (_setjmp(home) == 0) {
        _longjmp(a->context, 1);
    }
    running = NULL;
}

static void trampoline(void)
{
    actor *a = running;
    leave(a);
    scenario->thread[a - m.actor]();
    a->status = FINISHED;
    _longjmp(home, 1);
}

static ucontext_t first_return;

static void create(actor *a)
{
    static ucontext_t fresh;
    char *stack = stacks[a - m.actor];
    memset(stack, 0, STACK_SIZE);
    getcontext(&fresh);
    fresh.uc_stack.ss_sp = stack;
    fresh.uc_stack.ss_size = STACK_SIZE;
    fresh.uc_link = NULL;
    makecontext(&fresh, trampoline, 0);
    a->status = READY;
    a->now = FIRST_INSTANT;
    a->operation = "start";
    running = a;
    if (_setjmp(home) == 0) {
        swapcontext(&first_return, &fresh);
    }
    running = NULL;
}

/* ---- what a running thread does */

actor *machine_self(void)
{
    if (!running) {
        fprintf(stderr, "sched: setup and finish must not wait or ask who they are\n");
        abort();
    }
    return running;
}

int machine_index(void)
{
    return (int) (machine_self() - m.actor);
}

void machine_fail(const char *what)
{
    if (!failure) {
        failure = what;
    }
    if (running) {
        _longjmp(home, 1);
    }
    fprintf(stderr, "sched: outside of a thread: %s\n", what);
    abort();
}

/* Whose stack is it in, and is that frame gone? */
static int returned_frame(const void *address, const actor *self)
{
    const char *p = address;
    for (int i = 0; i < m.count; i++) {
        const actor *a = &m.actor[i];
        if (a == self || p < stacks[i] || p >= stacks[i] + STACK_SIZE) {
            continue;
        }
        return a->status == FINISHED || p < a->sp;
    }
    return 0;
}

void machine_yield(const void *address, const char *operation)
{
    actor *a = running;
    if (!a) { /* setup or finish: alone */
        return;
    }
    a->about = address;
    a->operation = operation;
    leave(a);
    if (address && !a->wake && returned_frame(address, a)) { /* waking an address that is gone is harmless */
        machine_fail("touches a frame of another thread that has returned");
    }
}

void machine_sleep(const void *const *words, int count, int64_t deadline)
{
    actor *a = machine_self();
    a->status = ASLEEP;
    memcpy(a->word, words, (size_t) count * sizeof *words);
    a->deadline = deadline;
    a->outcome = OUTCOME_NONE;
    a->operation = "asleep";
    leave(a);
    memset(a->word, 0, sizeof a->word);
    a->deadline = 0;
}

/* ---- the seam of core/os/atomic.h */

void mh_sched_step(const volatile void *address, unsigned size, const char *operation)
{
    if (running) {
        running->size = size;
    }
    machine_yield((const void *) (uintptr_t) address, operation);
}

/* ---- for scenarios */

void sched_check(int holds, const char *what)
{
    if (holds) {
        return;
    }
    if (running) {
        machine_fail(what);
    }
    if (!failure) {
        failure = what;
    }
}

void sched_point(void)
{
    machine_yield(NULL, "point");
}

int sched_me(void)
{
    return machine_index();
}

int sched_dead(int thread)
{
    return m.actor[thread].status == DEAD;
}

int sched_deaths(void)
{
    return m.deaths;
}

int64_t sched_soon(void)
{
    return machine_self()->now + SOON;
}

/* ---- a crash of the code under test is a failure with a trace, too */

static void crashed(int signal)
{
    if (!running) {
        _Exit(128 + signal);
    }
    failure = "crashed";
    _longjmp(home, 1);
}

static void catch_crashes(void)
{
    static char stack[65536];
    static int done;
    if (done++) {
        return;
    }
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction action = {.sa_handler = crashed, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
}

/* ---- moves */

/* As in the kernel, a sleeper stays in line on its words until it runs again: one that was woken on one word, or timed out,
 * may meanwhile take a wake of another, and tells of the last. */
static int place_in_line(const actor *a, const void *word)
{
    for (int i = SLEEP_WORDS - 1; i >= 0; i--) {
        if ((a->status == ASLEEP || a->status == READY) && word && a->word[i] == word) {
            return i;
        }
    }
    return -1;
}

static int sleepers(const void *word)
{
    int count = 0;
    for (int i = 0; i < m.count; i++) {
        count += place_in_line(&m.actor[i], word) >= 0;
    }
    return count;
}

static int anybody_ready(void)
{
    for (int i = 0; i < m.count; i++) {
        if (m.actor[i].status == READY) {
            return 1;
        }
    }
    return 0;
}

static int may_die(int who)
{
    return (scenario->flags & SCHED_PROCESSES) && m.deaths < scenario->deaths &&
           (!scenario->mortal || (scenario->mortal & (1u << who))) &&
           (!scenario->may_die || scenario->may_die(who));
}

static int add(move *list, int n, int kind, int who, int pick)
{
    if (n == MOVES_MAX) {
        abort();
    }
    list[n] = (move){(unsigned char) kind, (unsigned char) who, (unsigned char) pick};
    return n + 1;
}

static int ready_moves(move *list, int n, int who)
{
    const actor *a = &m.actor[who];
    int k = a->wake ? sleepers(a->wake) : 0;
    int choices = k > a->wake_count && a->wake_count > 0 ? k : 1;
    for (int pick = 0; pick < choices; pick++) {
        n = add(list, n, STEP, who, pick);
    }
    return n;
}

static int asleep_moves(move *list, int n, int who, int all_asleep)
{
    const actor *a = &m.actor[who];
    if (a->deadline <= a->now + SOON) {
        n = add(list, n, TIMEOUT, who, 0);
    } else if (a->deadline != INT64_MAX && all_asleep) {
        n = add(list, n, SLICE, who, 0);
    }
    if (m.spurious < scenario->spurious) {
        n = add(list, n, SPURIOUS, who, 0);
    }
    if (m.signals < scenario->signals) {
        n = add(list, n, SIGNAL, who, 0);
    }
    return n;
}

int machine_moves(move *list)
{
    int n = 0, all_asleep = !anybody_ready();
    for (int i = 0; i < m.count; i++) {
        int status = m.actor[i].status;
        if (status == READY) {
            n = ready_moves(list, n, i);
        } else if (status == ASLEEP) {
            n = asleep_moves(list, n, i, all_asleep);
        }
        if ((status == READY || status == ASLEEP) && may_die(i)) {
            n = add(list, n, DIE, i, 0);
        }
    }
    return n;
}

int machine_over(void)
{
    for (int i = 0; i < m.count; i++) {
        if (m.actor[i].status == READY || m.actor[i].status == ASLEEP) {
            return 0;
        }
    }
    return 1;
}

static void get_up(actor *a, int outcome)
{
    a->status = READY;
    a->outcome = outcome;
    a->operation = "woken";
}

static void die(actor *a)
{
    int i = (int) (a - m.actor);
    memset(a, 0, sizeof *a);
    memset(stacks[i], 0, STACK_SIZE);
    a->status = DEAD;
    m.deaths++;
}

/* What lies below the stack pointer is dead: cleared, so that equal states have equal bytes. */
static void clear_below(actor *a)
{
    char *base = stacks[a - m.actor];
    size_t depth = (size_t) (a->sp - base);
    size_t span = depth > 3072 ? 3072 : depth;
    memset(a->sp - span, 0, span);
}

void machine_do(move chosen)
{
    actor *a = &m.actor[chosen.who];
    switch (chosen.kind) {
    case STEP:
        a->pick = chosen.pick;
        clear_below(a);
        enter(a);
        if (a->status == FINISHED) {
            memset(a, 0, sizeof *a);
            a->status = FINISHED;
        }
        break;
    case TIMEOUT:
        a->now = a->deadline;
        get_up(a, OUTCOME_TIMEOUT);
        break;
    case SLICE:
        get_up(a, OUTCOME_TIMEOUT);
        break;
    case SPURIOUS:
        m.spurious++;
        get_up(a, 0);
        break;
    case SIGNAL:
        m.signals++;
        get_up(a, OUTCOME_SIGNAL);
        break;
    default:
        die(a);
        break;
    }
}

void machine_wake(actor *a)
{
    int k = sleepers(a->wake);
    int skip = k > a->wake_count ? a->pick : 0, left = a->wake_count;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < m.count && left > 0; i++) {
            actor *b = &m.actor[i];
            int place = place_in_line(b, a->wake);
            if (place < 0 || skip-- > 0) {
                continue;
            }
            b->word[place] = NULL;
            get_up(b, place > b->outcome ? place : b->outcome);
            left--;
        }
    }
}

/* ---- states */

static int on_stack(const actor *a)
{
    return a->status == READY || a->status == ASLEEP;
}

static size_t depth_of(int i)
{
    return (size_t) (stacks[i] + STACK_SIZE - m.actor[i].sp);
}

static void mix(key *k, const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    while (size) {
        uint64_t x = 0;
        size_t take = size < 8 ? size : 8;
        memcpy(&x, p, take);
        k->a = (k->a ^ x) * UINT64_C(0x9e3779b97f4a7c15);
        k->a ^= k->a >> 32;
        k->b = (k->b + x) * UINT64_C(0xd6e8feb86659fd93);
        k->b ^= k->b >> 29;
        p += take;
        size -= take;
    }
}

key machine_key(void)
{
    key k = {1, 2};
    mix(&k, m.actor, (size_t) m.count * sizeof m.actor[0]);
    mix(&k, &m.deaths, sizeof m.deaths);
    mix(&k, &m.spurious, sizeof m.spurious);
    mix(&k, &m.signals, sizeof m.signals);
    mix(&k, scenario->memory, scenario->size);
    for (int i = 0; i < m.count; i++) {
        if (on_stack(&m.actor[i])) {
            mix(&k, m.actor[i].sp, depth_of(i));
        }
    }
    return k;
}

struct snapshot {
    machine machine;
    char bytes[];
};

snapshot *machine_save(void)
{
    size_t size = sizeof(snapshot) + scenario->size;
    for (int i = 0; i < m.count; i++) {
        if (on_stack(&m.actor[i])) {
            size += depth_of(i);
        }
    }
    snapshot *s = malloc(size);
    if (!s) {
        abort();
    }
    char *to = s->bytes;
    s->machine = m;
    memcpy(to, scenario->memory, scenario->size);
    to += scenario->size;
    for (int i = 0; i < m.count; i++) {
        if (!on_stack(&m.actor[i])) {
            continue;
        }
        memcpy(to, m.actor[i].sp, depth_of(i));
        to += depth_of(i);
    }
    return s;
}

void machine_restore(const snapshot *from)
{
    const char *at = from->bytes;
    m = from->machine;
    memcpy(scenario->memory, at, scenario->size);
    at += scenario->size;
    for (int i = 0; i < m.count; i++) {
        if (!on_stack(&m.actor[i])) {
            continue;
        }
        memcpy(m.actor[i].sp, at, depth_of(i));
        at += depth_of(i);
    }
}

void machine_start(const sched_scenario *s)
{
    catch_crashes();
    scenario = s;
    failure = NULL;
    memset(&m, 0, sizeof m);
    memset(s->memory, 0, s->size);
    if (s->setup) {
        s->setup();
    }
    while (m.count < SCHED_THREADS && s->thread[m.count]) {
        create(&m.actor[m.count]);
        m.count++;
    }
}
