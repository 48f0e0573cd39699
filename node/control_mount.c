#include "node/control_mount.h"

#include "node/child.h"
#include "node/disk.h"
#include "proto/file.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define DEVICE "/dev/mapper/" DISK_CONTROL_MAPPING
#define MKE2FS "/sbin/mke2fs"

bool
control_is_mounted(const char *folder)
{
    struct stat here, device;
    return !stat(folder, &here) && !stat(DEVICE, &device) && S_ISBLK(device.st_mode) &&
           here.st_dev == device.st_rdev;
}

enum st_code
control_is_mapped(const char *volume, bool *out, struct st_err *err)
{
    const bool mapped = disk_is_mapped(DISK_CONTROL_MAPPING);
    enum st_code code =
        mapped ? disk_check_mapping(volume, DISK_CONTROL_MAPPING, err) : ST_OK;
    if (!code)
        *out = mapped;
    return code;
}

static enum st_code
map(const char *volume, const struct secret *key, struct st_err *err)
{
    bool mapped;
    enum st_code code = disk_map(volume, DISK_CONTROL_MAPPING, key, &mapped, err);
    if (code)
        return code;
    if (!mapped)
        return st_fail(err, ST_FAILED_PRECONDITION,
                       "this kernel has no device-mapper, which a control volume needs: "
                       "load dm-crypt and dm-integrity");
    return ST_OK;
}

enum st_code
control_make_fs(const char *volume, const struct secret *key, struct st_err *err)
{
    const char *const argv[] = {MKE2FS, "-q", "-F",      "-t",   "ext4", "-m",
                                "0",    "-L", "control", DEVICE, NULL};
    struct child child;
    enum st_code code;
    if ((code = map(volume, key, err)) || (code = child_start(argv, -1, -1, &child, err)))
        return code;
    const int status = child_reap(&child);
    if (status)
        return st_fail(err, ST_INTERNAL, MKE2FS " ended with status %d on " DEVICE,
                       status);
    return ST_OK;
}

enum st_code
control_mount(const char *volume, const struct secret *key, const char *folder,
              struct st_err *err)
{
    enum st_code code;
    if ((key && (code = map(volume, key, err))) || (code = file_make_folder(folder, err)))
        return code;
    if (mount(DEVICE, folder, "ext4", MS_NODEV | MS_NOSUID | MS_NOEXEC, NULL))
        return st_fail(err, ST_INTERNAL, "cannot mount " DEVICE " at %.200s: %s", folder,
                       strerror(errno));
    if (chmod(folder, 0700))
        return st_fail(err, ST_INTERNAL, "chmod %.200s: %s", folder, strerror(errno));
    return ST_OK;
}
