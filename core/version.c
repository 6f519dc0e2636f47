/* The version of the library that is running, as against the one of the headers it was compiled with. */
#include "manyhands/base.h"

const char *mh_version(void)
{
    return MH_VERSION;
}
