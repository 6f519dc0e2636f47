/* Runs a fuzz target without a fuzzer: on every file named (of a folder: on every file in it), and on `--mutate N`
 * changed copies of each. The changes are the same in every run. */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

#define MOST 65536

static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
static unsigned long mutations, runs;

static uint64_t next_random(void) /* xorshift64* */
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

static size_t mutate(uint8_t *data, size_t size)
{
    for (uint64_t changes = 1 + next_random() % 4; changes > 0; changes--) {
        size_t at = size > 0 ? next_random() % size : 0;
        switch (next_random() % 4) {
        case 0: /* a byte of any value */
            if (size > 0) {
                data[at] = (uint8_t) next_random();
            }
            break;
        case 1: /* a bit */
            if (size > 0) {
                data[at] ^= (uint8_t) (1u << next_random() % 8);
            }
            break;
        case 2: /* longer by a byte */
            if (size < MOST) {
                memmove(data + at + 1, data + at, size - at);
                data[at] = (uint8_t) next_random();
                size++;
            }
            break;
        default: /* cut off */
            size = at;
        }
    }
    return size;
}

/* A copy of exactly its size, so that a sanitizer sees a read beyond its end. */
static void run_on(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    REQUIRE(copy != NULL);
    memcpy(copy, data, size);
    (void) LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void run_file(const char *path)
{
    static uint8_t data[MOST], changed[MOST];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t size = fread(data, 1, sizeof data, file);
    (void) fclose(file);
    run_on(data, size);
    for (unsigned long i = 0; i < mutations; i++) {
        memcpy(changed, data, size);
        run_on(changed, mutate(changed, size));
    }
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void run_path(const char *path)
{
    struct stat info;
    struct dirent **names = NULL;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        run_file(path);
        return;
    }
    int count = scandir(path, &names, NULL, by_name);
    for (int i = 0; i < count; i++) {
        char name[4096];
        if (names[i]->d_name[0] != '.') {
            (void) snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
            run_file(name);
        }
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutate") == 0 && i + 1 < argc) {
            mutations = strtoul(argv[++i], NULL, 10);
        } else {
            run_path(argv[i]);
        }
    }
    printf("%lu inputs\n", runs);
    return runs > 0 ? 0 : 1;
}
