/* Every test of tests/core again, once for each call that the system can refuse, with that call refused: the Nth of all
 * that its processes make in core/, for every N.
 *
 * The test was not written for that. So it goes well, since the refusal was overcome, and has left no more behind than
 * without one; or a check of it fails, since an error came back, or for what followed from that. What must not be: a
 * crash, a panic, a hang, a report of a sanitizer. A wait on a futex that is refused says that the word has changed, which
 * the core overcomes (that a signal interrupted it would be the caller's to overcome, and these tests do not). Storms and
 * others that do the same over and over do so a tenth as often (t_rounds). tests/core/fault/test_fault.c has scenarios that
 * go on after the error.
 *
 *   fault_lock                        every test of test_lock.c, every N
 *   T_FAULT_STEP=20 fault_lock        above 40 only each N that is a twentieth more than the one before
 *   T_FAULT_WHOLE=1000 (with STEP)    above 1000 instead: a test with so many calls makes the same ones in a loop
 *   T_FAULT_TEST=cancel fault_lock    this test alone
 *   T_VERBOSE=1 fault_lock            say what came of each N
 */
#include "tests/core/fault/inject.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manyhands/error.h"
#include "tests/core/harness.h"

#define NEVER 10000000 /* no test makes so many calls: nothing is refused */
#define CLEAN_RUNS 3
/* What is left behind is left behind each time, and so with what hangs: ASan's allocator knows nothing of fork(), and a
 * child that is forked beside a thread that allocates may wait in there for ever. */
#define TRIES 3

enum verdict { OVERCOME, CAME_BACK, FOLLOWED, LEFT, BAD, DONE, VERDICTS };
static const char *const words[VERDICTS] = {"overcome",    "came back", "followed",
                                            "left behind", "BAD",       "done"};

/* What a run of a test says of itself, in shared memory. */
static struct said {
    atomic_int failed; /* 2: `value` and `text` are those of the first check that failed */
    long long value;
    char text[400];
    atomic_int ended; /* the test has returned, and `left` is what it left behind */
    struct inventory left;
} *said;

static pid_t runner;
static int fails_in_a_child; /* a check of this test fails, as it must, in a process of its own */
static int errors =
    STDERR_FILENO; /* stderr of all tests: a file, shown where something is not as it must be */

void t_on_failure(const char *file, int line, const char *text, long long value)
{
    int none = 0;
    if (said != NULL && atomic_compare_exchange_strong(&said->failed, &none, 1)) {
        said->value = value;
        snprintf(said->text, sizeof said->text, "%s:%d: %s", file, line, text);
        atomic_store(&said->failed, 2);
    }
}

static int has_failed(void)
{
    return atomic_load(&said->failed) == 2;
}

/* At exit() of the test's process; its children end otherwise. */
static void note_what_is_left(void)
{
    if (getpid() != runner) {
        said->left = inject_inventory();
        atomic_store(&said->ended, 1);
    }
}

static int run(const struct t_case *test, long n, double limit, char *why, size_t size)
{
    memset(said, 0, sizeof *said);
    CHECK(ftruncate(errors, 0) == 0 && lseek(errors, 0, SEEK_SET) == 0);
    inject_at(n);
    return t_run_once(test, limit, fails_in_a_child ? NULL : has_failed, why, size);
}

static int is_more(const struct inventory *a, const struct inventory *b)
{
    return a->blocks > b->blocks || a->maps > b->maps || a->descriptors > b->descriptors;
}

static void take_larger(struct inventory *all, const struct inventory *one)
{
    all->blocks = one->blocks > all->blocks ? one->blocks : all->blocks;
    all->maps = one->maps > all->maps ? one->maps : all->maps;
    all->descriptors = one->descriptors > all->descriptors ? one->descriptors : all->descriptors;
}

/* How long it takes, and the most that it leaves, where nothing is refused. 0, 1 failed, T_SKIPPED. */
static int run_clean(const struct t_case *test, struct inventory *left, double *seconds)
{
    char why[128];
    memset(left, 0, sizeof *left);
    *seconds = 0;
    fails_in_a_child = 1;
    for (int i = 0; i < CLEAN_RUNS; i++) {
        double start = t_now();
        int result = run(test, NEVER, test->limit * t_scale(), why, sizeof why);
        if (result != 0) {
            printf("%-7s %-44s %s\n", result == T_SKIPPED ? "skipped" : "FAILED", test->name, why);
            return result;
        }
        *seconds = t_now() - start > *seconds ? t_now() - start : *seconds;
        take_larger(left, &said->left);
    }
    fails_in_a_child = has_failed();
    return 0;
}

static enum verdict judge_one(const struct t_case *test, long n, const struct inventory *clean, double limit,
                              char *why, size_t size)
{
    int result = run(test, n, limit, why, size);
    if (has_failed() && !(fails_in_a_child && result == 0)) {
        snprintf(why, size, "%s", said->text);
        int is_code = said->value < 0 && strcmp(mh_error_name((int) said->value), "?") != 0;
        return inject_fired() == NULL ? BAD : is_code ? CAME_BACK : FOLLOWED;
    }
    if (result != 0) {
        return result == T_SKIPPED && inject_fired() != NULL ? FOLLOWED : BAD;
    }
    if (inject_fired() == NULL) {
        return DONE;
    }
    if (atomic_load(&said->ended) && is_more(&said->left, clean)) {
        snprintf(why, size, "%ld blocks, %ld mappings, %ld descriptors more",
                 said->left.blocks - clean->blocks, said->left.maps - clean->maps,
                 said->left.descriptors - clean->descriptors);
        return LEFT;
    }
    return OVERCOME;
}

static void show_errors(void)
{
    char text[4096];
    off_t at = 0;
    for (ssize_t size; (size = pread(errors, text, sizeof text, at)) > 0; at += size) {
        (void) fwrite(text, 1, (size_t) size, stdout);
    }
}

static enum verdict judge(const struct t_case *test, long n, const struct inventory *clean, double limit,
                          char *why, size_t size)
{
    enum verdict verdict = LEFT;
    int hangs = 1;
    for (int tries = 0; (verdict == LEFT || hangs) && tries < TRIES; tries++) {
        verdict = judge_one(test, n, clean, limit, why, size);
        hangs = verdict == BAD && strncmp(why, "not done after", 14) == 0;
    }
    const char *call = inject_fired();
    if (verdict == BAD || verdict == LEFT || (getenv("T_VERBOSE") != NULL && verdict != DONE)) {
        printf("    %s: call %ld (%s): %s: %s\n", test->name, n, call != NULL ? call : "none", words[verdict],
               why);
        if (verdict == BAD) {
            show_errors();
        }
        fflush(stdout);
    }
    return verdict;
}

static long next_after(long n)
{
    const char *step = getenv("T_FAULT_STEP"), *whole = getenv("T_FAULT_WHOLE");
    return n + 1 + (step != NULL && n > (whole != NULL ? atol(whole) : 40) ? n / atoi(step) : 0);
}

/* 0, or 1 where one of its runs was not as it must be. */
static int sweep(const struct t_case *test)
{
    char why[512];
    struct inventory clean;
    double seconds;
    int counts[VERDICTS] = {0}, result = run_clean(test, &clean, &seconds);
    if (result != 0) {
        return result != T_SKIPPED;
    }
    t_patience = 1;
    long n = 1;
    do {
        counts[judge(test, n, &clean, 3 * t_scale() + 10 * seconds, why, sizeof why)]++;
        n = next_after(n);
    } while (inject_fired() != NULL);
    t_patience = 10;
    result = counts[BAD] + counts[LEFT] > 0;
    printf("%-7s %-44s %d overcome, %d came back as errors, %d led to another check's failure\n",
           result ? "FAILED" : "ok", test->name, counts[OVERCOME], counts[CAME_BACK], counts[FOLLOWED]);
    fflush(stdout);
    return result;
}

int t_run_otherwise(struct t_case *first)
{
    const char *only = getenv("T_FAULT_TEST");
    int failed = 0;
    runner = getpid();
    t_rounds_divisor = 10;
    said = t_shared(sizeof *said);
    inject_begin();
    inject_wait_error(EAGAIN);
    CHECK_EQ(atexit(note_what_is_left), 0);
    FILE *file = tmpfile();
    CHECK(file != NULL && dup2(fileno(file), STDERR_FILENO) == STDERR_FILENO);
    for (; first != NULL; first = first->next) {
        if (only == NULL || strcmp(only, first->name) == 0) {
            failed += sweep(first);
        }
    }
    return failed > 0;
}
