/* esp.h - what a node keeps in clear reach: the folder EFI/smalltown of its ESP.
 *
 *     enrolment.pb  api.EnrolmentConfig, packed       config.h
 *     sealed        the local half, sealed            half.h
 *     pending       keys of a half-done enrolment    enrol_keys.h
 *     identity      id key and id_cert, encrypted     identity.h
 *     approvals     under what else `sealed` opens    approvals.h
 *     control       key of the control volume, sealed control.h
 *     control-pending  the same, while that is made
 *
 * All but the first are framed alike, so that a damaged one is known before it is used:
 *
 *     "smalltown " name " v1\n" | content | SHA-256 of all before (32)
 *
 * Nothing secret is in any of them in clear, save the enrolment secret that an operator
 * put into enrolment.pb.
 */
#ifndef NODE_ESP_H
#define NODE_ESP_H

#include "proto/err.h"

#include <stddef.h>
#include <stdint.h>

enum esp_file {
    ESP_CONFIG,
    ESP_SEALED,
    ESP_PENDING,
    ESP_IDENTITY,
    ESP_APPROVALS,
    ESP_CONTROL,
    ESP_CONTROL_PENDING
};

enum {
    ESP_CONTENT_MAX = 4096
};

struct esp;

/* dir: where the ESP is mounted.  Holds the one lock of this ESP until it is closed:
 * ST_ALREADY_EXISTS where another process has it.  Makes nothing. */
enum st_code esp_open(const char *dir, struct esp **out, struct st_err *err);
/* The same without the lock, for a child of a process that has it. */
enum st_code esp_open_beside(const char *dir, struct esp **out, struct st_err *err);
void esp_close(struct esp *esp);
static inline void
esp_closep(struct esp **esp)
{
    esp_close(*esp);
}

/* Lent as long as esp. */
const char *esp_path(const struct esp *esp, enum esp_file file);

/* One of the framed ones, replaced as one step. */
enum st_code esp_write(const struct esp *esp, enum esp_file file, const void *content,
                       size_t len, struct st_err *err);
/* ST_NOT_FOUND; ST_DATA_LOSS where it is not what esp_write() wrote, to the byte. */
enum st_code esp_read(const struct esp *esp, enum esp_file file,
                      uint8_t out[ESP_CONTENT_MAX], size_t *out_len, struct st_err *err);
enum st_code esp_erase(const struct esp *esp, enum esp_file file, struct st_err *err);

#endif
