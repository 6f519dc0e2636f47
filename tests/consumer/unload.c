/* A thread that loads the library, uses what it has, and unloads it: then the thread ends, whose clean-up is in there. */
#include <manyhands/channel.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *function(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return found;
}

static void *use(void *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    mh_channel_options options = {.max_items = 10};
    mh_channel *channel;
    mh_message message = {0};
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    int (*create)(const mh_channel_options *, mh_channel **) = function(library, "mh_channel_create");
    int (*put)(mh_channel *, const mh_part *, size_t, uint32_t, mh_deadline, mh_cancel *) =
        function(library, "mh_channel_put");
    int (*get)(mh_channel *, mh_message *, mh_deadline, mh_cancel *) = function(library, "mh_channel_get");
    void (*fini)(mh_message *) = function(library, "mh_message_fini");
    void (*destroy)(mh_channel *) = function(library, "mh_channel_destroy");
    if (create(&options, &channel) != 0 ||
        put(channel, &(mh_part){"hello", 6}, 1, 0, MH_FOREVER, NULL) != 0 ||
        get(channel, &message, MH_FOREVER, NULL) != 0) {
        exit(2);
    }
    puts(message.data);
    fini(&message);
    destroy(channel);
    dlclose(library);
    return NULL;
}

int main(int count, char **arguments)
{
    for (int i = 0; i < 3 && count == 2; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, use, arguments[1]) != 0 || pthread_join(thread, NULL) != 0) {
            return 3;
        }
    }
    return count == 2 ? 0 : 4;
}
