/* The way from an EK certificate to a CA over what a stranger sends along. */
#include "tests/cmocka.h"
#include "tests/tpm/chain_forge.h"

#include <stdlib.h>
#include <string.h>

enum {
    NODES_MAX = 2 * TPM_EK_CHAIN_CERTS,
};

static const struct forge_chain ek_as_it_should_be = {.name = "an EK"};
static struct forge_bytes spki; /* of a TPM that is not there */
static unsigned signatures;     /* that wolfSSL was asked for */

int __real_wolfSSL_CertManagerVerifyBuffer(void *manager, const unsigned char *bytes,
                                           long len, int format);
int __wrap_wolfSSL_CertManagerVerifyBuffer(void *manager, const unsigned char *bytes,
                                           long len, int format);

int
__wrap_wolfSSL_CertManagerVerifyBuffer(void *manager, const unsigned char *bytes,
                                       long len, int format)
{
    signatures++;
    return __real_wolfSSL_CertManagerVerifyBuffer(manager, bytes, len, format);
}

static int
set_up(void **state)
{
    (void)state;
    struct forge_ak *key = forge_ak_make(FORGE_ECC);
    const TPMT_PUBLIC public = forge_ak_public(key);
    spki = forge_spki(&public);
    forge_ak_free(key);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    forge_bytes_free(&spki);
    return 0;
}

/* Sent in this order, NULL at the end. */
static enum st_code
judged(const struct forge_bytes *ek, const struct forge_issuer *const sent[],
       const struct forge_issuer *ca)
{
    ProtobufCBinaryData given[NODES_MAX];
    struct tpm_ek_chain chain;
    struct st_err err = {0};
    size_t count = 0;
    for (; sent[count]; count++)
        given[count] =
            (ProtobufCBinaryData){sent[count]->der.len, sent[count]->der.bytes};
    tpm_ek_chain_read(ek->bytes, ek->len, given, count, &chain);
    return tpm_ek_path_check(ek->bytes, ek->len, &chain, ca->der.bytes, ca->der.len,
                             &err);
}
#define JUDGED(ek, ca, ...)                                                              \
    judged(ek, (const struct forge_issuer *const[]){__VA_ARGS__, NULL}, ca)

/* A root, what is below it, and an EK certificate below that, as `below` says. */
static enum st_code
judged_below(const struct forge_chain *root_is, struct forge_chain below,
             const struct forge_chain *ek_is)
{
    FORGE_ISSUER root = {0}, middle = {0};
    forge_issuer_make(root_is, &root);
    below.above = &root;
    forge_issuer_make(&below, &middle);
    FORGE_BYTES ek = forge_ek_cert(&middle, &spki, ek_is);
    return JUDGED(&ek, &root, &middle);
}

static const struct forge_chain a_root = {.name = "a root"};

static enum st_code
judged_over(struct forge_chain below)
{
    below.name = "below";
    return judged_below(&a_root, below, &ek_as_it_should_be);
}

static void
what_the_TPM_holds_leads_to_the_CA_in_whatever_order(void **state)
{
    (void)state;
    FORGE_ISSUER root = {0}, rom = {0}, kernel = {0}, svn = {0};
    forge_issuer_make(&(struct forge_chain){.name = "a root", .curve = "P-384"}, &root);
    forge_issuer_make(
        &(struct forge_chain){.name = "ROM", .above = &root, .digest = "SHA384"}, &rom);
    forge_issuer_make(&(struct forge_chain){.name = "kernel", .above = &rom}, &kernel);
    forge_issuer_make(
        &(struct forge_chain){.name = "SVN", .above = &kernel, .digest = "SHA512"}, &svn);
    FORGE_BYTES ek = forge_ek_cert(&svn, &spki, &ek_as_it_should_be);
    assert_code(JUDGED(&ek, &root, &rom, &kernel, &svn), ST_OK);
    assert_code(JUDGED(&ek, &root, &svn, &kernel, &rom), ST_OK);
    assert_code(JUDGED(&ek, &root, &kernel, &rom, &svn), ST_OK);
    assert_code(JUDGED(&ek, &rom, &kernel, &svn), ST_OK);
    assert_code(JUDGED(&ek, &root, &rom, &svn), ST_PERMISSION_DENIED);
    assert_code(JUDGED(&ek, &root, &kernel, &svn), ST_PERMISSION_DENIED);
    assert_code(JUDGED(&ek, &root, NULL), ST_PERMISSION_DENIED);
}

static void
what_is_of_no_use_is_neither_read_nor_kept(void **state)
{
    (void)state;
    FORGE_ISSUER root = {0}, middle = {0}, other = {0};
    forge_issuer_make(&a_root, &root);
    forge_issuer_make(&(struct forge_chain){.name = "below", .above = &root}, &middle);
    forge_issuer_make(&(struct forge_chain){.name = "of another EK", .above = &root},
                      &other);
    FORGE_BYTES ek = forge_ek_cert(&middle, &spki, &ek_as_it_should_be);
    static uint8_t rubbish[TPM_EK_CHAIN_MAX];
    const ProtobufCBinaryData good = {middle.der.len, middle.der.bytes},
                              idle = {other.der.len, other.der.bytes},
                              self = {root.der.len, root.der.bytes},
                              cut = {middle.der.len - 1, middle.der.bytes},
                              none = {0, NULL}, own = {ek.len, ek.bytes};
    const ProtobufCBinaryData some[] = {none, cut, idle, self, own, good};
    struct tpm_ek_chain chain;
    tpm_ek_chain_read(ek.bytes, ek.len, some, 6, &chain);
    assert_int_equal(chain.count, 1);
    assert_ptr_equal(chain.links[0].cert.at, middle.der.bytes);
    assert_code(
        tpm_ek_path_check(ek.bytes, ek.len, &chain, root.der.bytes, root.der.len, NULL),
        ST_OK);
    /* The ninth is not looked at, nor what is beyond the bytes. */
    const ProtobufCBinaryData many[] = {idle, idle, idle, idle, idle,
                                        idle, idle, idle, good};
    tpm_ek_chain_read(ek.bytes, ek.len, many, 9, &chain);
    assert_int_equal(chain.count, 0);
    const ProtobufCBinaryData large[] = {{TPM_EK_CHAIN_MAX - good.len + 1, rubbish},
                                         good};
    tpm_ek_chain_read(ek.bytes, ek.len, large, 2, &chain);
    assert_int_equal(chain.count, 0);
    const ProtobufCBinaryData fits[] = {{TPM_EK_CHAIN_MAX - good.len, rubbish}, good};
    tpm_ek_chain_read(ek.bytes, ek.len, fits, 2, &chain);
    assert_int_equal(chain.count, 1);
    tpm_ek_chain_read(rubbish, sizeof(rubbish), &good, 1, &chain);
    assert_int_equal(chain.count, 0);
}

static void
N24_an_intermediate_has_the_CA_bit(void **state)
{
    (void)state;
    assert_code(judged_over((struct forge_chain){0}), ST_OK);
    assert_code(judged_over((struct forge_chain){.constraints = ""}),
                ST_PERMISSION_DENIED);
    assert_code(judged_over((struct forge_chain){.constraints = "critical,CA:FALSE"}),
                ST_PERMISSION_DENIED);
}

/* Who holds the key of one machine's certificate certifies no other. */
static void
N24_an_EK_certificate_is_no_intermediate(void **state)
{
    (void)state;
    const struct forge_chain ek = {.constraints = "critical,CA:FALSE",
                                   .usage = "critical,keyAgreement",
                                   .purposes = "2.23.133.8.1"};
    assert_code(judged_over(ek), ST_PERMISSION_DENIED);
}

static void
N24_an_intermediate_may_sign_certificates(void **state)
{
    (void)state;
    static const char *const usages[] = {"", "critical,cRLSign", "digitalSignature"};
    for (size_t i = 0; i < sizeof(usages) / sizeof(*usages); i++)
        assert_code(judged_over((struct forge_chain){.usage = usages[i]}),
                    ST_PERMISSION_DENIED);
    assert_code(judged_over((struct forge_chain){
                    .usage = "critical,digitalSignature,keyEncipherment,keyAgreement,"
                             "keyCertSign,cRLSign"}),
                ST_OK);
}

static void
N24_an_intermediate_for_something_else_is_none(void **state)
{
    (void)state;
    assert_code(judged_over((struct forge_chain){.purposes = "serverAuth"}),
                ST_PERMISSION_DENIED);
    assert_code(judged_over((struct forge_chain){.purposes = "2.23.133.8.3"}),
                ST_PERMISSION_DENIED);
    assert_code(judged_over((struct forge_chain){.purposes = "serverAuth,2.23.133.8.1"}),
                ST_OK);
    assert_code(judged_over((struct forge_chain){.purposes = "anyExtendedKeyUsage"}),
                ST_OK);
    /* And below a good one the EK certificate is for an EK all the same. */
    assert_code(
        judged_below(&a_root, (struct forge_chain){.name = "below"},
                     &(struct forge_chain){.name = "x", .purposes = "serverAuth"}),
        ST_PERMISSION_DENIED);
}

static void
N24_names_that_are_constrained_are_no_chain(void **state)
{
    (void)state;
    const char *const names = "excluded;DNS:example.org";
    assert_code(judged_over((struct forge_chain){.names = names}), ST_PERMISSION_DENIED);
    assert_code(judged_below(&(struct forge_chain){.name = "a root", .names = names},
                             (struct forge_chain){.name = "below"}, &ek_as_it_should_be),
                ST_PERMISSION_DENIED);
}

static void
N24_a_weak_hash_is_no_chain(void **state)
{
    (void)state;
    assert_code(judged_over((struct forge_chain){.digest = "SHA1"}),
                ST_PERMISSION_DENIED);
    assert_code(judged_below(&a_root, (struct forge_chain){.name = "below"},
                             &(struct forge_chain){.name = "an EK", .digest = "SHA1"}),
                ST_PERMISSION_DENIED);
}

static void
N24_an_intermediate_out_of_its_time_is_no_chain(void **state)
{
    (void)state;
    assert_code(judged_over((struct forge_chain){.to = "20210101000000Z"}),
                ST_PERMISSION_DENIED);
    assert_code(judged_over((struct forge_chain){.from = "22210101000000Z"}),
                ST_PERMISSION_DENIED);
    assert_code(judged_over((struct forge_chain){.critical = "1.3.6.1.4.1.1.2.3"}),
                ST_PERMISSION_DENIED);
}

/* pathlen 0 of the root: only EKs below it; of the first: only EKs below that. */
static void
N24_a_path_is_as_short_as_those_above_it_say(void **state)
{
    (void)state;
    static const struct {
        const char *root, *first;
        enum st_code one, two;
    } cases[] = {
        {NULL, NULL, ST_OK, ST_OK},
        {"critical,CA:TRUE,pathlen:0", NULL, ST_PERMISSION_DENIED, ST_PERMISSION_DENIED},
        {"critical,CA:TRUE,pathlen:1", NULL, ST_OK, ST_PERMISSION_DENIED},
        {"critical,CA:TRUE,pathlen:2", NULL, ST_OK, ST_OK},
        {NULL, "critical,CA:TRUE,pathlen:0", ST_OK, ST_PERMISSION_DENIED},
        {NULL, "critical,CA:TRUE,pathlen:1", ST_OK, ST_OK},
        {"critical,CA:TRUE,pathlen:1", "critical,CA:TRUE,pathlen:9", ST_OK,
         ST_PERMISSION_DENIED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        FORGE_ISSUER root = {0}, first = {0}, second = {0};
        forge_issuer_make(
            &(struct forge_chain){.name = "a root", .constraints = cases[i].root}, &root);
        forge_issuer_make(&(struct forge_chain){.name = "first",
                                                .above = &root,
                                                .constraints = cases[i].first},
                          &first);
        forge_issuer_make(&(struct forge_chain){.name = "second", .above = &first},
                          &second);
        FORGE_BYTES one = forge_ek_cert(&first, &spki, &ek_as_it_should_be);
        FORGE_BYTES two = forge_ek_cert(&second, &spki, &ek_as_it_should_be);
        assert_code(JUDGED(&one, &root, &first, &second), cases[i].one);
        assert_code(JUDGED(&two, &root, &first, &second), cases[i].two);
    }
}

/* The same names and other keys, at every place. */
static void
N24_a_namesake_signs_nothing(void **state)
{
    (void)state;
    FORGE_ISSUER root = {0}, middle = {0}, false_root = {0}, false_middle = {0};
    const struct forge_chain below = {.name = "below", .above = &root};
    forge_issuer_make(&a_root, &root);
    forge_issuer_make(&a_root, &false_root);
    forge_issuer_make(&below, &middle);
    forge_issuer_make(&(struct forge_chain){.name = "below", .above = &false_root},
                      &false_middle);
    FORGE_BYTES good = forge_ek_cert(&middle, &spki, &ek_as_it_should_be);
    FORGE_BYTES bad = forge_ek_cert(&false_middle, &spki, &ek_as_it_should_be);
    assert_code(JUDGED(&bad, &root, &false_middle), ST_PERMISSION_DENIED);
    assert_code(JUDGED(&bad, &root, &false_middle, &false_root), ST_PERMISSION_DENIED);
    assert_code(JUDGED(&bad, &root, &middle), ST_PERMISSION_DENIED);
    assert_code(JUDGED(&bad, &root, &middle, &false_middle, &root), ST_PERMISSION_DENIED);
    assert_code(JUDGED(&good, &root, &false_middle, &false_root), ST_PERMISSION_DENIED);
    assert_code(JUDGED(&good, &root, &false_middle, &false_root, &middle), ST_OK);
    FORGE_BYTES own = forge_ek_cert(NULL, &spki, &(struct forge_chain){.name = "below"});
    assert_code(JUDGED(&own, &root, &middle), ST_PERMISSION_DENIED);
}

static void
N24_a_loop_leads_nowhere(void **state)
{
    (void)state;
    FORGE_ISSUER root = {0}, one = {0}, two = {0}, back = {0}, out = {0}, on = {0};
    forge_issuer_make(&a_root, &root);
    forge_issuer_make(&(struct forge_chain){.name = "one"}, &one);
    forge_issuer_make(&(struct forge_chain){.name = "two", .above = &one}, &two);
    forge_issuer_make(&(struct forge_chain){.name = "one", .above = &two}, &back);
    FORGE_BYTES ek = forge_ek_cert(&back, &spki, &ek_as_it_should_be);
    signatures = 0;
    assert_code(JUDGED(&ek, &root, &back, &two, &one), ST_PERMISSION_DENIED);
    assert_int_equal(signatures, 0);
    /* The loop does not hide the way out of it. */
    forge_issuer_make(&(struct forge_chain){.name = "two", .above = &root}, &out);
    forge_issuer_make(&(struct forge_chain){.name = "one", .above = &out}, &on);
    FORGE_BYTES other = forge_ek_cert(&on, &spki, &ek_as_it_should_be);
    assert_code(JUDGED(&other, &root, &back, &two, &on, &out), ST_OK);
}

/* Nobody's key is used before the CA vouched for it, and nothing is tried for ever. */
static void
N24_what_a_stranger_sends_costs_a_few_signatures(void **state)
{
    (void)state;
    FORGE_ISSUER root = {0}, foreign = {0}, below_it = {0};
    struct forge_issuer good[3] = {0}, fake[5] = {0};
    forge_issuer_make(&a_root, &root);
    forge_issuer_make(&(struct forge_chain){.name = "foreign"}, &foreign);
    forge_issuer_make(&(struct forge_chain){.name = "deep", .above = &foreign},
                      &below_it);
    FORGE_BYTES alone = forge_ek_cert(&below_it, &spki, &ek_as_it_should_be);
    signatures = 0;
    assert_code(JUDGED(&alone, &root, &below_it, &foreign), ST_PERMISSION_DENIED);
    assert_int_equal(signatures, 0);
    /* 3 of the CA's own with one name, and 5 that say they are below them. */
    FORGE_ISSUER liar = {0};
    forge_issuer_make(&(struct forge_chain){.name = "below"}, &liar);
    for (int i = 0; i < 3; i++)
        forge_issuer_make(&(struct forge_chain){.name = "below", .above = &root},
                          &good[i]);
    for (int i = 0; i < 5; i++)
        forge_issuer_make(&(struct forge_chain){.name = "deep", .above = &liar},
                          &fake[i]);
    signatures = 0;
    assert_code(JUDGED(&alone, &root, &good[0], &good[1], &good[2], &fake[0], &fake[1],
                       &fake[2], &fake[3], &fake[4]),
                ST_PERMISSION_DENIED);
    assert_int_equal(signatures, TPM_EK_SIGNATURES_MAX);
    for (int i = 0; i < 3; i++)
        forge_issuer_free(&good[i]);
    for (int i = 0; i < 5; i++)
        forge_issuer_free(&fake[i]);
}

static void
N24_one_bit_changed_in_an_intermediate_is_no_chain(void **state)
{
    (void)state;
    FORGE_ISSUER root = {0}, middle = {0};
    forge_issuer_make(&a_root, &root);
    forge_issuer_make(&(struct forge_chain){.name = "below", .above = &root}, &middle);
    FORGE_BYTES ek = forge_ek_cert(&middle, &spki, &ek_as_it_should_be);
    for (size_t at = 0; at < middle.der.len; at++) {
        middle.der.bytes[at] ^= 1;
        assert_code(JUDGED(&ek, &root, &middle), ST_PERMISSION_DENIED);
        middle.der.bytes[at] ^= 1;
    }
    assert_code(JUDGED(&ek, &root, &middle), ST_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_TPM_holds_leads_to_the_CA_in_whatever_order),
        cmocka_unit_test(what_is_of_no_use_is_neither_read_nor_kept),
        cmocka_unit_test(N24_an_intermediate_has_the_CA_bit),
        cmocka_unit_test(N24_an_EK_certificate_is_no_intermediate),
        cmocka_unit_test(N24_an_intermediate_may_sign_certificates),
        cmocka_unit_test(N24_an_intermediate_for_something_else_is_none),
        cmocka_unit_test(N24_names_that_are_constrained_are_no_chain),
        cmocka_unit_test(N24_a_weak_hash_is_no_chain),
        cmocka_unit_test(N24_an_intermediate_out_of_its_time_is_no_chain),
        cmocka_unit_test(N24_a_path_is_as_short_as_those_above_it_say),
        cmocka_unit_test(N24_a_namesake_signs_nothing),
        cmocka_unit_test(N24_a_loop_leads_nowhere),
        cmocka_unit_test(N24_what_a_stranger_sends_costs_a_few_signatures),
        cmocka_unit_test(N24_one_bit_changed_in_an_intermediate_is_no_chain),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
