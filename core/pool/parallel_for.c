/* core/pool/parallel_for.c - a loop cut into pieces, which the caller and the pool's free threads take in turn.
 *
 * The caller takes part until no piece is left, then takes back those helpers that never began and waits for
 * the others. So it waits only for pieces that run: nested loops, and loops in a pool whose threads are all
 * busy, come to their end.
 */
#include <errno.h>

#include "core/os/atomic.h"
#include "core/pool/pool.h"
#include "manyhands/thread.h"

enum { HELPERS = 64 }; /* on the caller's stack */

struct loop {
    int (*body)(int64_t first, int64_t end, void *arg);
    void *arg;
    int64_t first, end;
    uint64_t grain, pieces;
    mh_deadline deadline;
    mh_cancel *cancel;
    _Atomic(uint64_t) next; /* piece */
    _Atomic(int) rc;        /* the first that is not 0; then no piece begins any more */
};

struct helper {
    mh_task task;
    struct loop *loop;
};

static void stop(struct loop *loop, int rc)
{
    int none = 0;
    (void) mh_cas_acq_rel(&loop->rc, &none, rc);
}

static int may_begin(struct loop *loop)
{
    if (loop->cancel != NULL && mh_cancel_requested(loop->cancel)) {
        stop(loop, -ECANCELED);
    } else if (loop->deadline != MH_FOREVER && loop->deadline <= mh_now()) {
        stop(loop, -ETIMEDOUT);
    }
    return mh_load_acq(&loop->rc) == 0;
}

/* Pieces, until none is left or one says stop. Unsigned: the range may be wider than an int64_t. */
static void take_part(struct loop *loop, int caller)
{
    while (may_begin(loop)) {
        if (caller && mh_checkpoint() < 0) {
            stop(loop, -ECANCELED);
            return;
        }
        uint64_t piece = mh_add_rlx(&loop->next, 1);
        if (piece >= loop->pieces) {
            return;
        }
        uint64_t offset = piece * loop->grain, width = (uint64_t) loop->end - (uint64_t) loop->first;
        uint64_t size = width - offset < loop->grain ? width - offset : loop->grain;
        int64_t first = (int64_t) ((uint64_t) loop->first + offset);
        int rc = loop->body(first, (int64_t) ((uint64_t) first + size), loop->arg);
        if (rc != 0) {
            stop(loop, rc);
        }
    }
}

static int help(mh_task *task)
{
    take_part(((struct helper *) task)->loop, 0);
    return 0;
}

static void run_loop(mh_pool *pool, struct loop *loop)
{
    struct helper helpers[HELPERS];
    uint64_t most = loop->pieces - 1 < HELPERS ? loop->pieces - 1 : HELPERS;
    uint32_t count = 0;
    most = most < mh_pool_workers(pool) ? most : mh_pool_workers(pool);
    while (count < most) {
        helpers[count] = (struct helper){.task.run = help, .loop = loop};
        if (mh_pool_submit(pool, &helpers[count].task) < 0) { /* closed meanwhile: the caller does it alone */
            break;
        }
        count++;
    }
    take_part(loop, 1);
    while (count > 0) {
        mh__task_finish(&helpers[--count].task);
    }
}

int mh_parallel_for(mh_pool *pool, int64_t first, int64_t end, int64_t grain,
                    int (*body)(int64_t first, int64_t end, void *arg), void *arg, mh_deadline deadline,
                    mh_cancel *cancel)
{
    if (body == NULL || grain < 0) {
        return -EINVAL;
    }
    int rc = mh__pool_usable(pool);
    if (rc < 0 || first >= end) {
        return rc;
    }
    uint64_t width = (uint64_t) end - (uint64_t) first;
    uint64_t share = width / (8 * ((uint64_t) mh_pool_workers(pool) + 1)); /* eight pieces for each thread */
    struct loop loop = {
        .body = body, .arg = arg, .first = first, .end = end, .deadline = deadline, .cancel = cancel};
    loop.grain = grain > 0 ? (uint64_t) grain : share > 0 ? share : 1;
    loop.pieces = (width - 1) / loop.grain + 1;
    run_loop(pool, &loop);
    return mh_load_acq(&loop.rc);
}
