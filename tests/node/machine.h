/* machine.h - one machine for the tests of the node: a TPM, an ESP, a volume, and the
 * daemon as a process of its own, so that it can be killed at any step.
 *
 * A test program that uses it begins its main() with machine_child_main().
 */
#ifndef TESTS_NODE_MACHINE_H
#define TESTS_NODE_MACHINE_H

#include "node/config.h"
#include "node/node.h"
#include "tests/node/fake_master.h"
#include "tests/tpm/swtpm.h"

#include <limits.h>
#include <sys/types.h>

/* In the environment: the number of the socket that crypttab's volumes ask at. */
#define MACHINE_CRYPTTAB "ST_MACHINE_CRYPTTAB"

enum {
    MACHINE_VOLUME_SIZE = 40 << 20,
    MACHINE_PATH = 80
};

/* How long the daemon may take for what it has to do: a minute (patience.h). */
long machine_timeout_ms(void);

struct machine {
    struct swtpm *chip;
    char esp[MACHINE_PATH];    /* a folder */
    char volume[MACHINE_PATH]; /* an image file, or "none" */
    char log[MACHINE_PATH];    /* what the daemon said since machine_start() */
    struct master *master;
    char master_data[MACHINE_PATH], nms[MACHINE_PATH]; /* --master-data and the program
                                                          that it is for; "": without */
    char control[MACHINE_PATH];                        /* --control-volume; "": without */
    bool bootstrap;                                    /* --bootstrap town */
    const char *recovery_key;                          /* --recovery-key; NULL: without */
    struct secret recovery; /* the key of the administrator in enrolment.pb, private;
                               len 0: none */
    uint32_t stream_ms;     /* 0: 5000 */
    bool rsa;
    bool slow; /* at the step of machine_start() it is told to stop instead, and goes on
                  only after the two seconds of stop.h */
    pid_t pid;
};

/* Fresh, with an enrolment.pb of this master and a blank volume; --recovery-key none. */
void machine_make(struct machine *machine, struct master *master);
void machine_free(struct machine *machine);
void machine_config_put(const struct machine *machine);
void machine_config_get(const struct machine *machine, struct node_config *out);
void machine_path(const struct machine *machine, const char *name,
                  char out[MACHINE_PATH]);
bool machine_has(const struct machine *machine, const char *name);
/* Overwrites the volume with zeros, or with bytes of `fill` from `at` on. */
void machine_volume_blank(const struct machine *machine);
/* A sealed file as it is without the TPM's word for who sealed it.  The daemon is down.
 */
void machine_forget_maker(const struct machine *machine, enum esp_file file);
void machine_volume_fill(const struct machine *machine, off_t at, size_t len, int fill);

/* The daemon runs; step 0: until it is stopped, else it dies by SIGKILL at that step. */
void machine_start(struct machine *machine, enum node_step die_at);
/* `smalltown-node recover`, with `typed` as its standard input; 128 and the signal where
 * it dies at that step, else its exit status. */
int machine_recover(struct machine *machine, const char *typed, enum node_step die_at);
/* Waits until the daemon said `text`; the test fails where it ends before, or after
 * machine_timeout_ms(). */
void machine_wait_for(struct machine *machine, const char *text);
bool machine_said(const struct machine *machine, const char *text);
/* Waits for its end: the exit status, or 128 and the signal. */
int machine_wait(struct machine *machine);
/* SIGTERM, and its end. */
int machine_stop(struct machine *machine);
void machine_kill(struct machine *machine);
/* A power cut and a new boot. */
void machine_reboot(struct machine *machine);
/* The same, and what firmware and boot loader measure into `pcr`. */
void machine_boot(struct machine *machine, unsigned pcr, uint8_t image);
/* Without a new boot. */
void machine_extend(struct machine *machine, unsigned pcr, uint8_t image);
/* The config into PCR 12, as its daemon does. */
void machine_measure(struct machine *machine);
/* What is in a sealed file of its ESP. */
void machine_read_sealed(const struct machine *machine, enum esp_file file,
                         struct tpm_sealed *out);
void machine_write_sealed(const struct machine *machine, enum esp_file file,
                          const struct tpm_sealed *sealed);
/* The PCRs that ESP_SEALED or ESP_CONTROL is sealed to; and to these instead, under the
 * same authority, from now on. */
uint32_t machine_mask_of(struct machine *machine, enum esp_file file);
void machine_seal_to(struct machine *machine, enum esp_file file, uint32_t mask);
/* The daemon with this in its environment; the status that it ends with. */
int machine_run_with(struct machine *machine, const char *variable);
/* Until the daemon serves, which is after enrolment or unlock; then stops it. */
void machine_run_until_served(struct machine *machine);

/* Does not return in a process that machine_start() made. */
void machine_child_main(int argc, char **argv);

#endif
