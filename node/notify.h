/* notify.h - what `systemctl status` shows, and when systemd goes on: the protocol of
 * sd_notify(3), which is a datagram, without its library.
 *
 * Only the daemon's own process speaks, never the keeper: systemd listens to the first
 * process of a unit alone.  Nothing happens where NOTIFY_SOCKET is not set.
 */
#ifndef NODE_NOTIFY_H
#define NODE_NOTIFY_H

/* What the daemon is at: one line.  Control characters, which may be a stranger's, become
 * '?': a newline would begin another assignment. */
void notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* There is nothing to wait for any more: the disk is open, or there is none. */
void notify_ready(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
