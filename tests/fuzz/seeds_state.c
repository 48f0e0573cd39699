/* Commands in the log, and the records that come of them. */
#include "tests/fuzz/seeds.h"

#include "nms/digest.h"
#include "nms/audit_line.h"
#include "nms/policy.h"
#include "proto/cert.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <string.h>

#define BYTES(text)                                                                      \
    {                                                                                    \
        sizeof(text) - 1, (uint8_t *)(text)                                              \
    }
#define OF(type) .base = PROTOBUF_C_MESSAGE_INIT(&state__##type##__descriptor)
#define LATER 1600001000 /* than LOG_START */
#define NODE_7                                                                           \
    "smalltown-07000000000000000000000000000000" /* there already: command.c             \
                                                  */
#define NODE_9 "smalltown-09000000000000000000000000000000"

/* The secrets of the enrolment and of the ticket that command.c makes are known by these.
 */
static uint8_t hash[32] = {0x51}, ticket_hash[32] = {0x71};
static char text[] = "a text";

static State__Node node = {OF(node),
                           .node_id = (char *)NODE_9,
                           .id_cert = BYTES("a certificate"),
                           .global_unlock_key = {32, hash},
                           .address = BYTES("\xc0\x00\x02\x09"),
                           .ak_public = BYTES("an AK"),
                           .ek_pubkey = BYTES("an EK"),
                           .secret_hash = {32, hash},
                           .enrolment = text};
static State__Enrol enrol = {OF(enrol), .node = &node};
static State__Adopt adopt = {OF(adopt), .node_id = (char *)NODE_7,
                             .role = STATE__ROLE__WORKER};
static State__RemoveNode remove_node = {OF(remove_node), .node_id = (char *)NODE_7};
static State__Enrolment enrolment = {OF(enrolment), .name = (char *)"another",
                                     .secret_hash = {32, ticket_hash}, .uses_left = 1,
                                     .expires_at = LATER};
static State__NewEnrolment new_enrolment = {OF(new_enrolment), .enrolment = &enrolment};
static State__RemoveEnrolment remove_enrolment = {OF(remove_enrolment),
                                                  .name = (char *)"some"};
static State__Member host = {OF(member),
                             .id = 2,
                             .address = BYTES("\xc0\x00\x02\x02"),
                             .cert = BYTES("a certificate"),
                             .node_id = (char *)"",
                             .name = text,
                             .public_key = {32, hash}};
static State__JoinMaster join = {OF(join_master), .secret_hash = {32, ticket_hash},
                                 .member = &host};
static State__Member adopted = {OF(member),
                                .id = 3,
                                .cert = BYTES("a certificate"),
                                .node_id = (char *)"",
                                .name = (char *)"",
                                .key = BYTES("a key")};
static State__AdoptMaster adopt_master = {OF(adopt_master), .node_id = (char *)NODE_7,
                                          .member = &adopted};
static State__MemberPhase catch_up = {OF(member_phase), .id = 2,
                                      .from = STATE__PHASE__JOINING,
                                      .to = STATE__PHASE__CATCHING_UP};
static State__MemberPhase vote = {OF(member_phase), .id = 2,
                                  .from = STATE__PHASE__CATCHING_UP,
                                  .to = STATE__PHASE__VOTER};
static State__RemoveMaster remove_master = {OF(remove_master), .id = 2};
static State__MemberGone gone = {OF(member_gone), .id = 2, .crl = BYTES("a list"),
                                 .crl_number = 2};
static char *told_ids[] = {(char *)NODE_7};
static State__MastersTold masters_told = {OF(masters_told), .number = 1600000010,
                                          .n_node_ids = 1, .node_ids = told_ids};
static uint8_t elsewhere[2][4] = {{10, 0, 0, 1}, {10, 0, 0, 2}};
static State__Place places[] = {{OF(place), .id = 1, .address = {4, elsewhere[0]}},
                                {OF(place), .id = 2, .address = {4, elsewhere[1]}}};
static State__Place *place_list[] = {&places[0], &places[1]};
static State__MoveMasters move_masters = {OF(move_masters), .n_places = 2,
                                          .places = place_list};
static State__MoveNode move_node = {OF(move_node), .node_id = (char *)NODE_7,
                                    .address = {4, elsewhere[1]}};
static State__Ticket ticket = {OF(ticket), .name = (char *)"other",
                               .secret_hash = {32, hash}, .expires_at = LATER};
static State__InviteMaster invite = {OF(invite_master), .ticket = &ticket};
static State__RevokeTicket revoke = {OF(revoke_ticket), .name = text};

#define HEX_44 "4444444444444444444444444444444444444444444444444444444444444444"
static char strict[] =
    "{\"schema\": 1, \"ek\": {\"require\": \"chain\", \"listed\": [\"" HEX_44 "\"]},\n"
    " \"pcrs\": {\"sets\": [{\"name\": \"s1\", \"nodes\": [\"*\", \"" NODE_7 "\"],\n"
    "                    \"values\": {\"4\": [\"" HEX_44 "\"], \"11\": [\"" HEX_44
    "\", \"" HEX_44 "\"]}},\n"
    "                   {\"name\": \"s2\", \"nodes\": [\"" NODE_9
    "\"], \"values\": {\"0\": [\"" HEX_44 "\"]}}],\n"
    "          \"require_set\": true, \"require_measured_boot\": true},\n"
    " \"adopt\": {\"automatic\": [\"rack1\"]}}\n";
static State__SetPolicy set_policy = {OF(set_policy), .text = strict,
                                      .schema = POLICY_SCHEMA};
static State__EkCa ca = {OF(ek_ca), .cert = BYTES("a certificate")};
static State__AddEkCa add_ek_ca = {OF(add_ek_ca), .ca = &ca};
static State__RemoveEkCa remove_ek_ca = {OF(remove_ek_ca), .sha256 = {32, hash}};

/* Another boot of the node that each input begins with: tests/nms/log.h. */
static uint8_t boot[sizeof(struct tpm_pcrs)] = {0x44}, ak_7[40] = "the AK of 7";
static uint8_t boot_2[sizeof(struct tpm_pcrs)] = {0x45};
static char *window_ids[] = {(char *)NODE_7};
static State__OpenWindow open_window = {OF(open_window), .seconds = 3600, .n_node_ids = 1,
                                        .node_ids = window_ids};
static State__CloseWindow close_window = {OF(close_window)};
static State__CaptureBoot capture_boot = {OF(capture_boot), .node_id = (char *)NODE_7,
                                          .ak_public = {40, ak_7},
                                          .pcrs = {sizeof(boot_2), boot_2}};
static State__RefuseBoot refuse_boot = {OF(refuse_boot), .node_id = (char *)NODE_7,
                                        .ak_public = {40, ak_7},
                                        .pcrs = {sizeof(boot), boot}};
static State__ApproveBoot approve_boot = {OF(approve_boot), .node_id = (char *)NODE_7,
                                          .pcrs = {sizeof(boot), boot}};
static State__TpmClock clocks[] = {{OF(tpm_clock), 90000, UINT32_MAX, 1},
                                   {OF(tpm_clock), 100, UINT32_MAX - 1, 0},
                                   {OF(tpm_clock), 100, 1, 0}};
static State__Release releases[] = {
    {OF(release), .node_id = (char *)NODE_7, .ak_public = {40, ak_7}, .clock = clocks},
    {OF(release), .node_id = (char *)NODE_7, .ak_public = {40, ak_7},
     .clock = clocks + 1},
    {OF(release), .node_id = (char *)NODE_7, .ak_public = {40, ak_7},
     .clock = clocks + 2}};
static State__RefuseBoot refuse_clock = {
    OF(refuse_boot), .node_id = (char *)NODE_7, .ak_public = {40, ak_7},
    .pcrs = {sizeof(boot), boot}, .clock = clocks + 1};
static State__ApproveBoot approve_clock = {OF(approve_boot), .node_id = (char *)NODE_7,
                                           .pcrs = {sizeof(boot), boot},
                                           .clock = clocks + 1};
static State__RemoveCaptured remove_captured = {OF(remove_captured),
                                                .sha256 = {32, hash}};
static uint8_t point[64] = "x and y";
static State__SealAuthority authority = {OF(seal_authority), .point = {64, point},
                                         .key = {32, point}};
static State__RenewAuthority renew_authority = {OF(renew_authority),
                                                .authority = &authority};

static void
command(State__Command__ChangeCase kind, void *change, uint8_t id)
{
    uint8_t request_id[16], by[SHA256_LEN] = {0xad}; /* log_administrator */
    State__Command command = STATE__COMMAND__INIT;
    memset(request_id, id, sizeof(request_id));
    command.request_id = seed_lend(request_id, sizeof(request_id));
    command.time = 1600000010;
    command.by = seed_lend(by, sizeof(by));
    command.change_case = kind;
    command.found = change;
    seed_message_piece(&command.base);
}

static void
authorities(void)
{
    command(STATE__COMMAND__CHANGE_RENEW_AUTHORITY, &renew_authority, 1);
    renew_authority.expected = authority.point;
    command(STATE__COMMAND__CHANGE_RENEW_AUTHORITY, &renew_authority, 2);
    seed_write("command", "authorities");
}

static void
nodes(void)
{
    command(STATE__COMMAND__CHANGE_ENROL, &enrol, 1);
    command(STATE__COMMAND__CHANGE_ADOPT, &adopt, 2);
    command(STATE__COMMAND__CHANGE_NEW_ENROLMENT, &new_enrolment, 3);
    command(STATE__COMMAND__CHANGE_REMOVE_ENROLMENT, &remove_enrolment, 4);
    command(STATE__COMMAND__CHANGE_REMOVE_NODE, &remove_node, 5);
    command(STATE__COMMAND__CHANGE_REMOVE_NODE, &remove_node, 5);
    seed_write("command", "nodes");
}

static void
policies(void)
{
    command(STATE__COMMAND__CHANGE_SET_POLICY, &set_policy, 1);
    command(STATE__COMMAND__CHANGE_ADD_EK_CA, &add_ek_ca, 2);
    command(STATE__COMMAND__CHANGE_ENROL, &enrol, 3);
    command(STATE__COMMAND__CHANGE_ADOPT, &adopt, 4);
    command(STATE__COMMAND__CHANGE_REMOVE_EK_CA, &remove_ek_ca, 5);
    seed_write("command", "policies");
    seed_bytes(strict, strlen(strict));
    seed_write("policy", "strict");
    seed_bytes(policy_default, strlen(policy_default));
    seed_write("policy", "default");
}

static void
windows(void)
{
    command(STATE__COMMAND__CHANGE_ADOPT, &adopt, 1);
    command(STATE__COMMAND__CHANGE_SET_POLICY, &set_policy, 2);
    command(STATE__COMMAND__CHANGE_REFUSE_BOOT, &refuse_boot, 3);
    command(STATE__COMMAND__CHANGE_APPROVE_BOOT, &approve_boot, 4);
    command(STATE__COMMAND__CHANGE_OPEN_WINDOW, &open_window, 5);
    command(STATE__COMMAND__CHANGE_CAPTURE_BOOT, &capture_boot, 6);
    command(STATE__COMMAND__CHANGE_CLOSE_WINDOW, &close_window, 7);
    command(STATE__COMMAND__CHANGE_REMOVE_CAPTURED, &remove_captured, 8);
    command(STATE__COMMAND__CHANGE_REMOVE_NODE, &remove_node, 9);
    seed_write("command", "windows");
}

static void
counted(void)
{
    command(STATE__COMMAND__CHANGE_ADOPT, &adopt, 1);
    command(STATE__COMMAND__CHANGE_RELEASE, &releases[0], 2);
    command(STATE__COMMAND__CHANGE_RELEASE, &releases[1], 3);
    command(STATE__COMMAND__CHANGE_REFUSE_CLOCK, &refuse_clock, 4);
    command(STATE__COMMAND__CHANGE_APPROVE_CLOCK, &approve_clock, 5);
    command(STATE__COMMAND__CHANGE_RELEASE, &releases[1], 6);
    command(STATE__COMMAND__CHANGE_RELEASE, &releases[2], 7);
    command(STATE__COMMAND__CHANGE_REMOVE_NODE, &remove_node, 8);
    seed_write("command", "counted");
}

static void
audit(void)
{
    const struct st_err ok = {0};
    struct st_err no = {.code = ST_PERMISSION_DENIED, .text = "PCR 4 differs"};
    struct audit_line line;
    char said[AUDIT_LINE_MAX];
    audit_line_fill(&line, "unlock", NODE_7, "[2001:db8::1]:4711", &no);
    audit_line_ek(&line, "an EK", 5);
    line.time_ms = 1600000010123;
    line.number = 1600000010123456;
    seed_bytes(said, audit_line_format(&line, said));
    line.more = line.policy = line.member = 12;
    strcpy(line.admin, "0123456789abcdef");
    strcpy(line.step, "vote");
    line.number++;
    seed_bytes(said, audit_line_format(&line, said));
    audit_line_fill(&line, "join", "192.0.2.1", NULL, &ok);
    line.number = 1600000010123459;
    seed_bytes(said, audit_line_format(&line, said));
    audit_line_fill(&line, "capture-boot", NODE_7, "192.0.2.1:9", &ok);
    strcpy(line.reason, "PCR 4 differs");
    line.number = 1600000010123460;
    seed_bytes(said, audit_line_format(&line, said));
    audit_line_fill(&line, "set-policy", "3", "192.0.2.1:9", &ok);
    line.number = 1600000010123461;
    seed_bytes(said, audit_line_format(&line, said) - 4);
    seed_write("audit", "lines");
}

static void
masters(void)
{
    command(STATE__COMMAND__CHANGE_INVITE_MASTER, &invite, 1);
    command(STATE__COMMAND__CHANGE_JOIN_MASTER, &join, 2);
    command(STATE__COMMAND__CHANGE_MEMBER_PHASE, &catch_up, 3);
    command(STATE__COMMAND__CHANGE_ADOPT_MASTER, &adopt_master, 4);
    command(STATE__COMMAND__CHANGE_REMOVE_MASTER, &remove_master, 5);
    command(STATE__COMMAND__CHANGE_MEMBER_GONE, &gone, 6);
    command(STATE__COMMAND__CHANGE_INVITE_MASTER, &invite, 7);
    command(STATE__COMMAND__CHANGE_REVOKE_TICKET, &revoke, 8);
    seed_write("command", "masters");
}

/* A node becomes the second master, and is removed; and so is the first. */
static void
node_that_is_a_master(void)
{
    adopted.id = 2;
    remove_master.id = 1;
    command(STATE__COMMAND__CHANGE_ADOPT_MASTER, &adopt_master, 1);
    command(STATE__COMMAND__CHANGE_MEMBER_PHASE, &catch_up, 2);
    command(STATE__COMMAND__CHANGE_MEMBER_PHASE, &vote, 3);
    command(STATE__COMMAND__CHANGE_MASTERS_TOLD, &masters_told, 8);
    command(STATE__COMMAND__CHANGE_MOVE_MASTERS, &move_masters, 9);
    command(STATE__COMMAND__CHANGE_MOVE_NODE, &move_node, 10);
    command(STATE__COMMAND__CHANGE_ADOPT_MASTER, &adopt_master, 4);
    command(STATE__COMMAND__CHANGE_REMOVE_NODE, &remove_node, 5);
    command(STATE__COMMAND__CHANGE_REMOVE_MASTER, &remove_master, 6);
    command(STATE__COMMAND__CHANGE_MEMBER_GONE, &gone, 7);
    seed_write("command", "node-master");
}

/* ---- records ---- */

static void
record(const char *key, const ProtobufCMessage *value)
{
    seed_piece(key, strlen(key));
    seed_message_piece(value);
}

/* A window, what came through it, and what did not. */
static void
boots(void)
{
    State__Window window = STATE__WINDOW__INIT;
    State__Captured captured = STATE__CAPTURED__INIT;
    State__Refused refused = STATE__REFUSED__INIT;
    uint8_t named[2 + 32] = {0, 1 << 4, 0x44}, sha256[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1], key[80];
    window.number = 1;
    window.closes_at = LATER;
    window.opened_by = seed_lend(hash, 32);
    window.node_ids = window_ids;
    window.n_node_ids = 1;
    record("window", &window.base);
    captured.pcrs = 1 << 4;
    captured.values = seed_lend(named + 2, 32);
    captured.nodes = 1;
    if (digest_labelled("captured", named, sizeof(named), sha256, NULL))
        return;
    sha256_hex(sha256, hex);
    snprintf(key, sizeof(key), "captured/%s", hex);
    record(key, &captured.base);
    refused.node_id = (char *)NODE_9;
    refused.pcrs = seed_lend(boot, sizeof(boot));
    record("refused/" NODE_9, &refused.base);
}

static void
each_kind(void)
{
    State__Cluster cluster = STATE__CLUSTER__INIT;
    State__Result result = STATE__RESULT__INIT;
    State__Request request = STATE__REQUEST__INIT;
    State__Admin admin = STATE__ADMIN__INIT;
    State__Policy policy = STATE__POLICY__INIT;
    uint8_t sha256[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1], key[80];
    cluster.name = (char *)"home";
    cluster.masters_seed = seed_lend(hash, 32);
    cluster.masters_cert = host.cert;
    cluster.crl_number = 1;
    result.text = text;
    request.request_id = seed_lend(hash, 16);
    request.result = &result;
    admin.fingerprint = seed_lend(ticket_hash, 32);
    admin.role = STATE__ADMIN_ROLE__ADMIN;
    record("cluster", &cluster.base);
    record("member/2", &host.base);
    record("admin/7100000000000000000000000000000000000000000000000000000000000000",
           &admin.base);
    record("enrolment/another", &enrolment.base);
    record("ticket/other", &ticket.base);
    record("node/" NODE_9, &node.base);
    policy.version = 1;
    policy.text = strict;
    record("policy/0000000000000001", &policy.base);
    cert_fingerprint(ca.cert.data, ca.cert.len, sha256);
    sha256_hex(sha256, hex);
    snprintf(key, sizeof(key), "ek-ca/%s", hex);
    record(key, &ca.base);
    boots();
    record("request/0000000000000001", &request.base);
    seed_write("records", "all");
}

/* More of them than a group can have. */
static void
many_members(void)
{
    char key[32];
    State__Member member = STATE__MEMBER__INIT;
    member.address = seed_lend("\xc0\x00\x02\x02", 4);
    member.cert = seed_lend("a certificate", 13);
    member.name = (char *)"a name";
    for (member.id = 1; member.id < 13; member.id++) {
        snprintf(key, sizeof(key), "member/%llu", (unsigned long long)member.id);
        record(key, &member.base);
    }
    seed_write("records", "many");
}

void
seeds_state(void)
{
    nodes();
    authorities();
    policies();
    windows();
    counted();
    audit();
    masters();
    node_that_is_a_master();
    each_kind();
    many_members();
}
