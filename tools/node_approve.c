/* stctl node approve: a boot that was refused, and is good. */
#include "tools/confirm.h"
#include "tools/node.h"
#include "tools/text.h"

#include <string.h>

static void
print_boot(const struct node_diff *diff, const struct node_boot *boot, FILE *file)
{
    char at[TEXT_TIME_MAX], hex[TEXT_SHA256_MAX];
    text_time(boot->at, at);
    fprintf(file, "refused at %s\n", at);
    node_diff_print(diff, boot, file);
    for (unsigned pcr = 4; diff->sets == 0 && pcr <= 11; pcr += 7) {
        text_hex(&boot->pcrs[pcr], hex);
        fprintf(file, "PCR %-3u %.*s\n", pcr, NODE_PCR_SHORT, hex);
    }
}

/* Shown and asked for on a terminal, wants --yes elsewhere. */
static enum st_code
confirm(const struct invocation *in, const char *node_id, const struct node_diff *diff,
        const struct node_boot *boot, struct st_err *err)
{
    if (in->options[OPTION_YES])
        return ST_OK;
    if (!confirm_can_ask())
        return st_fail(
            err, ST_INVALID_ARGUMENT,
            "look at `stctl node pcrs %s --diff` and say --yes: with this boot "
            "it gets its key from then on",
            node_id);
    print_boot(diff, boot, stderr);
    fprintf(stderr, "\nIs this boot of %s good from now on? [yes/no] ", node_id);
    if (!confirm_is_yes())
        return st_fail(err, ST_CANCELLED, "nothing was approved");
    return ST_OK;
}

/* What was shown is sent, and refused where it is something else by now.  On a connection
 * that did not wait for a person. */
static enum st_code
approve(const struct invocation *in, const char *node_id, const struct node_boot *boot,
        struct st_err *err)
{
    Api__ApproveBootRequest request = API__APPROVE_BOOT_REQUEST__INIT;
    CONNECTION connection = {0};
    AUTO(connect_answer_freep) ProtobufCMessage *answer = NULL;
    enum st_code code = connect_open(in, &connection, err);
    if (code)
        return code;
    request.node_id = (char *)node_id;
    request.pcrs = (ProtobufCBinaryData *)boot->pcrs;
    request.n_pcrs = NODE_PCRS;
    request.clock = boot->clock;
    return connect_call(&connection, "ApproveBoot", &request.base,
                        &api__approve_boot_response__descriptor, &answer, err);
}

/* All that has to be known to ask; the answers own it. */
static enum st_code
look(const struct invocation *in, ProtobufCMessage **out_nodes,
     ProtobufCMessage **out_pcrs, const Api__Node **out_node, struct node_boot *out_boot,
     struct node_diff *out_diff, struct st_err *err)
{
    CONNECTION connection = {0};
    enum st_code code = node_resolve(in, &connection, out_nodes, out_node, err);
    if (!code)
        code = node_pcrs_get(&connection, (*out_node)->node_id, out_pcrs, err);
    if (!code)
        code = node_boot_refused((const void *)*out_pcrs, out_boot, err);
    if (!code)
        code = node_diff(&connection, (*out_node)->node_id, (const void *)*out_pcrs,
                         out_boot, out_diff, err);
    return code;
}

enum st_code
stctl_node_approve(const struct invocation *in, struct st_err *err)
{
    AUTO(connect_answer_freep) ProtobufCMessage *nodes = NULL, *pcrs = NULL;
    AUTO(node_diff_free) struct node_diff diff = {0};
    const Api__Node *node;
    struct node_boot boot;
    enum st_code code = look(in, &nodes, &pcrs, &node, &boot, &diff, err);
    if (code)
        return code;
    if ((code = confirm(in, node->node_id, &diff, &boot, err)) ||
        (code = approve(in, node->node_id, &boot, err)))
        return code;
    if (in->json)
        return json_print(
            json_pack("{s:s, s:O}", "approved", node->node_id, "differed", diff.differs),
            err);
    if (in->options[OPTION_YES])
        print_boot(&diff, &boot, stdout);
    printf("%s may boot this from now on\n", node->node_id);
    return ST_OK;
}
