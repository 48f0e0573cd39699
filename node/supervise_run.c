/* `smalltown-nms run`, and where it may find the others.
 *
 * Masters that were all renumbered while they were off know each other's old addresses.
 * What a person then writes into enrolment.pb (smalltown-node masters) is within reach
 * where the folder of a master is not: it lies on its control volume.  So whatever list
 * is there is handed on, at each start.  Whoever can write to the ESP can write one, too:
 * to smalltown-nms it is a place to knock, after all that it knows better, and who opens
 * has to show the certificate of a member.
 */
#include "node/supervise.h"

#include "node/config.h"
#include "node/esp.h"
#include "proto/scope.h"

struct masters {
    size_t count;
    char text[ADDRESSES_MAX][ADDRESS_TEXT_MAX];
};

/* Only such as smalltown-nms takes; none where the file is no good, which the daemon
 * says. */
static void
masters_read(const char *esp_dir, struct masters *out)
{
    AUTO(esp_closep) struct esp *esp = NULL;
    NODE_CONFIG config = {0};
    out->count = 0;
    if (!esp_dir || esp_open_beside(esp_dir, &esp, NULL) ||
        config_read(esp_path(esp, ESP_CONFIG), &config, NULL))
        return;
    for (size_t i = 0; i < config.address_count; i++)
        if (address_is_host(&config.addresses[i]))
            address_format(&config.addresses[i], out->text[out->count++]);
}

enum st_code
supervise_run(const struct keeper_config *config, struct child *out, struct st_err *err)
{
    enum {
        FIXED = 6
    };
    const char *argv[FIXED + 2 * ADDRESSES_MAX + 1] = {
        config->program, "run", "--data", config->data, "--address", config->address};
    struct masters masters;
    size_t n = FIXED;
    masters_read(config->esp, &masters);
    for (size_t i = 0; i < masters.count; i++) {
        argv[n++] = "--master";
        argv[n++] = masters.text[i];
    }
    return child_start(argv, -1, -1, out, err);
}
