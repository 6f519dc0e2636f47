/* core/os/ids.c - who I am, who you are, and whether you still live.
 *
 * Process and thread ids are recycled, so a word that other processes read also holds the low half of the
 * start time: a recycled id with the same start tick (10 ms) and 2^32 ticks apart is taken for impossible.
 * All sides must see the same process ids, that is, live in one PID namespace.
 *
 * A thread's key names it in words that only its own process reads. It is the thread id, except after
 * fork(): there the thread that forked goes on under its parent's id, since it still holds what it held.
 * Should the system give that id to a new thread of the child, the new one takes it with KEY_OTHER set.
 */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEY_OTHER 0x20000000u /* above every id: the kernel's limit is 2^22 */

_Thread_local struct mh__tls mh__tls_block MH__TLS_MODEL;
_Atomic(uint32_t) mh__os_forks;
_Atomic(uint64_t) mh__os_self;
/* Written in a child before it has a second thread, so relaxed is enough; atomic, because a thread that the fork left
 * behind may have been reading it, which race detectors carry over into the child. */
static _Atomic(uint32_t) inherited_key;
static _Atomic(uint64_t) self_start; /* of the process that mh__os_self names */

static void after_fork_in_child(void)
{
    struct mh__tls *tls = mh__tls();
    mh_store_rlx(&mh__os_self, 0);
    mh_add_rlx(&mh__os_forks, 1);
    tls->tid = 0;
    tls->who = 0;
    mh_store_rlx(&inherited_key, tls->key);
}

static int register_fork_handler(void)
{
    static _Atomic(int) done;
    int no = 0;
    /* A loser of this race may go on before the winner has registered; both are in no fork of their own. */
    if (mh_load_rlx(&done) || !mh_cas_acq_rel(&done, &no, 1)) {
        return 0;
    }
    int rc = -pthread_atfork(NULL, NULL, after_fork_in_child);
    if (rc != 0) {
        mh_store_rlx(&done, 0);
    }
    return rc;
}

int mh_os_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    int rc = register_fork_handler();
    return rc != 0 ? rc : -pthread_atfork(prepare, parent, child);
}

/* Where the handler cannot be registered nothing is kept that a forked child would take for its own: it is asked for anew
 * each time. */
int mh__os_learn_tid(struct mh__tls *tls)
{
    int tid = (int) syscall(SYS_gettid);
    if (register_fork_handler() == 0) {
        tls->tid = tid;
    }
    return tid;
}

uint32_t mh__os_learn_key(struct mh__tls *tls)
{
    uint32_t tid = (uint32_t) mh_os_tid();
    tls->key = tid == mh_load_rlx(&inherited_key) ? tid ^ KEY_OTHER : tid;
    return tls->key;
}

uint64_t mh__os_learn_who(struct mh__tls *tls)
{
    int tid = mh_os_tid();
    uint64_t who = (uint64_t) (uint32_t) tid | mh_os_start_time(tid) << 32;
    if (register_fork_handler() == 0) {
        tls->who = who;
    }
    return who;
}

uint64_t mh__os_learn_self(void)
{
    int pid = (int) getpid();
    uint64_t start = mh_os_start_time(pid), self = (uint64_t) (uint32_t) pid | start << 32;
    if (register_fork_handler() == 0) {
        mh_store_rlx(&self_start, start);
        mh_store_rel(&mh__os_self, self); /* pairs with the load in mh_os_start_time() */
    }
    return self;
}

struct stat_line {
    char state;
    long threads;
    uint64_t start;
};

/* The fields of /proc/ID/stat that follow the name, which is in parentheses and may itself hold spaces and
 * parentheses. */
static int parse_stat(const char *text, struct stat_line *line)
{
    const char *p = strrchr(text, ')');
    if (p == NULL || p[1] != ' ') {
        return -EINVAL;
    }
    p += 2;
    line->state = *p; /* field 3 */
    for (int field = 3; field <= 22; field++) {
        if (field == 20) {
            line->threads = strtol(p, NULL, 10);
        }
        if (field == 22) {
            line->start = strtoull(p, NULL, 10);
        }
        p = strchr(p, ' ');
        if (p == NULL) {
            return field < 22 ? -EINVAL : 0;
        }
        p++;
    }
    return 0;
}

/* By way of /proc/ID/task, which every id has, a thread's as well: a user-space emulator (qemu) makes up a process's own
 * /proc/ID/stat, with a start time that others do not see. */
static int read_stat(int id, struct stat_line *line)
{
    char path[64], text[1024];
    const char *limit = path + sizeof path;
    char *end = mh__put_number(mh__put_text(path, limit, "/proc/"), limit, (uint64_t) id, 10);
    end = mh__put_number(mh__put_text(end, limit, "/task/"), limit, (uint64_t) id, 10);
    mh__put_text(end, limit, "/stat");
    ssize_t size = mh__read_text(path, text, sizeof text);
    if (size < 0) {
        return (int) size;
    }
    int saved = errno; /* strtol */
    int rc = parse_stat(text, line);
    errno = saved;
    return rc;
}

uint64_t mh_os_start_time(int id)
{
    struct stat_line line;
    uint64_t self = mh_load_acq(&mh__os_self); /* pairs with the store in mh__os_learn_self() */
    if (self != 0 && (int) (uint32_t) self == id) {
        return mh_load_rlx(&self_start);
    }
    return id > 0 && read_stat(id, &line) == 0 ? line.start : 0;
}

/* Without /proc (hidden, not mounted) all that can be asked is whether the id is in use; a zombie passes for
 * alive then. */
static int id_in_use(int id)
{
    int saved = errno;
    return mh__result(kill(id, 0), saved) != -ESRCH;
}

int mh_os_alive(uint64_t who)
{
    int id = (int) (who & UINT32_MAX);
    uint32_t start = (uint32_t) (who >> 32);
    struct stat_line line;
    if (id <= 0) {
        return 0;
    }
    if (who == mh_load_rlx(&mh__os_self)) {
        return 1;
    }
    if (read_stat(id, &line) < 0) {
        return id_in_use(id);
    }
    if (start != 0 && (uint32_t) line.start != start) {
        return 0;
    }
    /* A main thread that ended before the others is a zombie with company, and the process lives. */
    return (line.state != 'Z' && line.state != 'X' && line.state != 'x') || line.threads > 1;
}
