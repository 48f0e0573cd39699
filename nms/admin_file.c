#include "nms/admin_file.h"

#include "nms/ca.h"
#include "proto/event.h"
#include "proto/file.h"
#include "proto/sha256.h"

#include <stdio.h>
#include <string.h>

#define NAME "admin.pem"

enum {
    PAUSE_LOOKS = 5, /* before what was refused is tried again */
};

static enum st_code
propose(struct nms *nms, const struct cert *cert, uint32_t timeout_ms, struct st_err *err)
{
    uint8_t fingerprint[SHA256_LEN];
    char name[STATE_ADMIN_NAME_MAX];
    State__Admin admin = STATE__ADMIN__INIT;
    State__AddAdmin add_admin = STATE__ADD_ADMIN__INIT;
    State__Command command = STATE__COMMAND__INIT;
    enum st_code code = ca_client_check(cert->der, cert->len, nms_now(), err);
    if (code)
        return code;
    cert_fingerprint(cert->der, cert->len, fingerprint);
    tpm_ek_ca_name(cert->der, cert->len, name);
    admin.fingerprint = (ProtobufCBinaryData){SHA256_LEN, fingerprint};
    admin.name = name;
    admin.role = STATE__ADMIN_ROLE__ADMIN;
    add_admin.admin = &admin;
    command.change_case = STATE__COMMAND__CHANGE_ADD_ADMIN;
    command.add_admin = &add_admin;
    return nms_propose_wait(nms, &command, timeout_ms, err);
}

static void
say(struct nms *nms, const struct cert *cert)
{
    uint8_t fingerprint[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    struct audit_line line;
    const struct st_err ok = {0};
    cert_fingerprint(cert->der, cert->len, fingerprint);
    sha256_hex(fingerprint, hex);
    hex[32] = 0;
    audit_line_fill(&line, "add-administrator", hex, NULL, &ok);
    line.member = nms->member_id;
    snprintf(line.step, sizeof(line.step), "admin.pem");
    nms_decided(nms, AUDIT_CHANGE, &line);
}

/* A file that stays would bring him back whenever this master starts. */
static enum st_code
take(struct admin_file *file, struct nms *nms, const char *path, const char *pem,
     uint32_t timeout_ms, struct st_err *err)
{
    struct cert cert;
    enum st_code code;
    if (file->listed)
        return file_remove(path, err);
    if ((code = cert_from_pem(pem, &cert, err))) {
        file->is_none = true;
        return code;
    }
    if ((code = propose(nms, &cert, timeout_ms, err)))
        return code;
    say(nms, &cert);
    file->listed = true;
    return file_remove(path, err);
}

/* Once for each reason, and not again until other bytes are there. */
static void
say_why_not(struct admin_file *file, const char *path, const struct st_err *err)
{
    const uint32_t bit = 1u << err->code;
    if (file->said & bit)
        return;
    file->said |= bit;
    event("admin", "file=%s decision=%s reason=\"%s\" hint=\"%s\"", path,
          st_code_name(err->code), err->text,
          file->listed    ? "he is listed; remove it, or he is again whenever this "
                            "master starts"
          : file->is_none ? "put a certificate there"
                          : "it is tried again while it is there");
}

/* The list may have room later, and this master's clock may be set.  A majority is there
 * from one moment to the next. */
void
admin_file_look(struct admin_file *file, struct nms *nms, uint32_t timeout_ms)
{
    AUTO(st_freep) uint8_t *pem = NULL;
    char path[NMS_DIR_MAX + sizeof(NAME) + 1];
    uint8_t sha256[SHA256_LEN] = {0};
    struct st_err err = {0};
    size_t len;
    snprintf(path, sizeof(path), "%s/%s", nms->dir, NAME);
    enum st_code code = file_read(path, FILE_MAX_LEN, &pem, &len, &err);
    if (!code)
        sha256_of(pem, len, sha256);
    const bool other = !code && memcmp(sha256, file->seen, SHA256_LEN) != 0;
    if (code == ST_NOT_FOUND || other)
        *file = (struct admin_file){0};
    if (code == ST_NOT_FOUND || file->is_none || (file->looks && file->looks--))
        return;
    if (!code) {
        memcpy(file->seen, sha256, SHA256_LEN);
        code = take(file, nms, path, (const char *)pem, timeout_ms, &err);
    }
    if (!code) {
        *file = (struct admin_file){0};
        return;
    }
    say_why_not(file, path, &err);
    file->looks = code == ST_UNAVAILABLE ? 0 : PAUSE_LOOKS;
}
