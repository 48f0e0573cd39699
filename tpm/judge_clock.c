/* Whether a TPM went on, or came back as it was before.
 *
 * Our AK is in the owner hierarchy, so the TPM adds a number to each of both counters
 * that nobody else knows, the same one in every quote of this AK (Part 1, "Privacy
 * Aspects of Clock").  Only differences say something, and those modulo 2^32.
 *
 * A power cut turns no counter back: TPM2_Startup has written resetCount before anybody
 * is answered.  It does turn the clock back, to what was last written, and
 * TPMS_CLOCK_INFO has `safe` to say so.  That is not to be relied on: libtpms sets it
 * again after four seconds, without having written anything, and so quotes a smaller
 * clock as safe.  Four power cuts in a row would lock a virtual machine out.  So clocks
 * are compared within one boot only, where nothing turns them back.
 */
#include "tpm/judge_internal.h"

#include <inttypes.h>

/* How far `now` is ahead; negative: behind.  Both may have wrapped around. */
static int64_t
ahead(uint32_t now, uint32_t before)
{
    return (int32_t)(now - before);
}

static enum st_code
went_back(struct st_err *err, const char *before, int64_t by, const char *behind)
{
    return st_fail_for(err, ST_PERMISSION_DENIED, ST_REASON_REFUSED,
                       "its TPM went back: %s%" PRId64 " %s when it was last accepted",
                       before, by, behind);
}

enum st_code
tpm_clock_check(const struct tpm_clock *before, const struct tpm_clock *now,
                struct st_err *err)
{
    const int64_t resets = ahead(now->reset_count, before->reset_count);
    const int64_t restarts = ahead(now->restart_count, before->restart_count);
    if (REFUSES(0x15a, resets < 0))
        return went_back(err, "", -resets, "resets fewer than");
    if (resets != 0)
        return ST_OK;
    if (REFUSES(0x49a, restarts < 0))
        return went_back(err, "the same reset, and ", -restarts, "resumes fewer than");
    if (restarts != 0)
        return ST_OK;
    if (REFUSES(0x15b, now->clock_ms < before->clock_ms))
        return went_back(err, "the same boot, and its clock is ",
                         (int64_t)((before->clock_ms - now->clock_ms) / 1000),
                         "s behind that of");
    return ST_OK;
}
