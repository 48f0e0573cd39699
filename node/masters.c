#include "node/masters.h"

#include "proto/event.h"
#include "proto/mutant.h"
#include "proto/scope.h"

#include <string.h>

static bool
same_addresses(const struct node_config *a, const struct node_config *b)
{
    if (a->address_count != b->address_count)
        return false;
    for (size_t i = 0; i < a->address_count; i++)
        if (!address_equal(&a->addresses[i], &b->addresses[i]))
            return false;
    return true;
}

static void
copy_list(struct node_config *to, const struct node_config *from)
{
    memcpy(to->addresses, from->addresses, sizeof(to->addresses));
    to->address_count = from->address_count;
    to->masters_number = from->masters_number;
}

enum st_code
masters_keep(struct node *node, const struct node_config *masters, struct st_err *err)
{
    NODE_CONFIG next = node->config;
    if (next.masters_number == masters->masters_number && same_addresses(&next, masters))
        return ST_OK;
    copy_list(&next, masters);
    enum st_code code = config_write(esp_path(node->esp, ESP_CONFIG), &next, err);
    if (code)
        return code;
    copy_list(&node->config, masters);
    event("masters", "count=%zu number=%llu", next.address_count,
          (unsigned long long)next.masters_number);
    return ST_OK;
}

static enum st_code
check_list(const struct node_config *list, struct st_err *err)
{
    for (size_t i = 0; i < list->address_count; i++) {
        if (REFUSES(0x3081, !address_is_host(&list->addresses[i])))
            return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                               "address %zu is none that a host can have", i + 1);
        for (size_t j = 0; j < i; j++)
            if (REFUSES(0x3082, address_equal(&list->addresses[i], &list->addresses[j])))
                return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                                   "address %zu comes twice", i + 1);
    }
    return ST_OK;
}

static enum st_code
judge(const struct node_config *have, const struct node_config *told, struct st_err *err)
{
    if (REFUSES(0x5371, told->masters_number < have->masters_number))
        return st_fail_for(err, ST_FAILED_PRECONDITION, ST_REASON_EXISTS,
                           "this node has a newer list, %llu",
                           (unsigned long long)have->masters_number);
    if (REFUSES(0x5372, told->masters_number == have->masters_number &&
                            !same_addresses(have, told)))
        return st_fail_for(err, ST_FAILED_PRECONDITION, ST_REASON_EXISTS,
                           "this node has another list with this number");
    return ST_OK;
}

enum st_code
masters_told(struct node *node, const Api__SetMastersRequest *request, struct st_err *err)
{
    NODE_CONFIG told = {0};
    enum st_code code;
    if (REFUSES(0x3083, request->number == 0))
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "a list without a number");
    if (config_addresses(request->master_ips, request->n_master_ips, request->number,
                         &told, err))
        return st_fail_for(err, ST_INVALID_ARGUMENT, ST_REASON_MALFORMED,
                           "no list of addresses: 1 to %d, of 4 or 16 bytes each",
                           ADDRESSES_MAX);
    if ((code = check_list(&told, err)) || (code = judge(&node->config, &told, err)))
        return code;
    return masters_keep(node, &told, err);
}

enum st_code
masters_point(const char *esp_dir, const struct st_address *addresses, size_t count,
              struct node_config *before, struct node_config *after, struct st_err *err)
{
    AUTO(esp_closep) struct esp *esp = NULL;
    enum st_code code;
    if ((code = esp_open(esp_dir, &esp, err)) ||
        (code = config_read(esp_path(esp, ESP_CONFIG), before, err)))
        return code;
    *after = *before;
    memset(after->addresses, 0, sizeof(after->addresses));
    memcpy(after->addresses, addresses, count * sizeof(*addresses));
    after->address_count = count;
    after->masters_number = 0;
    return config_write(esp_path(esp, ESP_CONFIG), after, err);
}
