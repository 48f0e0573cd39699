/* The policy's document: what is read, what is not, and how one judges by it. */
#include "nms/policy.h"
#include "tests/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define NODE "smalltown-0123456789abcdef0123456789abcdef"
#define OTHER "smalltown-ffffffffffffffffffffffffffffffff"

#define EK_NONE "{\"require\":\"none\",\"listed\":[]}"
#define PCRS_NONE "{\"sets\":[],\"require_set\":false,\"require_measured_boot\":false}"
#define PCRS_DEFAULT "{\"sets\":[],\"require_set\":false,\"require_measured_boot\":true}"
#define ADOPT_NONE "{\"automatic\":[]}"
#define DOCUMENT(ek, pcrs, adopt)                                                        \
    "{\"schema\":1,\"ek\":" ek ",\"pcrs\":" pcrs ",\"adopt\":" adopt "}"
#define WITH_EK(ek) DOCUMENT(ek, PCRS_NONE, ADOPT_NONE)
#define WITH_PCRS(pcrs) DOCUMENT(EK_NONE, pcrs, ADOPT_NONE)
#define WITH_SETS(sets)                                                                  \
    WITH_PCRS("{\"sets\":[" sets "],\"require_set\":false,"                              \
              "\"require_measured_boot\":false}")
#define SET(name, nodes, values)                                                         \
    "{\"name\":\"" name "\",\"nodes\":[" nodes "],\"values\":" values "}"
#define WITH_VALUES(values) WITH_SETS(SET("s1", "\"*\"", values))

static struct policy *
parsed(const char *text)
{
    struct policy *policy;
    struct st_err err = {0};
    assert_ok(policy_parse(text, strlen(text), &policy, NULL, &err));
    return policy;
}
#define PARSED(text) AUTO(policy_freep) struct policy *policy = parsed(text)

static void
N11_the_default_asks_for_a_firmware_that_measures_and_for_nothing_else(void **state)
{
    (void)state;
    struct tpm_pcrs pcrs = {0};
    State__Node node = STATE__NODE__INIT;
    node.node_id = (char *)NODE;
    PARSED(policy_default);
    assert_code(policy_judge_boot(policy, NODE, &pcrs, NULL), ST_PERMISSION_DENIED);
    pcrs.digest[0][0] = 1;
    assert_code(policy_judge_boot(policy, NODE, &pcrs, NULL), ST_OK);
    node.pcrs = (ProtobufCBinaryData){sizeof(pcrs.digest), (uint8_t *)pcrs.digest};
    assert_code(policy_judge_node(policy, &node, NULL), ST_OK);
    assert_false(policy_adopts(policy, "rack1"));
    assert_false(policy_adopts(policy, ""));
}

static void
a_document_is_kept_in_one_form(void **state)
{
    (void)state;
    AUTO(policy_freep) struct policy *policy = NULL;
    AUTO(st_freep) char *text = NULL;
    AUTO(policy_freep) struct policy *again = NULL;
    AUTO(st_freep) char *text_again = NULL;
    struct st_err err = {0};
    static const char given[] = " {\n \"schema\" : 1, \"pcrs\":" PCRS_DEFAULT
                                ",\"ek\":" EK_NONE ", \"adopt\":" ADOPT_NONE "}\n";
    assert_ok(policy_parse(given, strlen(given), &policy, &text, &err));
    assert_string_equal(text, policy_default);
    assert_ok(policy_parse(text, strlen(text), &again, &text_again, &err));
    assert_string_equal(text_again, text);
}

static const struct wrong {
    const char *text, *words;
} wrongs[] = {
    {"", "line 1"},
    {"[]", "the document: must be an object"},
    {"1", "line 1"},
    {"{}", "schema: is missing"},
    {"{\"schema\":1}", "ek: is missing"},
    {WITH_EK(EK_NONE) "x", "line 1"},
    {WITH_EK(EK_NONE) WITH_EK(EK_NONE), "line 1"},
    {WITH_VALUES("{\"7\":[\"" A "\"]}"),
     "pcrs.sets[0].values: must name more than PCR 7"},
    {"{\"schema\":2,\"ek\":" EK_NONE ",\"pcrs\":" PCRS_NONE ",\"adopt\":" ADOPT_NONE "}",
     "schema: must be 1"},
    {"{\"schema\":\"1\",\"ek\":" EK_NONE ",\"pcrs\":" PCRS_NONE ",\"adopt\":" ADOPT_NONE
     "}",
     "schema: must be a whole number"},
    {"{\"schema\":1.0,\"ek\":" EK_NONE ",\"pcrs\":" PCRS_NONE ",\"adopt\":" ADOPT_NONE
     "}",
     "schema: must be a whole number"},
    {"{\"schema\":1e999,\"ek\":" EK_NONE ",\"pcrs\":" PCRS_NONE ",\"adopt\":" ADOPT_NONE
     "}",
     "line 1"},
    {"{\"schema\":1,\"schema\":1,\"ek\":" EK_NONE ",\"pcrs\":" PCRS_NONE
     ",\"adopt\":" ADOPT_NONE "}",
     "duplicate"},
    {"{\"schema\":1,\"ek\":" EK_NONE ",\"pcrs\":" PCRS_NONE ",\"adopt\":" ADOPT_NONE
     ",\"note\":\"\"}",
     "note: there is no such word"},
    {"{\"schema\":1,\"Ek\":" EK_NONE ",\"pcrs\":" PCRS_NONE ",\"adopt\":" ADOPT_NONE "}",
     "Ek: there is no such word"},
    {"{\"schema\":1,\"ek\":" EK_NONE ",\"pcrs\":" PCRS_NONE "}", "adopt: is missing"},
    {WITH_EK("null"), "ek: must be an object"},
    {WITH_EK("{}"), "ek.require: is missing"},
    {WITH_EK("{\"require\":\"none\"}"), "ek.listed: is missing"},
    {WITH_EK("{\"require\":\"chian\",\"listed\":[]}"), "ek.require: must be chain"},
    {WITH_EK("{\"require\":\"\",\"listed\":[]}"), "ek.require: must be chain"},
    {WITH_EK("{\"require\":null,\"listed\":[]}"), "ek.require: must be a string"},
    {WITH_EK("{\"require\":\"none\",\"listed\":{}}"), "ek.listed: must be an array"},
    {WITH_EK("{\"require\":\"none\",\"listed\":[1]}"), "ek.listed[0]: must be a string"},
    {WITH_EK("{\"require\":\"none\",\"listed\":[\"" A "\",\"" A "a\"]}"),
     "ek.listed[1]: must be 64 hex digits"},
    {WITH_EK("{\"require\":\"none\",\"listed\":[\"\"]}"),
     "ek.listed[0]: must be 64 hex digits"},
    {WITH_EK("{\"require\":\"none\",\"listed\":[\"A" /* one capital letter */
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]}"),
     "ek.listed[0]: must be 64 hex digits"},
    {WITH_EK("{\"require\":\"none\",\"listed\":[\"g"
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]}"),
     "ek.listed[0]: must be 64 hex digits"},
    {WITH_EK("{\"require\":\"none\",\"listed\":[],\"listde\":[]}"),
     "ek.listde: there is no such word"},
    {WITH_PCRS("[]"), "pcrs: must be an object"},
    {WITH_PCRS("{\"sets\":[],\"require_set\":false}"),
     "pcrs.require_measured_boot: is missing"},
    {WITH_PCRS("{\"sets\":[],\"require_set\":0,\"require_measured_boot\":false}"),
     "pcrs.require_set: must be true or false"},
    {WITH_PCRS("{\"sets\":{},\"require_set\":false,\"require_measured_boot\":false}"),
     "pcrs.sets: must be an array"},
    {WITH_SETS("7"), "pcrs.sets[0]: must be an object"},
    {WITH_SETS("{\"name\":\"s1\",\"nodes\":[\"*\"],\"valeus\":{}}"),
     "pcrs.sets[0].valeus: there is no such word"},
    {WITH_SETS("{\"name\":\"s1\",\"nodes\":[\"*\"]}"), "pcrs.sets[0].values: is missing"},
    {WITH_SETS("{\"name\":7,\"nodes\":[\"*\"],\"values\":{\"4\":[\"" A "\"]}}"),
     "pcrs.sets[0].name: must be a string"},
    {WITH_SETS(SET("a/b", "\"*\"", "{\"4\":[\"" A "\"]}")),
     "pcrs.sets[0].name: must be a name"},
    {WITH_SETS(SET("", "\"*\"", "{\"4\":[\"" A "\"]}")),
     "pcrs.sets[0].name: must be a name"},
    {WITH_SETS(SET("s1", "", "{\"4\":[\"" A "\"]}")),
     "pcrs.sets[0].nodes: must name a node"},
    {WITH_SETS(SET("s1", "\"smalltown-0123\"", "{\"4\":[\"" A "\"]}")),
     "pcrs.sets[0].nodes[0]: must be a whole node id"},
    {WITH_SETS(SET("s1", "\"" NODE "\",\"**\"", "{\"4\":[\"" A "\"]}")),
     "pcrs.sets[0].nodes[1]: must be a whole node id"},
    {WITH_SETS(SET("s1", "\"" NODE "\",null", "{\"4\":[\"" A "\"]}")),
     "pcrs.sets[0].nodes[1]: must be a string"},
    {WITH_SETS(SET("s1", "\"*\"", "{\"4\":[\"" A "\"]}") "," SET("s1", "\"*\"",
                                                                 "{\"4\":[\"" B "\"]}")),
     "pcrs.sets[1]: another set has this name"},
    {WITH_VALUES("{}"), "pcrs.sets[0].values: must name a PCR"},
    {WITH_VALUES("[]"), "pcrs.sets[0].values: must be an object"},
    {WITH_VALUES("{\"16\":[\"" A "\"]}"), "pcrs.sets[0].values.16: is no PCR"},
    {WITH_VALUES("{\"-1\":[\"" A "\"]}"), "pcrs.sets[0].values.-1: is no PCR"},
    {WITH_VALUES("{\"04\":[\"" A "\"]}"), "pcrs.sets[0].values.04: is no PCR"},
    {WITH_VALUES("{\"4 \":[\"" A "\"]}"), "pcrs.sets[0].values.4 : is no PCR"},
    {WITH_VALUES("{\"\":[\"" A "\"]}"), "pcrs.sets[0].values.: is no PCR"},
    {WITH_VALUES("{\"4\":[]}"), "pcrs.sets[0].values.4: must have a value"},
    {WITH_VALUES("{\"4\":\"" A "\"}"), "pcrs.sets[0].values.4: must be an array"},
    {WITH_VALUES("{\"4\":[\"" A "\"],\"11\":[\"x\"]}"),
     "pcrs.sets[0].values.11[0]: must be 64 hex digits"},
    {DOCUMENT(EK_NONE, PCRS_NONE, "{}"), "adopt.automatic: is missing"},
    {DOCUMENT(EK_NONE, PCRS_NONE, "{\"automatic\":true}"),
     "adopt.automatic: must be an array"},
    {DOCUMENT(EK_NONE, PCRS_NONE, "{\"automatic\":[\"*\"]}"),
     "adopt.automatic[0]: must be the name of an enrolment"},
    {DOCUMENT(EK_NONE, PCRS_NONE, "{\"automatic\":[],\"manual\":[]}"),
     "adopt.manual: there is no such word"},
    {"{\"a\x1b\":1}", "line 1"},
    {"{\"a\xff\":1}", "line 1"},
    {"{\"a\\u0000\":1}", "line 1"},
};

static void
N57_a_document_that_is_not_as_it_should_be_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(*wrongs); i++) {
        struct policy *policy = NULL;
        struct st_err err = {0};
        enum st_code code =
            policy_parse(wrongs[i].text, strlen(wrongs[i].text), &policy, NULL, &err);
        if (code != ST_INVALID_ARGUMENT || !strstr(err.text, wrongs[i].words))
            fail_msg("%s \"%s\" where \"%s\" belongs:\n%s", st_code_name(code), err.text,
                     wrongs[i].words, wrongs[i].text);
        assert_null(policy);
    }
}

static void
N57_a_document_cut_anywhere_is_refused(void **state)
{
    (void)state;
    static const char whole[] =
        WITH_SETS(SET("s1", "\"*\"", "{\"4\":[\"" A "\",\"" B "\"]}"));
    policy_free(parsed(whole));
    for (size_t len = 0; len < strlen(whole); len++) {
        struct policy *policy = NULL;
        AUTO(st_freep) char *cut = malloc(len ? len : 1); /* its end is watched */
        assert_non_null(cut);
        memcpy(cut, whole, len);
        assert_code(policy_parse(cut, len, &policy, NULL, NULL), ST_INVALID_ARGUMENT);
    }
}

static void
N57_a_document_that_is_too_long_or_too_deep_is_refused(void **state)
{
    (void)state;
    struct policy *policy;
    struct st_err err = {0};
    AUTO(st_freep) char *text = malloc(POLICY_TEXT_MAX + 1);
    assert_non_null(text);
    memset(text, ' ', POLICY_TEXT_MAX + 1);
    memcpy(text, policy_default, strlen(policy_default));
    assert_ok(policy_parse(text, POLICY_TEXT_MAX, &policy, NULL, &err));
    policy_free(policy);
    assert_code(policy_parse(text, POLICY_TEXT_MAX + 1, &policy, NULL, NULL),
                ST_INVALID_ARGUMENT);
    memset(text, '[', POLICY_TEXT_MAX);
    assert_code(policy_parse(text, POLICY_TEXT_MAX, &policy, NULL, NULL),
                ST_INVALID_ARGUMENT);
}

/* What an operator copies is a policy. */
static void
the_examples_of_the_manual_are_read(void **state)
{
    (void)state;
    static char manual[64 * 1024];
    static const char begin[] = "```json\n", end[] = "```\n";
    FILE *file = fopen(POLICY_MD, "r");
    assert_non_null(file);
    manual[fread(manual, 1, sizeof(manual) - 1, file)] = 0;
    fclose(file);
    int count = 0;
    for (const char *at = manual; (at = strstr(at, begin)); count++) {
        AUTO(policy_freep) struct policy *policy = NULL;
        AUTO(st_freep) char *text = NULL;
        struct st_err err = {0};
        at += strlen(begin);
        const char *stop = strstr(at, end);
        assert_non_null(stop);
        assert_ok(policy_parse(at, (size_t)(stop - at), &policy, &text, &err));
        if (count == 0)
            assert_string_equal(text, policy_default);
    }
    assert_int_equal(count, 3);
}

/* PCR i is i times the byte 0x11, but where a test wants another. */
static struct tpm_pcrs
some_pcrs(void)
{
    struct tpm_pcrs pcrs;
    for (int i = 0; i < TPM_PCR_COUNT; i++)
        memset(pcrs.digest[i], 0x11 * i, SHA256_LEN);
    return pcrs;
}

static void
judges(const struct policy *policy, const char *node, const struct tpm_pcrs *pcrs,
       const char *words)
{
    struct st_err err = {0};
    enum st_code code = policy_judge_boot(policy, node, pcrs, &err);
    if (code != (words ? ST_PERMISSION_DENIED : ST_OK) ||
        (words && strcmp(err.text, words) != 0))
        fail_msg("%s \"%s\" where \"%s\" belongs", st_code_name(code), err.text,
                 words ? words : "OK");
}

static void
N11_a_boot_that_nobody_measured_is_refused(void **state)
{
    (void)state;
    static const char sentence[] =
        "PCR 0 to 7 were never extended: nothing measured this boot. "
        "Only `require_measured_boot: false` lets it in";
    PARSED(WITH_PCRS("{\"sets\":[],\"require_set\":false,"
                     "\"require_measured_boot\":true}"));
    struct tpm_pcrs pcrs = {0};
    judges(policy, NODE, &pcrs, sentence);
    memset(pcrs.digest, 0xff, 8 * sizeof(pcrs.digest[0]));
    judges(policy, NODE, &pcrs, sentence);
    memset(pcrs.digest[3], 0, SHA256_LEN);
    judges(policy, NODE, &pcrs, sentence);
    memset(pcrs.digest[11], 7, SHA256_LEN); /* the kernel's, not the firmware's */
    judges(policy, NODE, &pcrs, sentence);
    pcrs.digest[7][31] ^= 1;
    judges(policy, NODE, &pcrs, NULL);
}

static void
N12_one_pcr_that_differs_is_named(void **state)
{
    (void)state;
    PARSED(WITH_SETS(
        SET("s1", "\"*\"", "{\"10\":[\"" A "\"],\"11\":[\"" A "\",\"" B "\"]}")));
    struct tpm_pcrs pcrs = some_pcrs(); /* 10 is aa, 11 is bb */
    judges(policy, NODE, &pcrs, NULL);
    pcrs.digest[9][0] ^= 1; /* not the policy's */
    judges(policy, NODE, &pcrs, NULL);
    pcrs.digest[11][31] ^= 1;
    judges(policy, NODE, &pcrs, "PCR 11 differs from set s1");
    pcrs.digest[10][0] ^= 1;
    judges(policy, NODE, &pcrs, "PCR 10, 11 differ from set s1");
}

static void
N12_a_boot_is_in_one_set_as_a_whole(void **state)
{
    (void)state;
    PARSED(
        WITH_SETS(SET("old", "\"*\"", "{\"10\":[\"" A "\"],\"11\":[\"" A "\"]}") "," SET(
            "new", "\"*\"",
            "{\"10\":[\"" C "\"],\"12\":[\"" C "\"],\"11\":[\"" B "\"]}")));
    struct tpm_pcrs pcrs = some_pcrs();
    judges(policy, NODE, &pcrs, "PCR 11 differs from set old, the nearest of 2");
    memcpy(pcrs.digest[10], pcrs.digest[12], SHA256_LEN);
    judges(policy, NODE, &pcrs, NULL);
}

static void
N12_a_set_is_for_the_nodes_that_it_names(void **state)
{
    (void)state;
    struct tpm_pcrs pcrs = some_pcrs();
#define SETS SET("s1", "\"" NODE "\"", "{\"10\":[\"" B "\"]}")
    {
        PARSED(WITH_SETS(SETS));
        judges(policy, NODE, &pcrs, "PCR 10 differs from set s1");
        judges(policy, OTHER, &pcrs, NULL);
    }
    PARSED(WITH_PCRS("{\"sets\":[" SETS "],\"require_set\":true,"
                     "\"require_measured_boot\":false}"));
    judges(policy, NODE, &pcrs, "PCR 10 differs from set s1");
    judges(policy, OTHER, &pcrs, "the policy has no set of PCRs for this node");
}

static void
N12_a_node_is_adopted_by_what_it_booted_when_it_enrolled(void **state)
{
    (void)state;
    struct tpm_pcrs pcrs = some_pcrs();
    State__Node node = STATE__NODE__INIT;
    node.node_id = (char *)NODE;
    PARSED(WITH_SETS(SET("s1", "\"" NODE "\"", "{\"10\":[\"" A "\"]}")));
    assert_code(policy_judge_node(policy, &node, NULL), ST_PERMISSION_DENIED);
    node.pcrs = (ProtobufCBinaryData){sizeof(pcrs.digest), pcrs.digest[0]};
    assert_code(policy_judge_node(policy, &node, NULL), ST_OK);
    pcrs.digest[10][0] ^= 1;
    assert_code(policy_judge_node(policy, &node, NULL), ST_PERMISSION_DENIED);
    node.node_id = (char *)OTHER;
    assert_code(policy_judge_node(policy, &node, NULL), ST_OK);
    node.pcrs.len = 0;
    assert_code(policy_judge_node(policy, &node, NULL), ST_OK);
}

static void
N24_what_speaks_for_an_EK_is_as_the_policy_says(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool chain, certificate, nothing;
    } rows[] = {
        {WITH_EK("{\"require\":\"none\",\"listed\":[]}"), true, true, true},
        {WITH_EK("{\"require\":\"certificate\",\"listed\":[]}"), true, true, false},
        {WITH_EK("{\"require\":\"chain\",\"listed\":[]}"), true, false, false},
        {WITH_EK("{\"require\":\"listed\",\"listed\":[]}"), false, false, false},
    };
    uint8_t ek[32], cert[] = "a certificate";
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        AUTO(policy_freep) struct policy *policy = parsed(rows[i].text);
        State__Node node = STATE__NODE__INIT;
        memset(ek, 7, sizeof(ek));
        node.ek_pubkey = (ProtobufCBinaryData){sizeof(ek), ek};
        node.evidence = STATE__EVIDENCE__NOTHING;
        assert_int_equal(!policy_judge_evidence(policy, &node, NULL), rows[i].nothing);
        node.evidence = STATE__EVIDENCE__CERTIFICATE;
        node.ek_cert = (ProtobufCBinaryData){sizeof(cert), cert};
        assert_int_equal(!policy_judge_evidence(policy, &node, NULL),
                         rows[i].certificate);
        node.evidence = STATE__EVIDENCE__UNJUDGED; /* of 0.1 */
        assert_int_equal(!policy_judge_evidence(policy, &node, NULL),
                         rows[i].certificate);
        node.evidence = STATE__EVIDENCE__CHAIN;
        assert_int_equal(!policy_judge_evidence(policy, &node, NULL), rows[i].chain);
    }
}

static void
N24_an_EK_that_is_listed_needs_nothing_else(void **state)
{
    (void)state;
    static const char *const tiers[] = {"none", "listed", "certificate", "chain"};
    uint8_t ek[] = {'a', 'b', 'c'};
    for (size_t i = 0; i < sizeof(tiers) / sizeof(*tiers); i++) {
        char text[600];
        /* SHA-256 of "abc", FIPS 180-2, appendix B.1 */
        snprintf(text, sizeof(text),
                 WITH_EK("{\"require\":\"%s\",\"listed\":[\"" A "\",\"ba7816bf8f01cfea"
                         "414140de5dae2223b00361a396177a9cb410ff61f20015ad\"]}"),
                 tiers[i]);
        AUTO(policy_freep) struct policy *policy = parsed(text);
        State__Node node = STATE__NODE__INIT;
        node.evidence = STATE__EVIDENCE__NOTHING;
        node.ek_pubkey = (ProtobufCBinaryData){sizeof(ek), ek};
        assert_code(policy_judge_evidence(policy, &node, NULL), ST_OK);
        assert_int_equal(policy_evidence(policy, &node), STATE__EVIDENCE__LISTED);
        node.ek_pubkey.len = 2;
        assert_code(policy_judge_evidence(policy, &node, NULL),
                    i == 0 ? ST_OK : ST_PERMISSION_DENIED);
        assert_int_equal(policy_evidence(policy, &node), STATE__EVIDENCE__NOTHING);
        node.ek_pubkey.len = 3;
        node.evidence = STATE__EVIDENCE__CHAIN; /* it says more */
        assert_int_equal(policy_evidence(policy, &node), STATE__EVIDENCE__CHAIN);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            N11_the_default_asks_for_a_firmware_that_measures_and_for_nothing_else),
        cmocka_unit_test(a_document_is_kept_in_one_form),
        cmocka_unit_test(the_examples_of_the_manual_are_read),
        cmocka_unit_test(N57_a_document_that_is_not_as_it_should_be_is_refused),
        cmocka_unit_test(N57_a_document_cut_anywhere_is_refused),
        cmocka_unit_test(N57_a_document_that_is_too_long_or_too_deep_is_refused),
        cmocka_unit_test(N11_a_boot_that_nobody_measured_is_refused),
        cmocka_unit_test(N12_one_pcr_that_differs_is_named),
        cmocka_unit_test(N12_a_boot_is_in_one_set_as_a_whole),
        cmocka_unit_test(N12_a_set_is_for_the_nodes_that_it_names),
        cmocka_unit_test(N12_a_node_is_adopted_by_what_it_booted_when_it_enrolled),
        cmocka_unit_test(N24_what_speaks_for_an_EK_is_as_the_policy_says),
        cmocka_unit_test(N24_an_EK_that_is_listed_needs_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
