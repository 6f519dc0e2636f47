/* Words of many files, counted by a pool of threads.
 *
 * Each file is a task; the tasks are a plain array of ours, and each has its own result, so there is nothing to
 * lock. The last line says whether the sum is the one that counting one file after the other gives.
 *
 * Build: cc word_count.c $(pkg-config --cflags --libs manyhands)
 * Use:   ./a.out FILE...     (without files: the C headers of this machine)
 */
#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <manyhands/manyhands.h>
#include <stdio.h>
#include <stdlib.h>

struct file {
    mh_task task; /* ours first, then yours */
    const char *path;
    long words;
};

static int count_words(mh_task *task)
{
    struct file *file = (struct file *) task;
    char block[65536];
    int inside = 0;
    FILE *stream = fopen(file->path, "r");
    if (stream == NULL) {
        return -errno;
    }
    file->words = 0;
    for (size_t got; (got = fread(block, 1, sizeof block, stream)) > 0;) {
        for (size_t i = 0; i < got; i++) {
            int word = !isspace((unsigned char) block[i]);
            file->words += word && !inside;
            inside = word;
        }
    }
    int rc = ferror(stream) ? -EIO : 0; /* a directory, say */
    fclose(stream);
    return rc;
}

static long one_after_the_other(struct file *files, size_t count)
{
    long words = 0;
    for (size_t i = 0; i < count; i++) {
        words += count_words(&files[i].task) == 0 ? files[i].words : 0;
    }
    return words;
}

static long by_the_pool(mh_pool *pool, struct file *files, size_t count)
{
    long words = 0;
    for (size_t i = 0; i < count; i++) {
        int rc = mh_pool_submit(pool, &files[i].task);
        if (rc < 0) {
            fprintf(stderr, "%s: %s\n", files[i].path, mh_strerror(rc));
            exit(1);
        }
    }
    for (size_t i = 0; i < count; i++) {
        int result = 0;
        mh_task_wait(&files[i].task, MH_FOREVER, NULL);
        mh_task_result(&files[i].task, &result);
        if (result < 0) {
            fprintf(stderr, "%s: %s\n", files[i].path, mh_strerror(result));
        } else {
            words += files[i].words;
        }
    }
    return words;
}

int main(int argc, char **argv)
{
    glob_t found = {0};
    char **paths = argv + 1;
    size_t count = (size_t) (argc - 1);
    if (count == 0 && glob("/usr/include/*.h", 0, NULL, &found) == 0) {
        paths = found.gl_pathv;
        count = found.gl_pathc;
    }
    struct file *files = calloc(count > 0 ? count : 1, sizeof *files);
    mh_pool *pool;
    int rc = files == NULL ? -ENOMEM : mh_pool_create(NULL, &pool); /* a thread for each core */
    if (rc < 0) {
        fprintf(stderr, "no pool: %s\n", mh_strerror(rc));
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        files[i].task.run = count_words;
        files[i].path = paths[i];
    }
    long words = by_the_pool(pool, files, count);
    printf("%ld words in %zu files, by %u threads\n", words, count, mh_pool_workers(pool));
    mh_pool_destroy(pool);
    int equal = words == one_after_the_other(files, count);
    puts(equal ? "one after the other gives the same" : "one after the other gives something else!");
    free(files);
    globfree(&found);
    return equal ? 0 : 1;
}
