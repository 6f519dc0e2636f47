/* Processes: each verb, each race, and deaths at odd moments. */
#include "tests/core/process_workers.h"

/* ---- start, join, exit ---- */

TEST(start_join_and_exit_code)
{
    struct worker worker;
    int code = 99;
    memset(&worker, 0, sizeof worker);
    CHECK_EQ(state(&worker), MH_NEW);
    CHECK_EQ(pid_of(&worker), 0);
    CHECK_EQ(mh_process_sentinel(&worker.process), MH_E_STATE);
    struct board *board = start(&worker, until_go);
    CHECK_EQ(state(&worker), MH_RUNNING);
    CHECK(mh_process_alive(pid_of(&worker), mh_process_start_time(pid_of(&worker))));
    CHECK_EQ(mh_process_exit_code(&worker.process, &code), MH_E_STATE);
    CHECK_EQ(mh_process_start(&worker.process), MH_E_STATE);
    raise_flag(&board->go);
    CHECK_EQ(mh_process_join(&worker.process, soon(), NULL), 0);
    CHECK_EQ(mh_process_join(&worker.process, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_process_exit_code(&worker.process, &code), 0);
    CHECK_EQ(code, 0);
    CHECK(!mh_process_alive(pid_of(&worker), 0));
    CHECK_EQ(waitpid(pid_of(&worker), NULL, WNOHANG), -1); /* no zombie is left */
    mh_process_fini(&worker.process);
    start(&worker, seven); /* and the struct serves again */
    CHECK_EQ(end(&worker), 7);
}

TEST(wrong_use_is_refused)
{
    mh_process nothing;
    int code;
    int64_t ns;
    uint64_t bytes;
    int missing = 3;
    char *const empty[] = {NULL};
    memset(&nothing, 0, sizeof nothing);
    CHECK_EQ(mh_process_start(&nothing), -EINVAL);
    nothing.argv = empty;
    CHECK_EQ(mh_process_start(&nothing), -EINVAL);
    nothing.run = (int (*)(mh_process *)) seven;
    nothing.flags = 0x80;
    CHECK_EQ(mh_process_start(&nothing), -EINVAL);
    CHECK_EQ(mh_process_join(&nothing, MH_FOREVER, NULL), MH_E_STATE);
    CHECK_EQ(mh_process_pause(&nothing, MH_FOREVER, NULL), MH_E_STATE);
    CHECK_EQ(mh_process_resume(&nothing), MH_E_STATE);
    CHECK_EQ(mh_process_terminate(&nothing), MH_E_STATE);
    CHECK_EQ(mh_process_kill(&nothing), MH_E_STATE);
    CHECK_EQ(mh_process_exit_code(&nothing, &code), MH_E_STATE);
    CHECK_EQ(mh_process_cpu_time(&nothing, &ns), MH_E_STATE);
    CHECK_EQ(mh_process_memory(&nothing, &bytes), MH_E_STATE);
    mh_process_fini(&nothing);
    CHECK_EQ(mh_process_adopt(&nothing, 0, UINT32_MAX), -EINVAL);
    CHECK_EQ(mh_process_adopt(&nothing, -1, UINT32_MAX), -EINVAL);
    CHECK_EQ(mh_process_adopt(&nothing, getpid(), UINT32_MAX), -EINVAL);
    CHECK_EQ(mh_process_adopt(&nothing, 0x3ffffff0, UINT32_MAX), -ESRCH);
    CHECK_EQ(mh_process_state(&nothing), MH_NEW);
    memset(&nothing, 0, sizeof nothing);
    char *const sleeper[] = {"sleep", "0", NULL};
    nothing.argv = sleeper;
    nothing.keep_fds = &missing;
    nothing.keep_fd_count = 1;
    close(3);
    CHECK_EQ(mh_process_start(&nothing), -EBADF);
}

static int print_and_end(struct worker *worker)
{
    printf("from the child\n");
    return worker->value;
}

TEST(what_the_child_prints_comes_out_once)
{
    struct worker worker;
    char text[128] = "";
    FILE *file = tmpfile();
    CHECK(file != NULL);
    int saved = dup(1);
    printf("from the parent, ");
    CHECK(dup2(fileno(file), 1) == 1);
    start(&worker, print_and_end);
    CHECK_EQ(end(&worker), 0);
    fflush(stdout);
    dup2(saved, 1);
    rewind(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = 0;
    CHECK_STR_EQ(text, "from the parent, from the child\n");
}

TEST(join_has_a_deadline_and_can_be_cancelled)
{
    struct worker worker;
    mh_cancel cancel;
    start(&worker, until_go);
    CHECK_EQ(mh_process_join(&worker.process, MH_AT_ONCE, NULL), -ETIMEDOUT);
    mh_deadline before = mh_now();
    CHECK_EQ(mh_process_join(&worker.process, mh_in_ms(70), NULL), -ETIMEDOUT);
    CHECK(mh_now() - before >= 70000000);
    mh_cancel_init(&cancel, 0);
    mh_cancel_request(&cancel);
    CHECK_EQ(mh_process_join(&worker.process, soon(), &cancel), -ECANCELED);
    done(&worker);
}

struct joiner {
    mh_thread thread;
    struct worker *worker;
    mh_cancel *cancel;
    int result;
    MH_ATOMIC(uint32_t) tid;
};

static int joiner_run(mh_thread *self)
{
    struct joiner *joiner = (struct joiner *) self;
    mh_store_rel(&joiner->tid, (uint32_t) mh_os_tid());
    joiner->result = mh_process_join(&joiner->worker->process, MH_FOREVER, joiner->cancel);
    return 0;
}

static void start_joiner(struct joiner *joiner, struct worker *worker, mh_cancel *cancel)
{
    memset(joiner, 0, sizeof *joiner);
    joiner->thread.run = joiner_run;
    joiner->worker = worker;
    joiner->cancel = cancel;
    CHECK_EQ(mh_thread_start(&joiner->thread), 0);
    CHECK_EVENTUALLY(mh_load_acq(&joiner->tid) != 0 &&
                     t_thread_sleeps(getpid(), (pid_t) mh_load_acq(&joiner->tid)));
}

static int end_joiner(struct joiner *joiner)
{
    CHECK_EQ(mh_thread_join(&joiner->thread, soon(), NULL), 0);
    return joiner->result;
}

TEST(a_sleeping_join_ends_by_cancel_by_terminate_and_by_the_end)
{
    struct worker worker;
    struct joiner joiners[4];
    mh_cancel cancel;
    mh_cancel_init(&cancel, MH_PRIVATE);
    start(&worker, until_go);
    for (int i = 0; i < 4; i++) {
        start_joiner(&joiners[i], &worker, i == 0 ? &cancel : NULL);
    }
    CHECK_EQ(mh_thread_pause(&joiners[2].thread, soon(), NULL), 0); /* asleep in our wait: parked */
    mh_cancel_request(&cancel);
    CHECK_EQ(end_joiner(&joiners[0]), -ECANCELED);
    CHECK_EQ(mh_thread_terminate(&joiners[1].thread), 0);
    CHECK_EQ(end_joiner(&joiners[1]), -ECANCELED);
    CHECK_EQ(mh_process_kill(&worker.process), 0);
    CHECK_EQ(end_joiner(&joiners[3]), 0);
    CHECK_EQ(mh_thread_state(&joiners[2].thread), MH_PAUSED);
    CHECK_EQ(mh_thread_resume(&joiners[2].thread), 0);
    CHECK_EQ(end_joiner(&joiners[2]), 0);
    CHECK_EQ(end(&worker), -SIGKILL);
}

static int hook_calls;

static int count_hook(void *argument)
{
    (void) argument;
    return ++hook_calls < 3 ? 0 : -EINTR;
}

TEST(a_join_runs_the_interrupt_hook)
{
    struct worker worker;
    start(&worker, until_go);
    mh_on_interrupt(count_hook, NULL, 5000000);
    CHECK_EQ(mh_process_join(&worker.process, soon(), NULL), -EINTR);
    CHECK_EQ(hook_calls, 3);
    mh_on_interrupt(NULL, NULL, 0);
    done(&worker);
}

/* ---- programs ---- */

static void start_program(mh_process *process, char *const *argv, const int *keep, size_t count)
{
    memset(process, 0, sizeof *process);
    process->argv = argv;
    process->keep_fds = keep;
    process->keep_fd_count = count;
    CHECK_EQ(mh_process_start(process), 0);
}

static int end_program(mh_process *process)
{
    int code = -99;
    CHECK_EQ(mh_process_join(process, soon(), NULL), 0);
    CHECK_EQ(mh_process_exit_code(process, &code), 0);
    mh_process_fini(process);
    return code;
}

TEST(a_program_is_started_and_its_status_told)
{
    mh_process process;
    char *const script[] = {"sh", "-c", "exit 42", NULL};
    char *const signalled[] = {"/bin/sh", "-c", "kill -USR1 $$", NULL};
    start_program(&process, script, NULL, 0);
    CHECK_EQ(end_program(&process), 42);
    start_program(&process, signalled, NULL, 0);
    CHECK_EQ(end_program(&process), -SIGUSR1);
}

TEST(a_program_that_cannot_be_started_says_why)
{
    mh_process process;
    char *const missing[] = {"no-such-program-anywhere", NULL};
    char *const folder[] = {"/", NULL};
    memset(&process, 0, sizeof process);
    process.argv = missing;
    CHECK_EQ(mh_process_start(&process), -ENOENT);
    process.argv = folder;
    CHECK_EQ(mh_process_start(&process), -EACCES);
    CHECK_EQ(mh_process_state(&process), MH_NEW);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left of the attempts */
    char *const works[] = {"true", NULL};
    process.argv = works;
    CHECK_EQ(mh_process_start(&process), 0);
    CHECK_EQ(end_program(&process), 0);
}

TEST(a_program_has_its_environment_and_just_its_descriptors)
{
    mh_process process;
    int kept[2], other[2];
    CHECK(pipe(kept) == 0 && pipe(other) == 0); /* none is close-on-exec */
    char script[256];
    snprintf(script, sizeof script, "test \"$COOK\" = Ana && echo x >&%d && ! { true >&%d; } 2>/dev/null",
             kept[1], other[1]);
    char *const argv[] = {"sh", "-c", script, NULL};
    char *const envp[] = {"COOK=Ana", "PATH=/usr/bin:/bin", NULL};
    memset(&process, 0, sizeof process);
    process.argv = argv;
    process.envp = envp;
    process.keep_fds = &kept[1];
    process.keep_fd_count = 1;
    CHECK_EQ(mh_process_start(&process), 0);
    CHECK_EQ(end_program(&process), 0);
    char byte = 0;
    CHECK_EQ(read(kept[0], &byte, 1), 1);
    CHECK_EQ(byte, 'x');
}

/* ---- terminate and kill ---- */

TEST(terminate_and_kill)
{
    struct worker worker;
    start(&worker, until_go);
    CHECK_EQ(mh_process_terminate(&worker.process), 0);
    CHECK_EQ(mh_process_join(&worker.process, soon(), NULL), 0);
    CHECK_EQ(mh_process_terminate(&worker.process), 0); /* it has ended: nothing to do */
    CHECK_EQ(mh_process_kill(&worker.process), 0);
    CHECK_EQ(mh_process_pause(&worker.process, soon(), NULL), MH_E_STATE);
    CHECK_EQ(mh_process_resume(&worker.process), MH_E_STATE);
    CHECK_EQ(end(&worker), -SIGTERM);
    start(&worker, count_up);
    done(&worker);
}

static int ignore_the_request(struct worker *worker)
{
    signal(SIGTERM, SIG_IGN);
    raise_flag(&worker->board->count);
    return until_go(worker);
}

TEST(terminate_is_a_request)
{
    struct worker worker;
    struct board *board = start(&worker, ignore_the_request);
    CHECK_EQ(await_flag(&board->count), 0);
    CHECK_EQ(mh_process_terminate(&worker.process), 0);
    CHECK_EQ(state(&worker), MH_TERMINATING);
    CHECK_EQ(mh_process_join(&worker.process, mh_in_ms(20), NULL), -ETIMEDOUT);
    raise_flag(&board->go);
    CHECK_EQ(end(&worker), 0);
}

/* ---- somebody else's children ---- */

static void sleep_until_killed(void *argument)
{
    (void) argument;
    for (;;) {
        pause();
    }
}

TEST(an_adopted_child_has_the_verbs_and_keeps_its_status_for_its_maker)
{
    mh_process process;
    int status, code;
    memset(&process, 0, sizeof process);
    pid_t child = t_fork(sleep_until_killed, NULL);
    CHECK_EQ(mh_process_adopt(&process, child, UINT32_MAX), 0);
    CHECK_EQ(mh_process_adopt(&process, child, UINT32_MAX), MH_E_STATE);
    CHECK_EQ(mh_process_id(&process), child);
    CHECK_EQ(mh_process_pause(&process, soon(), NULL), 0);
    CHECK_EQ(mh_process_resume(&process), 0);
    CHECK_EQ(mh_process_terminate(&process), 0);
    CHECK_EQ(mh_process_join(&process, soon(), NULL), 0);
    CHECK_EQ(mh_process_exit_code(&process, &code), 0);
    CHECK_EQ(code, -SIGTERM);
    CHECK_EQ(waitpid(child, &status, 0), child); /* still to be had */
    CHECK_EQ(WTERMSIG(status), SIGTERM);
    mh_process_fini(&process);
}

TEST(a_child_whose_status_somebody_took_has_finished)
{
    struct worker worker;
    int code = 99, status;
    struct board *board = start(&worker, seven);
    (void) board;
    CHECK_EQ(waitpid(pid_of(&worker), &status, 0), pid_of(&worker));
    CHECK_EQ(mh_process_join(&worker.process, soon(), NULL), 0);
    CHECK_EQ(state(&worker), MH_FINISHED);
    int rc = mh_process_exit_code(&worker.process, &code);
    CHECK(rc == -ECHILD ? code == 99 : rc == 0 && code == 7); /* newer kernels still tell */
    int64_t ns;
    CHECK_EQ(mh_process_cpu_time(&worker.process, &ns), -ECHILD);
    mh_process_fini(&worker.process);
}

TEST(ignored_children_can_be_joined)
{
    struct worker worker;
    signal(SIGCHLD, SIG_IGN); /* the kernel reaps them at once */
    start(&worker, seven);
    CHECK_EQ(mh_process_join(&worker.process, soon(), NULL), 0);
    CHECK_EQ(state(&worker), MH_FINISHED);
    mh_process_fini(&worker.process);
}

static struct worker elder;

static int ask_elder_sibling(struct worker *worker)
{
    int code;
    CHECK_EQ(mh_process_state(&elder.process), MH_RUNNING);
    CHECK_EQ(mh_process_join(&elder.process, soon(), NULL), -ECHILD);
    CHECK_EQ(mh_process_pause(&elder.process, soon(), NULL), -ECHILD);
    CHECK_EQ(mh_process_kill(&elder.process), -ECHILD);
    CHECK_EQ(mh_process_exit_code(&elder.process, &code), -ECHILD);
    CHECK_EQ(mh_process_id(&worker->process), getpid());
    mh_process_fini(&elder.process);
    return 0;
}

TEST(a_sibling_is_not_ours)
{
    struct worker worker;
    start(&elder, until_go);
    start(&worker, ask_elder_sibling);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(state(&elder), MH_RUNNING);
    done(&elder);
}

/* ---- die with the parent ---- */

static int start_child_and_tell(struct worker *worker)
{
    struct worker *child = t_shared(sizeof *child);
    struct board *board = t_shared(sizeof *board);
    start_with(child, until_go, board, MH_PROCESS_DIE_WITH_PARENT);
    mh_store_rel(&worker->board->pid, (uint32_t) pid_of(child));
    raise_flag(&worker->board->count);
    return until_go(worker);
}

/* Killed, the middle process takes its child with it, which nobody else asks for. */
TEST(a_child_dies_with_its_parent)
{
    struct worker middle;
    struct board *board = start(&middle, start_child_and_tell);
    CHECK_EQ(await_flag(&board->count), 0);
    int child = (int) mh_load_acq(&board->pid);
    uint64_t since = mh_process_start_time(child);
    CHECK(mh_process_alive(child, since));
    done(&middle);
    CHECK_EVENTUALLY(!mh_process_alive(child, since));
}

static int start_program_and_tell(struct worker *worker)
{
    mh_process process;
    char *const argv[] = {"sleep", "600", NULL};
    memset(&process, 0, sizeof process);
    process.argv = argv;
    process.flags = MH_PROCESS_DIE_WITH_PARENT;
    CHECK_EQ(mh_process_start(&process), 0); /* else nobody would tell */
    mh_store_rel(&worker->board->pid, (uint32_t) mh_process_id(&process));
    raise_flag(&worker->board->count);
    return until_go(worker);
}

TEST(a_program_dies_with_its_parent)
{
    struct worker middle;
    struct board *board = start(&middle, start_program_and_tell);
    CHECK_EQ(await_flag(&board->count), 0);
    int child = (int) mh_load_acq(&board->pid);
    uint64_t since = mh_process_start_time(child);
    CHECK(mh_process_alive(child, since));
    done(&middle);
    CHECK_EVENTUALLY(!mh_process_alive(child, since));
}

static void start_from_thread(void *argument)
{
    struct worker *worker = argument;
    start_with(worker, until_go, t_shared(sizeof(struct board)), MH_PROCESS_DIE_WITH_PARENT);
}

/* The end of the thread that started it is none of its parent's, and the siblings' deaths are not either. */
TEST(a_child_outlives_the_thread_that_started_it)
{
    struct worker worker, sibling;
    t_join(t_thread(start_from_thread, &worker), 10);
    t_join(t_thread(start_from_thread, &sibling), 10);
    done(&sibling);
    t_nap(0.02);
    CHECK_EQ(state(&worker), MH_RUNNING);
    done(&worker);
}

static int two_children_one_forever(struct worker *worker)
{
    struct worker *first = t_shared(2 * sizeof *first);
    struct board *board = t_shared(2 * sizeof *board);
    start_with(&first[0], until_go, &board[0], MH_PROCESS_DIE_WITH_PARENT);
    start_with(&first[1], until_go, &board[1], 0); /* it must not keep the pipe open, and its sibling alive */
    mh_store_rel(&worker->board->pid, (uint32_t) pid_of(&first[0]));
    mh_store_rel(&worker->board->count, (uint32_t) pid_of(&first[1]));
    mh_wake(&worker->board->count, 1, 0);
    return until_go(worker);
}

TEST(a_surviving_sibling_does_not_keep_a_child_alive)
{
    struct worker middle;
    struct board *board = start(&middle, two_children_one_forever);
    CHECK_EQ(await_flag(&board->count), 0);
    int child = (int) mh_load_acq(&board->pid), other = (int) mh_load_acq(&board->count);
    done(&middle);
    CHECK_EVENTUALLY(!mh_process_alive(child, 0));
    CHECK(mh_process_alive(other, 0));
    kill(other, SIGKILL);
    CHECK_EVENTUALLY(!mh_process_alive(other, 0));
}

/* ---- accounts ---- */

static int burn(struct worker *worker)
{
    int64_t begin = mh_os_thread_cpu();
    static char memory[8 << 20];
    memset(memory, 1, sizeof memory);
    while (mh_os_thread_cpu() - begin < 30000000) {
        mh_os_pause();
    }
    return until_go(worker) + (memory[4096] != 1);
}

TEST(cpu_time_and_memory)
{
    struct worker worker;
    int64_t running = 0, after = 0;
    uint64_t bytes = 0;
    struct board *board = start(&worker, burn);
    CHECK_EVENTUALLY(mh_process_cpu_time(&worker.process, &running) == 0 && running >= 30000000);
    CHECK_EQ(mh_process_memory(&worker.process, &bytes), 0);
    CHECK(bytes >= 8 << 20);
    raise_flag(&board->go);
    CHECK_EQ(mh_process_join(&worker.process, soon(), NULL), 0);
    CHECK_EQ(mh_process_cpu_time(&worker.process, &after), 0);
    CHECK(after >= running);
    CHECK_EQ(mh_process_memory(&worker.process, &bytes), MH_E_STATE);
    CHECK_EQ(end(&worker), 0);
}

TEST(who_lives)
{
    pid_t child = t_fork(sleep_until_killed, NULL);
    uint64_t since = mh_process_start_time(child);
    CHECK(since > 0);
    CHECK(mh_process_alive(child, since) && mh_process_alive(child, 0));
    CHECK(!mh_process_alive(child, since + 1)); /* another one with its id */
    kill(child, SIGKILL);
    CHECK_EVENTUALLY(!mh_process_alive(child, since)); /* a zombie is dead */
    CHECK_EQ(t_wait(child, 5), -SIGKILL);
    CHECK_EQ(mh_process_start_time(child), 0);
    CHECK(!mh_process_alive(-1, 0) && !mh_process_alive(0, 0));
}

static void leave_an_orphan(void *tell)
{
    int child = (int) fork();
    if (child == 0) {
        _exit(23);
    }
    CHECK_EQ(write(*(int *) tell, &child, sizeof child), (ssize_t) sizeof child);
}

TEST(orphans_that_are_adopted_are_waited_for)
{
    int ends[2], orphan = 0;
    CHECK_EQ(pipe(ends), 0);
    for (int adopts = 1; adopts >= 0; adopts--) {
        int before = mh_process_adopt_orphans(adopts);
        if (before == -EINVAL && t_emulated()) {
            SKIP("the emulator has no such thing");
        }
        CHECK_EQ(before, 1 - adopts);
        CHECK_EQ(t_wait(t_fork(leave_an_orphan, &ends[1]), 5), 0);
        CHECK_EQ(read(ends[0], &orphan, sizeof orphan), (ssize_t) sizeof orphan);
        if (adopts) {
            CHECK_EQ(t_wait(orphan, 5), 23);
        } else {
            CHECK_EQ(waitpid(orphan, NULL, 0), -1);
            CHECK_EQ(errno, ECHILD);
        }
    }
    close(ends[0]);
    close(ends[1]);
}

/* Neither descriptors nor places of the arena are used up. */
TEST_LIMIT(twelve_hundred_children_leave_nothing, 120)
{
    if (t_emulated()) {
        SKIP("ten minutes of forks");
    }
    for (int i = 0; i < t_rounds(1200); i++) { /* more than the arena has places */
        struct worker worker;
        memset(&worker, 0, sizeof worker);
        struct board board;
        memset(&board, 0, sizeof board);
        worker.process.run = worker_run;
        worker.process.flags = i % 2 ? MH_PROCESS_DIE_WITH_PARENT : 0;
        worker.script = seven;
        worker.board = &board;
        worker.value = i % 3;
        CHECK_EQ(mh_process_start(&worker.process), 0);
        CHECK_EQ(end(&worker), 7 + i % 3);
    }
    int fd = dup(0);
    CHECK(fd >= 0 && fd < 40);
}
