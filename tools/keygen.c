/* stctl keygen, recovery keygen: keys that never leave the machine where they were made.
 */
#include "proto/cert.h"
#include "proto/file.h"
#include "proto/recovery.h"
#include "tools/config.h"
#include "tools/stctl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static enum st_code
must_not_exist(const char *path, struct st_err *err)
{
    struct stat st;
    if (lstat(path, &st) == 0)
        return st_fail(err, ST_ALREADY_EXISTS,
                       "%.250s is there already and is not overwritten: choose another "
                       "folder with --out",
                       path);
    if (errno != ENOENT)
        return st_fail(err, ST_FAILED_PRECONDITION, "%.250s: %s", path, strerror(errno));
    return ST_OK;
}

static enum st_code
join(const char *folder, const char *file, char out[PATH_MAX], struct st_err *err)
{
    if (snprintf(out, PATH_MAX, "%s/%s", folder, file) >= PATH_MAX)
        return st_fail(err, ST_INVALID_ARGUMENT, "--out is too long");
    return ST_OK;
}

static enum st_code
write_pair(const char *name, const char *key_path, const char *cert_path,
           struct st_err *err)
{
    SECRET seed = {0}, key_pem = {0};
    uint8_t public_key[ED25519_PUBLIC_LEN];
    struct cert cert;
    AUTO(st_freep) char *cert_pem = NULL;
    enum st_code code = key_generate(&seed, public_key, err);
    if (!code)
        code = cert_self_sign(&seed, name, &cert, err);
    if (!code)
        code = key_to_pem(&seed, &key_pem, err);
    if (!code)
        code = cert_to_pem(cert.der, cert.len, &cert_pem, err);
    if (!code)
        code = file_write(key_path, 0600, key_pem.bytes, key_pem.len, err);
    if (code)
        return code;
    code = file_write(cert_path, 0644, cert_pem, strlen(cert_pem), err);
    if (code && file_erase(key_path, NULL))
        return st_wrap(err, "%.150s is useless, remove it", key_path);
    return code;
}

static enum st_code
write_recovery_pair(const char *key_path, const char *public_path, struct st_err *err)
{
    SECRET private_key = {0}, key_pem = {0};
    uint8_t public_key[HPKE_KEY_LEN];
    char public_pem[RECOVERY_PEM_MAX];
    enum st_code code = hpke_generate(&private_key, public_key, err);
    if (!code)
        code = recovery_private_to_pem(&private_key, &key_pem, err);
    if (!code)
        code = recovery_public_to_pem(public_key, public_pem, err);
    if (!code)
        code = file_write(key_path, 0600, key_pem.bytes, key_pem.len, err);
    if (code)
        return code;
    code = file_write(public_path, 0644, public_pem, strlen(public_pem), err);
    if (code && file_erase(key_path, NULL))
        return st_wrap(err, "%.150s is useless, remove it", key_path);
    return code;
}

/* Where the pair goes, as absolute or relative as it was said. */
static enum st_code
choose_paths(const char *out, const char *key_name, const char *cert_name,
             char key_path[PATH_MAX], char cert_path[PATH_MAX], struct st_err *err)
{
    char standard[PATH_MAX];
    enum st_code code = out ? ST_OK : config_path(NULL, standard, err);
    const char *folder = out ? out : standard;
    if (!code)
        code = join(folder, key_name, key_path, err);
    if (!code)
        code = join(folder, cert_name, cert_path, err);
    if (!code)
        code = must_not_exist(key_path, err);
    if (!code)
        code = must_not_exist(cert_path, err);
    return code ? code : file_make_folder(folder, err);
}

enum st_code
stctl_keygen(const struct invocation *in, struct st_err *err)
{
    const char *name = in->options[OPTION_NAME] ? in->options[OPTION_NAME] : "admin";
    char key_path[PATH_MAX], cert_path[PATH_MAX];
    enum st_code code = name_check("--name", name, err);
    if (!code)
        code = choose_paths(in->options[OPTION_OUT], "admin-key.pem", "admin.pem",
                            key_path, cert_path, err);
    if (!code)
        code = write_pair(name, key_path, cert_path, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s, s:s}", "key", key_path, "cert", cert_path),
                          err);
    printf("key          %s (yours alone)\ncertificate  %s\n\n"
           "Give the certificate to the first master, or to an administrator:\n"
           "  smalltown-nms init ... --admin-cert %s\n"
           "  stctl admin add %s\n",
           key_path, cert_path, cert_path, cert_path);
    return ST_OK;
}

enum st_code
stctl_recovery_keygen(const struct invocation *in, struct st_err *err)
{
    char key_path[PATH_MAX], public_path[PATH_MAX];
    enum st_code code = choose_paths(in->options[OPTION_OUT], "recovery-key.pem",
                                     "recovery.pem", key_path, public_path, err);
    if (!code)
        code = write_recovery_pair(key_path, public_path, err);
    if (code)
        return code;
    if (in->json)
        return json_print(json_pack("{s:s, s:s}", "key", key_path, "public", public_path),
                          err);
    printf("key     %s (move it to a safe place, and keep a copy)\npublic  %s\n\n"
           "Machines that enrol with\n"
           "  stctl enrolment create NAME --recovery-key %s\n"
           "seal the recovery keys of their disks to it.\n",
           key_path, public_path, public_path);
    return ST_OK;
}
