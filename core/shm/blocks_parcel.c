/* core/shm/blocks_parcel.c - parcels: what keeps a block alive while only a message knows of it.
 *
 * A count of messages in the block would not survive a kill between the count and the commit of the message.
 * A parcel knows its sender until the sender says that the message is committed, and ends in the step that
 * gives the receiver its hold. Where a kill leaves it open whether a message was committed or taken, the
 * parcel is ended, and the message, should it turn up, is void: its parcel's generation has passed. A void
 * message was in nobody's hands but the dead one's. */
#include <errno.h>

#include "core/shm/arena.h"

static uint32_t state_of(uint64_t word)
{
    return (uint32_t) word & 3u;
}

static uint64_t word_of(uint64_t generation, uint32_t place, uint32_t state)
{
    return generation << 32 | (uint64_t) place << 8 | state;
}

static mh__parcel *find_parcel(const mh_arena *arena, mh_parcel parcel, uint64_t *word)
{
    uint64_t index = (parcel & UINT32_MAX) - 1;
    if (index >= arena->block_max) {
        return NULL;
    }
    mh__parcel *found = &arena->parcels[index];
    *word = mh_load_acq(&found->word); /* pairs with the commit in mh_block_in_message() */
    return *word >> 32 == parcel >> 32 && state_of(*word) != MH__PARCEL_FREE ? found : NULL;
}

static uint32_t new_parcel(mh_arena *arena)
{
    mh__arena_header *header = arena->header;
    uint32_t index = header->parcel_list;
    if (index != MH__ARENA_NONE) {
        header->parcel_list = arena->parcels[index].next;
    } else if (header->parcel_top < arena->block_max) {
        index = header->parcel_top++;
    }
    return index;
}

int mh_block_in_message(mh_arena *arena, mh_block block, mh_block mailbox, mh_parcel *parcel)
{
    mh__arena_lock(arena);
    int rc = mh__place_need(arena);
    mh__block *entry = mh__block_find(arena, block),
              *box = mailbox != 0 ? mh__block_find(arena, mailbox) : NULL;
    if (entry == NULL || (mailbox != 0 && box == NULL)) {
        rc = MH_E_LOST;
    }
    uint32_t index = rc < 0 ? MH__ARENA_NONE : new_parcel(arena);
    if (rc == 0 && index == MH__ARENA_NONE) {
        rc = MH_E_TOO_MANY;
    }
    if (rc == 0) {
        mh__parcel *made = &arena->parcels[index];
        uint64_t generation = ((mh_load_rlx(&made->word) >> 32) + 1) & UINT32_MAX;
        made->block = block;
        made->mailbox = mailbox;
        entry->messages++;
        if (box != NULL) {
            box->flags |= MH__BLOCK_BOX;
        }
        MH__TRACE("parcel: before the commit"); /* pairs with find_parcel() */
        mh_store_rel(&made->word, word_of(generation, mh_load_rlx(&arena->place), MH__PARCEL_POSTED));
        MH__TRACE("parcel: posted");
        *parcel = generation << 32 | (index + 1);
    }
    mh__arena_unlock(arena);
    return rc;
}

void mh_block_sent(mh_arena *arena, mh_parcel parcel)
{
    uint64_t word;
    mh__parcel *found = find_parcel(arena, parcel, &word);
    /* A failed cas: it was taken already, so there is nothing left to protect. */
    if (found != NULL && state_of(word) == MH__PARCEL_POSTED) {
        (void) mh_cas_acq_rel(&found->word, &word, word_of(word >> 32, 0, MH__PARCEL_SENT));
    }
}

/* The parcel ends; so does its block, where nobody holds it. Returns 1 where the block did. */
static uint32_t release(mh_arena *arena, uint32_t index)
{
    mh__parcel *parcel = &arena->parcels[index];
    mh__block *entry = mh__block_find(arena, parcel->block);
    mh_store_step(&parcel->word, word_of(mh_load_rlx(&parcel->word) >> 32, 0, MH__PARCEL_FREE));
    MH__TRACE("parcel: released");
    parcel->next = arena->header->parcel_list;
    arena->header->parcel_list = index;
    if (entry == NULL || --entry->messages > 0 || !mh__block_is_unheld(entry)) {
        return 0;
    }
    mh__space_put(arena, (uint32_t) (entry - arena->blocks));
    return 1;
}

int mh_block_out_of_message(mh_arena *arena, mh_parcel parcel, mh_block *block)
{
    uint64_t word;
    mh__arena_lock(arena);
    mh__parcel *found = find_parcel(arena, parcel, &word);
    mh_block held = found != NULL ? found->block : 0;
    mh__block *entry = mh__block_find(arena, held);
    int rc = found == NULL || entry == NULL ? MH_E_LOST : mh__place_need(arena);
    if (rc == 0) {
        mh__block_claim(arena, (uint32_t) (entry - arena->blocks));
        (void) release(arena, (uint32_t) (found - arena->parcels));
        *block = held;
    }
    mh__arena_unlock(arena);
    return rc;
}

uint32_t mh__parcel_release_of(mh_arena *arena, const uint64_t dead[MH__ARENA_WORDS])
{
    uint32_t freed = 0;
    for (uint32_t i = 0; i < arena->header->parcel_top; i++) {
        uint64_t word = mh_load_acq(&arena->parcels[i].word);
        uint32_t place = (uint32_t) (word >> 8) & 0xffffffu;
        if (state_of(word) == MH__PARCEL_POSTED && place < MH_ARENA_PLACES &&
            dead[place / 64] >> (place % 64) & 1) {
            freed += release(arena, i);
        }
    }
    return freed;
}

/* Parcels whose mailbox is gone. Releasing one may end a block that is itself a mailbox: again, then. */
void mh__parcel_release_orphans(mh_arena *arena)
{
    while (arena->header->orphans) {
        arena->header->orphans = 0;
        for (uint32_t i = 0; i < arena->header->parcel_top; i++) {
            const mh__parcel *parcel = &arena->parcels[i];
            if (state_of(mh_load_acq(&parcel->word)) != MH__PARCEL_FREE && parcel->mailbox != 0 &&
                mh__block_find(arena, parcel->mailbox) == NULL) {
                (void) release(arena, i);
            }
        }
    }
}

void mh__parcel_recount(mh_arena *arena)
{
    mh__arena_header *header = arena->header;
    for (uint32_t i = 0; i < header->block_top; i++) {
        arena->blocks[i].messages = 0;
    }
    header->parcel_list = MH__ARENA_NONE;
    for (uint32_t i = 0; i < header->parcel_top; i++) {
        mh__parcel *parcel = &arena->parcels[i];
        mh__block *entry = mh__block_find(arena, parcel->block);
        uint64_t word = mh_load_acq(&parcel->word);
        if (state_of(word) != MH__PARCEL_FREE && entry != NULL) {
            entry->messages++;
            continue;
        }
        mh_store_step(&parcel->word, word_of(word >> 32, 0, MH__PARCEL_FREE));
        parcel->next = header->parcel_list;
        header->parcel_list = i;
    }
}
