/* What a failure means for a script that called us, and for a person. */
#include "tools/stctl.h"

enum {
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_REFUSED = 4,
    EXIT_UNREACHABLE = 5,
    EXIT_WRONG_STATE = 6,
};

/* What is busy says when to come again; what is full waits for somebody. */
static bool
is_full(const struct st_err *err)
{
    return err->code == ST_RESOURCE_EXHAUSTED && err->retry_ms == 0;
}

int
exit_status(const struct st_err *err)
{
    switch (err->code) {
    case ST_OK:
        return 0;
    case ST_INVALID_ARGUMENT:
        return EXIT_USAGE;
    case ST_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case ST_PERMISSION_DENIED:
    case ST_UNAUTHENTICATED:
        return EXIT_REFUSED;
    case ST_UNAVAILABLE:
    case ST_DEADLINE_EXCEEDED:
        return EXIT_UNREACHABLE;
    case ST_RESOURCE_EXHAUSTED:
        return is_full(err) ? EXIT_WRONG_STATE : EXIT_UNREACHABLE;
    case ST_ALREADY_EXISTS:
    case ST_FAILED_PRECONDITION:
        return EXIT_WRONG_STATE;
    case ST_CANCELLED:
    case ST_UNKNOWN:
    case ST_ABORTED:
    case ST_OUT_OF_RANGE:
    case ST_UNIMPLEMENTED:
    case ST_INTERNAL:
    case ST_DATA_LOSS:
        return EXIT_FAILED;
    }
    return EXIT_FAILED;
}

static const char *
advice_for_code(enum st_code code)
{
    switch (code) {
    case ST_DEADLINE_EXCEEDED:
        return "see `stctl status`, or give it longer with --timeout";
    case ST_PERMISSION_DENIED:
    case ST_UNAUTHENTICATED:
        return "an administrator must list your certificate: `stctl admin add`";
    case ST_UNAVAILABLE:
        return "see `stctl status`";
    case ST_UNIMPLEMENTED:
        return "the master is older than this stctl, or cannot do this yet";
    default:
        return NULL;
    }
}

const char *
exit_advice(const struct st_err *err)
{
    switch (err->reason) {
    case ST_REASON_UNREACHABLE:
        return "is smalltown-nms running there, and is the address right (`stctl context "
               "list`)?";
    case ST_REASON_LOST:
        return "what was asked may have been done: look before you ask again (`stctl "
               "status`)";
    case ST_REASON_OTHER_SERVER:
        return "another cluster answers there: if yours was made anew, remove the "
               "context "
               "and add it again with the new masters.pem";
    case ST_REASON_ROLE:
        return "ask an administrator whose role is admin";
    case ST_REASON_NO_QUORUM:
    case ST_REASON_NO_LEADER:
        return "start the masters that are down, then try again (`stctl status`)";
    case ST_REASON_BUSY:
        return is_full(err) ? NULL : "try again in a moment";
    case ST_REASON_CHANGED:
        return "try again in a moment";
    case ST_REASON_RECORDED:
        return "see `stctl master list`";
    case ST_REASON_NOT_ADOPTED:
        return "`stctl node adopt` it first";
    case ST_REASON_NONE:
    case ST_REASON_MALFORMED:
    case ST_REASON_REFUSED:
    case ST_REASON_EXISTS:
    case ST_REASON_NOT_FOUND:
    case ST_REASON_CLOCK:
    case ST_REASON_COUNT:
        break;
    }
    return advice_for_code(err->code);
}
