/* scope.h - cleanup at the end of a scope, and the visible hand-over.
 *
 *     AUTO(store_closep) struct store *s = NULL;   closed on every return ...
 *     *out = TAKE(s);                              ... unless handed on here.
 *
 * AUTO takes a function that is given the address of the variable; AUTO_DEFINE makes
 * one from a free function.
 */
#ifndef PROTO_SCOPE_H
#define PROTO_SCOPE_H

#include <stdlib.h>

#define AUTO(cleaner) __attribute__((cleanup(cleaner)))

#define TAKE(pointer)                                                                    \
    ({                                                                                   \
        __typeof__(pointer) taken_ = (pointer);                                          \
        (pointer) = NULL;                                                                \
        taken_;                                                                          \
    })

#define AUTO_DEFINE(type, cleaner, free_function)                                        \
    static inline void cleaner(type *variable)                                           \
    {                                                                                    \
        if (*variable)                                                                   \
            free_function(*variable);                                                    \
    }

/* For memory from malloc(), of any pointer type: AUTO(st_freep) char *s = NULL; */
static inline void
st_freep(void *variable)
{
    free(*(void **)variable);
}

#endif
