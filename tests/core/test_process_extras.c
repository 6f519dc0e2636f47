/* What a process starts with, the group that it leads, and the first of many to end. */
#include "tests/core/process_workers.h"

#include <stdlib.h>

static int run_shell(const char *text, mh_process *process)
{
    char *const argv[] = {(char *) (uintptr_t) "sh", (char *) (uintptr_t) "-c", (char *) (uintptr_t) text,
                          NULL};
    int code = -99;
    process->argv = argv;
    int rc = mh_process_start(process);
    if (rc < 0) {
        return rc;
    }
    CHECK_EQ(mh_process_join(process, soon(), NULL), 0);
    CHECK_EQ(mh_process_exit_code(process, &code), 0);
    mh_process_fini(process);
    return code;
}

static const char *read_all(int fd)
{
    static char text[256];
    size_t size = 0;
    ssize_t got;
    while ((got = read(fd, text + size, sizeof text - 1 - size)) > 0) {
        size += (size_t) got;
    }
    text[size] = '\0';
    return text;
}

/* ---- directory and descriptors ---- */

TEST(a_program_starts_in_its_directory)
{
    mh_process process = {.cwd = "/proc/self"};
    CHECK_EQ(run_shell("test \"$(pwd -P)\" = /proc/$$", &process), 0);
    process = (mh_process){.cwd = "/proc/no such folder"};
    CHECK_EQ(run_shell("exit 0", &process), -ENOENT);
    process = (mh_process){.cwd = NULL};
    CHECK_EQ(run_shell("exit 4", &process), 4); /* the struct serves again */
}

TEST(descriptors_are_redirected_all_at_once)
{
    int out[2], swap[2];
    CHECK(pipe(out) == 0 && pipe(swap) == 0);
    /* its stdout and stderr are the pipe; swap[0] and swap[1] are exchanged; one number high above all */
    const mh_redirect redirects[] = {
        {out[1], 1}, {out[1], 2}, {swap[0], swap[1]}, {swap[1], swap[0]}, {0, 100}};
    char text[200];
    mh_process process = {.redirects = redirects, .redirect_count = 5, .flags = MH_PROCESS_DIE_WITH_PARENT};
    snprintf(
        text, sizeof text,
        "echo one; echo two >&2; echo through >&%d; test -e /proc/self/fd/100 && ! test -e /proc/self/fd/%d",
        swap[0], out[0]);
    CHECK_EQ(run_shell(text, &process), 0);
    close(out[1]);
    close(swap[1]);
    CHECK_STR_EQ(read_all(out[0]), "one\ntwo\n");
    CHECK_STR_EQ(read_all(swap[0]), "through\n");
}

/* What the library itself keeps open there gives way. */
TEST(redirects_onto_every_low_number)
{
    enum { COUNT = 40 };
    mh_redirect redirects[COUNT];
    for (int i = 0; i < COUNT; i++) {
        redirects[i] = (mh_redirect){1, i + 3};
    }
    mh_process process = {
        .redirects = redirects, .redirect_count = COUNT, .flags = MH_PROCESS_DIE_WITH_PARENT};
    CHECK_EQ(run_shell("exit 6", &process), 6);
    process =
        (mh_process){.redirects = redirects, .redirect_count = COUNT, .flags = MH_PROCESS_DIE_WITH_PARENT};
    CHECK_EQ(run_shell("kill -9 $$", &process), -SIGKILL);
}

static int write_to_stdout(mh_process *self)
{
    (void) self;
    char folder[64];
    CHECK(getcwd(folder, sizeof folder) != NULL);
    printf("%s", folder);
    return 3;
}

TEST(a_function_has_them_as_well)
{
    int out[2], code;
    CHECK_EQ(pipe(out), 0);
    const mh_redirect redirects[] = {{out[1], 1}};
    mh_process process = {.run = write_to_stdout, .cwd = "/", .redirects = redirects, .redirect_count = 1};
    CHECK_EQ(mh_process_start(&process), 0);
    CHECK_EQ(mh_process_join(&process, soon(), NULL), 0);
    CHECK_EQ(mh_process_exit_code(&process, &code), 0);
    CHECK_EQ(code, 3);
    mh_process_fini(&process);
    close(out[1]);
    CHECK_STR_EQ(read_all(out[0]), "/");
    process = (mh_process){.run = write_to_stdout, .cwd = "/no such folder"};
    CHECK_EQ(mh_process_start(&process), 0);
    CHECK_EQ(mh_process_join(&process, soon(), NULL), 0);
    CHECK_EQ(mh_process_exit_code(&process, &code), 0);
    CHECK_EQ(code, 127);
    mh_process_fini(&process);
}

TEST(what_cannot_be_redirected)
{
    const mh_redirect wrong[] = {{-1, 1}}, also[] = {{1, -1}}, closed[] = {{999, 5}};
    mh_process process = {.redirects = wrong, .redirect_count = 1};
    CHECK_EQ(run_shell("exit 0", &process), -EINVAL);
    process = (mh_process){.redirects = also, .redirect_count = 1};
    CHECK_EQ(run_shell("exit 0", &process), -EINVAL);
    process = (mh_process){.redirects = closed, .redirect_count = 1};
    CHECK_EQ(run_shell("exit 0", &process), -EBADF);
    process = (mh_process){.redirects = NULL, .redirect_count = 1};
    CHECK_EQ(run_shell("exit 0", &process), -EINVAL);
    process = (mh_process){.redirects = closed, .redirect_count = 65};
    CHECK_EQ(run_shell("exit 0", &process), -EINVAL);
}

/* ---- groups ---- */

static int lead(struct worker *worker)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (;;) {
            (void) pause();
        }
    }
    mh_store_rel(&worker->board->pid, (uint32_t) child);
    mh_store_rel(&worker->board->count, (uint32_t) getpgid(0));
    raise_flag(&worker->board->go);
    for (;;) {
        (void) pause();
    }
}

static int count_of(struct board *board)
{
    return (int) mh_load_acq(&board->count);
}

TEST(a_group_hears_what_it_is_told)
{
    for (int session = 0; session < 2; session++) {
        struct worker worker;
        struct board *board = t_shared(sizeof *board);
        start_with(&worker, lead, board, session ? MH_PROCESS_SESSION : MH_PROCESS_GROUP);
        CHECK_EQ(await_flag(&board->go), 0);
        CHECK_EQ(count_of(board), pid_of(&worker));
        int grandchild = (int) mh_load_acq(&board->pid);
        CHECK_EQ(mh_process_signal_group(&worker.process, 0), 0);
        CHECK_EQ(getsid(grandchild) == pid_of(&worker), session);
        CHECK_EQ(mh_process_signal_group(&worker.process, SIGTERM), 0);
        CHECK_EQ(mh_process_join(&worker.process, soon(), NULL), 0);
        CHECK_EVENTUALLY(!mh_process_alive(grandchild, 0));
        CHECK_EQ(end(&worker), -SIGTERM);
    }
}

/* The leader is gone and reaped, its group is not: since Linux 6.9 it can still be told. */
TEST(a_group_outlives_its_leader)
{
    struct worker worker;
    struct board *board = t_shared(sizeof *board);
    start_with(&worker, lead, board, MH_PROCESS_GROUP);
    CHECK_EQ(await_flag(&board->go), 0);
    int grandchild = (int) mh_load_acq(&board->pid);
    CHECK_EQ(mh_process_signal(&worker.process, SIGKILL), 0);
    CHECK_EQ(mh_process_join(&worker.process, soon(), NULL), 0);
    CHECK_EQ(mh_process_signal(&worker.process, 0), -ESRCH);
    CHECK(mh_process_alive(grandchild, 0));
    int rc = mh_process_signal_group(&worker.process, SIGKILL);
    CHECK(rc == 0 || rc == -ESRCH);
    if (rc == -ESRCH) {
        CHECK_EQ(kill(grandchild, SIGKILL), 0);
    }
    CHECK_EVENTUALLY(!mh_process_alive(grandchild, 0));
    CHECK_EQ(end(&worker), -SIGKILL);
}

TEST(signals_that_cannot_be_sent)
{
    struct worker worker;
    mh_process fresh = {.flags = MH_PROCESS_GROUP};
    CHECK_EQ(mh_process_signal(&fresh, 0), MH_E_STATE);
    CHECK_EQ(mh_process_signal_group(&fresh, 0), MH_E_STATE);
    start(&worker, until_go);
    CHECK_EQ(mh_process_signal_group(&worker.process, SIGTERM), -EINVAL); /* it leads none */
    CHECK_EQ(mh_process_signal(&worker.process, 1000), -EINVAL);
    CHECK_EQ(mh_process_signal(&worker.process, 0), 0);
    done(&worker);
}

/* ---- the first to end ---- */

TEST(the_first_to_end_is_named)
{
    enum { COUNT = 3 };
    struct worker workers[COUNT];
    struct board *boards[COUNT];
    mh_process *all[COUNT];
    size_t which = 99;
    for (int i = 0; i < COUNT; i++) {
        boards[i] = start(&workers[i], until_go);
        all[i] = &workers[i].process;
    }
    CHECK_EQ(mh_process_join_any(all, COUNT, MH_AT_ONCE, NULL, &which), -ETIMEDOUT);
    CHECK_EQ(mh_process_join_any(all, COUNT, mh_in_ms(60), NULL, &which), -ETIMEDOUT);
    CHECK_EQ(which, 99);
    raise_flag(&boards[1]->go);
    CHECK_EQ(mh_process_join_any(all, COUNT, soon(), NULL, &which), 0);
    CHECK_EQ(which, 1);
    CHECK_EQ(mh_process_join_any(all, COUNT, MH_FOREVER, NULL, &which), 0); /* again: it has ended */
    CHECK_EQ(which, 1);
    all[1] = all[2];
    CHECK_EQ(mh_process_kill(all[0]), 0);
    CHECK_EQ(mh_process_join_any(all, 2, soon(), NULL, &which), 0);
    CHECK_EQ(which, 0);
    CHECK_EQ(end(&workers[0]), -SIGKILL);
    CHECK_EQ(end(&workers[1]), 0);
    done(&workers[2]);
}

static void cancel_soon(void *token)
{
    t_nap(0.05);
    mh_cancel_request(token);
}

TEST(a_death_watch_can_be_cancelled)
{
    struct worker worker;
    mh_cancel token = {0};
    mh_process *one[] = {&worker.process}, *twice[] = {&worker.process, &worker.process}, fresh = {0},
               *other[] = {&fresh};
    size_t which;
    CHECK_EQ(mh_process_join_any(one, 0, MH_FOREVER, NULL, &which), -EINVAL);
    CHECK_EQ(mh_process_join_any(other, 1, MH_FOREVER, NULL, &which), MH_E_STATE);
    start(&worker, until_go);
    pthread_t thread = t_thread(cancel_soon, &token);
    CHECK_EQ(mh_process_join_any(one, 1, MH_FOREVER, &token, &which), -ECANCELED);
    t_join(thread, 10);
    CHECK_EQ(mh_process_join_any(twice, 2, mh_in_ms(20), NULL, &which), -ETIMEDOUT);
    done(&worker);
}
