/* start.h - what a node does at its start: one decision over what it found.
 *
 * Pure: no I/O, no clock.  facts.h collects what this judges; run.c does what this says.
 * An error in one row never becomes another row: whatever is not plainly one of the rows
 * is START_REFUSE, and then nothing on the machine is touched.
 */
#ifndef NODE_START_H
#define NODE_START_H

#include <stdbool.h>

enum start_config {
    START_CONFIG_ABSENT,
    START_CONFIG_UNREADABLE, /* there, and no EnrolmentConfig that makes sense */
    START_CONFIG_SECRET,     /* with a secret: not enrolled */
    START_CONFIG_ENROLLED,   /* with a node id */
    START_CONFIG_COUNT
};

/* One of our own files on the ESP, esp.h; enrolment.pb is the one above. */
enum start_file {
    START_FILE_ABSENT,
    START_FILE_UNREADABLE,
    START_FILE_PRESENT,
    START_FILE_COUNT
};

enum start_volume {
    START_VOLUME_NONE,  /* --data-volume none */
    START_VOLUME_BLANK, /* nothing but zeros where anything would show */
    START_VOLUME_TORN,  /* a format began and did not end; names the node */
    START_VOLUME_PENDING,
    START_VOLUME_ENROLLED,
    START_VOLUME_FOREIGN,    /* holds data of somebody else */
    START_VOLUME_UNREADABLE, /* absent, too small, or it cannot be read */
    START_VOLUME_COUNT
};

struct start_facts {
    enum start_config config;
    enum start_file sealed, pending, identity;
    enum start_volume volume;
    bool volume_is_ours; /* it names the node id of the config */
    bool bootstrap;      /* --bootstrap was given */
};

enum start_row {
    START_REFUSE,
    START_BOOTSTRAP, /* first master of a new cluster */
    START_ENROL,     /* make keys, format, enrol */
    START_RESUME,    /* the keys are there; never formats what is enrolled */
    START_UNLOCK
};

struct start_verdict {
    enum start_row row;
    const char *sentence; /* what is done, or why not and what to do about it */
};

struct start_verdict start_decide(const struct start_facts *facts);

#endif
