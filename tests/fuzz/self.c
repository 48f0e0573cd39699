/* member.pb and joining.pb of a master. */
#include "nms/self.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static bool
same(const struct self *a, const struct self *b)
{
    return a->id == b->id && a->joining == b->joining && a->cert.len == b->cert.len &&
           memcmp(a->cert.der, b->cert.der, a->cert.len) == 0 && a->ca.len == b->ca.len &&
           memcmp(a->ca.der, b->ca.der, a->ca.len) == 0 && a->crl.len == b->crl.len &&
           memcmp(a->crl.der, b->crl.der, a->crl.len) == 0 && a->key.len == b->key.len &&
           memcmp(a->key.bytes, b->key.bytes, a->key.len) == 0 &&
           memcmp(a->ticket, b->ticket, sizeof(a->ticket)) == 0 &&
           a->place_count == b->place_count;
}

static bool
same_places(const struct self *a, const struct self *b)
{
    for (size_t i = 0; i < a->place_count; i++)
        if (a->places[i].id != b->places[i].id ||
            !address_equal(&a->places[i].address, &b->places[i].address))
            return false;
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    const char *dir = fuzz_folder();
    struct self self = {0}, begun = {0}, again = {0};
    struct st_err err = {0};
    fuzz_file("member.pb", bytes, len);
    fuzz_file("joining.pb", bytes, len);
    const bool good = !self_read(dir, &self, &err);
    FUZZ_HOLDS(good || err.code == ST_DATA_LOSS || err.code == ST_INVALID_ARGUMENT);
    /* joining.pb lacks what member.pb must have. */
    FUZZ_HOLDS(self_begun_read(dir, &begun, NULL) == ST_OK || !good);
    if (good) {
        FUZZ_HOLDS(self.cert.len <= sizeof(self.cert.der) &&
                   self.ca.len <= sizeof(self.ca.der) &&
                   self.crl.len <= sizeof(self.crl.der) &&
                   self.key.len <= sizeof(self.key.bytes));
        FUZZ_HOLDS(!self_write(dir, &self, &err) && !self_read(dir, &again, &err));
        FUZZ_HOLDS(same(&self, &again) && self.place_count <= REPLICA_MEMBERS_MAX);
        FUZZ_HOLDS(same_places(&self, &again));
    }
    return 0;
}
