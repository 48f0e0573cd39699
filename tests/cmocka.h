/* cmocka.h - cmocka with the headers that it wants before it. */
#ifndef TESTS_CMOCKA_H
#define TESTS_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Success, or the test fails with the sentence. */
#define assert_ok(call)                                                                  \
    do {                                                                                 \
        if ((call))                                                                      \
            fail_msg("%s: %s", #call, err.text);                                         \
    } while (0)

#define assert_code(call, expected) assert_int_equal((int)(call), (int)(expected))

#endif
