/* The inline encoding of the Python extension (ext/wire.h): bytes of every kind are read without looking beyond their
 * end, and what was read is written as the very bytes that it was read from. */
#include "fuzz.h"

#include "ext/wire.h"

struct walk {
    const char *begin, *end;
    char *written;
    size_t size;
};

static int walk_items(wire_cursor *from, struct walk *walk, int depth)
{
    wire_item item;
    if (!wire_read(from, &item)) {
        return 0;
    }
    if (item.tag == 's' || item.tag == 'y') {
        REQUIRE(item.data >= walk->begin && item.data <= walk->end);
        REQUIRE(item.count <= (size_t) (walk->end - item.data));
    }
    wire_write(walk->written + walk->size, &item);
    walk->size += wire_size(&item);
    REQUIRE(walk->size == (size_t) (from->at - walk->begin));
    if (item.tag != '(') {
        return 1;
    }
    REQUIRE(item.count <= CODEC_ITEMS);
    if (depth == CODEC_DEPTH) {
        return 0;
    }
    for (uint32_t i = 0; i < item.count; i++) {
        if (!walk_items(from, walk, depth + 1)) {
            return 0;
        }
    }
    return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *begin = (const char *) data;
    wire_cursor from = {begin, size};
    struct walk walk = {begin, begin + size, malloc(size + 16), 0};
    REQUIRE(walk.written != NULL);
    int whole = walk_items(&from, &walk, 0);
    REQUIRE(from.left + (size_t) (from.at - begin) == size);
    REQUIRE(walk.size <= size && memcmp(walk.written, begin, walk.size) == 0);
    REQUIRE(!whole || walk.size == size - from.left);
    free(walk.written);
    return 0;
}
