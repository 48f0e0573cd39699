/* keep.h - a file for a secret that a master tells once. */
#ifndef TOOLS_KEEP_H
#define TOOLS_KEEP_H

#include "proto/err.h"

#include <protobuf-c/protobuf-c.h>

/* Before the master makes a secret that would then have nowhere to go: the file can be
 * written, and nothing is overwritten. */
enum st_code keep_check(const char *path, struct st_err *err);

/* Packed, 0600, whole or not at all. */
enum st_code keep_write(const char *path, const ProtobufCMessage *message,
                        struct st_err *err);

#endif
