/* stctl's contexts.json: every context of it, and that it can be written again. */
#include "proto/file.h"
#include "tests/fuzz/fuzz.h"
#include "tools/config.h"

#include <string.h>

static void
each_context(json_t *config)
{
    static const char *const names[] = {"town", "home", "", "a/b"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct context context, again;
        char text[ADDRESSES_MAX * ADDRESS_TEXT_MAX];
        struct st_err err = {0};
        if (config_find(config, names[i], &context, &err)) {
            FUZZ_HOLDS(err.code && *err.text);
            continue;
        }
        config_addresses_format(&context, text, sizeof(text));
        FUZZ_HOLDS(!config_addresses_parse(text, &context, &err));
        FUZZ_HOLDS(!config_put(config, &context, &err));
        FUZZ_HOLDS(!config_find(config, names[i], &again, &err));
        FUZZ_HOLDS(strcmp(context.cert_path, again.cert_path) == 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    json_t *config;
    struct st_err err = {0};
    char path[PATH_MAX];
    FUZZ_HOLDS(setenv("XDG_CONFIG_HOME", fuzz_folder(), 1) == 0);
    FUZZ_HOLDS(!config_path(NULL, path, &err) && !file_make_folder(path, &err));
    fuzz_file("smalltown/contexts.json", bytes, len);
    if (config_read(&config, &err)) {
        FUZZ_HOLDS(err.code && *err.text);
        return 0;
    }
    (void)config_current(config);
    each_context(config);
    FUZZ_HOLDS(!config_write(config, &err));
    json_decref(config);
    return 0;
}
