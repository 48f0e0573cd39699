#include "nms/nms.h"

void
nms_decided(struct nms *nms, enum audit_kind kind, struct audit_line *line)
{
    line->policy = state_policy_version(nms->state);
    audit_say(nms->audit, kind, line);
}

void
nms_decided_node(struct nms *nms, struct audit_line *line)
{
    AUTO(state_node_freep) State__Node *node = NULL;
    if (!state_node(nms->state, line->subject, &node, NULL))
        audit_line_ek(line, node->ek_pubkey.data, node->ek_pubkey.len);
    nms_decided(nms, AUDIT_NODE, line);
}
