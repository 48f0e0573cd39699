#include "tests/nms/second.h"

#include "tests/cmocka.h"

enum {
    COMMIT_MS = 30000
};

void
second_propose(struct replica *replica, State__Command *command)
{
    static uint8_t id[REQUEST_ID_LEN];
    struct replica_result result;
    struct st_err err = {0};
    uint8_t packed[1024];
    id[0]++;
    command->request_id = (ProtobufCBinaryData){sizeof(id), id};
    command->time = 1600000000;
    const size_t len = state__command__get_packed_size(command);
    assert_in_range(len, 1, sizeof(packed));
    state__command__pack(command, packed);
    assert_ok(replica_propose_wait(replica, packed, len, COMMIT_MS, &result, &err));
    assert_ok(state_result(&result, &err));
}

static ProtobufCBinaryData
bytes_of(const void *bytes, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)bytes};
}

void
second_add(struct replica *replica, const struct st_address *there)
{
    const uint8_t secret[32] = {1}, key[32] = {2};
    State__Ticket ticket = STATE__TICKET__INIT;
    ticket.name = (char *)"second";
    ticket.secret_hash = bytes_of(secret, sizeof(secret));
    ticket.expires_at = 1600000060;
    State__InviteMaster invite_master = STATE__INVITE_MASTER__INIT;
    invite_master.ticket = &ticket;
    State__Command command = STATE__COMMAND__INIT;
    command.change_case = STATE__COMMAND__CHANGE_INVITE_MASTER;
    command.invite_master = &invite_master;
    second_propose(replica, &command);
    State__Member member = STATE__MEMBER__INIT;
    member.id = 2;
    member.address = bytes_of(there->bytes, there->len);
    member.cert = bytes_of("a certificate", 14);
    member.public_key = bytes_of(key, sizeof(key));
    State__JoinMaster join_master = STATE__JOIN_MASTER__INIT;
    join_master.secret_hash = bytes_of(secret, sizeof(secret));
    join_master.member = &member;
    command.change_case = STATE__COMMAND__CHANGE_JOIN_MASTER;
    command.join_master = &join_master;
    second_propose(replica, &command);
}
