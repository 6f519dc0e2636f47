/* core/shm/channel_bell.c - the descriptor that says "there is something to take" to select().
 *
 * Level semantics over an eventfd (channel) or a socket (pipe). Everything here happens under the tail's
 * lock: no put can commit meanwhile, so "the ring is empty" stays true until the descriptor is silenced, and
 * nobody has to look again. `rung` (1: written since it was last silenced) spares producers the system call
 * while it is readable already.
 *
 * Death: the write comes before `rung`, so a death between them costs one needless write. A producer that
 * died between its commit and the write is repaired by the next holder of the tail; where none comes,
 * mh_channel_ring() is for whoever watches over the participants. A consumer that died before it silenced
 * leaves the descriptor readable for nothing: whoever is told finds the ring empty and silences it.
 */
#include "core/debug/trace.h"
#include "core/os/os.h"
#include "core/shm/channel_ring.h"

static void ring_bell(struct mh__view *view)
{
    uint64_t one = 1;
    unsigned char bell = MH__BELL_BYTE;
    int is_event = view->bell_out == view->bell_in;

    /* An eventfd takes eight bytes, a socket one. Where either is full it is readable: nothing is missing. */
    if (view->bell_out >= 0) {
        (void) mh_os_write(view->bell_out, is_event ? (void *) &one : &bell, is_event ? sizeof one : 1);
        MH__TRACE("bell.rung");
        mh_store_rlx(&view->ring->rung, 1);
    }
}

static int something_to_tell(struct mh__view *view)
{
    return !mh__ring_is_empty(view) || mh_load_rlx(&view->ring->closed);
}

void mh__bell_after_commit(struct mh__view *view)
{
    if (mh_load_rlx(&view->ring->select) && !mh_load_rlx(&view->ring->rung) && something_to_tell(view)) {
        MH__TRACE("bell.unrung");
        ring_bell(view);
    }
}

void mh__bell_enable(struct mh__view *view)
{
    mh__tail_enter(view);
    mh_store_rlx(&view->ring->select, 1);
    if (something_to_tell(view)) { /* whatever was believed before: say it again */
        ring_bell(view);
    }
    mh__tail_leave(view);
    mh__bell_if_empty(view);
}

void mh__bell_strip(int socket)
{
    unsigned char bytes[64];
    ssize_t got, bells;

    do {
        got = mh_os_look_at(socket, bytes, sizeof bytes);
        for (bells = 0; bells < got && bytes[bells] == MH__BELL_BYTE; bells++) {
        }
        if (bells > 0) {
            (void) mh_os_read(socket, bytes, (size_t) bells);
        }
        MH__TRACE("bell.silenced");
    } while (got == (ssize_t) sizeof bytes && bells == got);
}

void mh__bell_silence(struct mh__view *view)
{
    uint64_t count;

    if (view->bell_in < 0) {
        return;
    }
    mh__tail_enter(view);
    if (!something_to_tell(view)) {
        mh_store_rlx(&view->ring->rung, 0);
        if (view->bell_in == view->bell_out) {
            (void) mh_os_read(view->bell_in, &count, sizeof count);
            MH__TRACE("bell.silenced");
        } else {
            mh__bell_strip(view->bell_in);
        }
    }
    mh__tail_leave(view);
}
