/* A lock whose owner is killed, and what the next owner does about it.
 *
 * Two accounts lie in shared memory; what leaves the one must come to the other. A process is killed halfway,
 * while it holds the lock. With a plain lock everybody else would wait for ever, or go on with money missing.
 * Here the next owner is told, and repairs the accounts from a note that every transfer writes first.
 *
 * Build: cc robust_lock.c $(pkg-config --cflags --libs manyhands)
 */
#include <manyhands/manyhands.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

struct bank {
    mh_lock lock; /* all-zero: shared, unlocked */
    long accounts[2];
    long note[2]; /* what the accounts were before the transfer that is under way */
};

struct clerk {
    mh_process process;
    struct bank *bank;
    int dies;
};

/* Held afterwards in both cases; the accounts are whole. */
static int enter(struct bank *bank)
{
    int rc = mh_lock_acquire(&bank->lock, mh_in_ms(30000), NULL);
    if (rc == MH_OWNER_DIED) {
        printf("the last owner died inside: %ld + %ld\n", bank->accounts[0], bank->accounts[1]);
        bank->accounts[0] = bank->note[0];
        bank->accounts[1] = bank->note[1];
        printf("repaired: %ld + %ld\n", bank->accounts[0], bank->accounts[1]);
    }
    return rc < 0 ? rc : 0;
}

static int transfer(struct bank *bank, long amount, int dies)
{
    int rc = enter(bank);
    if (rc < 0) {
        return rc;
    }
    bank->note[0] = bank->accounts[0];
    bank->note[1] = bank->accounts[1];
    bank->accounts[0] -= amount;
    if (dies) {
        raise(SIGKILL); /* no handler, no clean-up: as the kernel does it when memory runs out */
    }
    bank->accounts[1] += amount;
    mh_lock_release(&bank->lock);
    return 0;
}

static int work(mh_process *self)
{
    struct clerk *clerk = (struct clerk *) self;
    return transfer(clerk->bank, 10, clerk->dies) == 0 ? 0 : 1;
}

static int send_clerk(struct bank *bank, int dies)
{
    struct clerk clerk = {.process.run = work, .bank = bank, .dies = dies};
    int code = 0;
    int rc = mh_process_start(&clerk.process);
    if (rc == 0) {
        rc = mh_process_join(&clerk.process, MH_FOREVER, NULL);
    }
    if (rc == 0) {
        rc = mh_process_exit_code(&clerk.process, &code);
    }
    mh_process_fini(&clerk.process);
    return rc < 0 ? rc : code;
}

int main(void)
{
    struct bank *bank = mmap(NULL, sizeof *bank, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bank == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    bank->accounts[0] = bank->accounts[1] = 100;
    printf("a clerk ends with %d\n", send_clerk(bank, 0));
    printf("a clerk ends with %d\n", send_clerk(bank, 1)); /* minus the signal */
    int rc = transfer(bank, 10, 0);
    long sum = bank->accounts[0] + bank->accounts[1];
    printf("%ld + %ld = %ld\n", bank->accounts[0], bank->accounts[1], sum);
    return rc == 0 && sum == 200 && bank->accounts[0] == 80 ? 0 : 1;
}
