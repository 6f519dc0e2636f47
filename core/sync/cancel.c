/* core/sync/cancel.c - cancel tokens; the word is described in cancel.h. */
#include "core/sync/cancel.h"

#include "core/os/os.h"

_Static_assert(sizeof(mh_cancel) == 8, "part of the shared layout");

void mh_cancel_init(mh_cancel *token, unsigned flags)
{
    token->flags = flags;
    mh_store_rel(&token->word,
                 0); /* pairs with the loads below: `flags` is there for who sees a token used anew */
}

void mh_cancel_request(mh_cancel *token)
{
    int shared = !(token->flags & MH_PRIVATE);
    uint32_t word = mh_load_rlx(&token->word);
    while (!mh_cas_acq_rel(&token->word, &word, (word | MH__REQUESTED) + MH__ONE_REQUEST))
        ; /* pairs with mh__cancel_watch and mh_cancel_requested */
    if (word & MH__WATCHED) {
        mh_os_futex_wake(&token->word, INT32_MAX, shared);
    }
}

void mh_cancel_reset(mh_cancel *token)
{
    mh_and_acq_rel(&token->word, ~MH__REQUESTED);
}

int mh_cancel_requested(const mh_cancel *token)
{
    return (mh_load_acq(&token->word) & MH__REQUESTED) != 0; /* pairs with mh_cancel_request */
}

uint32_t mh__cancel_watch(mh_cancel *token)
{
    uint32_t word = mh_load_acq(&token->word); /* pairs with mh_cancel_request */
    while (!(word & MH__WATCHED) && !mh_cas_acq_rel(&token->word, &word, word | MH__WATCHED))
        ;
    return word | MH__WATCHED;
}
