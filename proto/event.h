/* event.h - what a daemon tells its operator: one line on stderr for one event.
 *
 * Used by nms/ and node/ only; libraries report by st_err.  The line begins with a word
 * for the event and goes on in key=value.  It is written in one piece, its control
 * characters become '?', and it is cut at 1000 bytes.  May be called from any thread.
 */
#ifndef PROTO_EVENT_H
#define PROTO_EVENT_H

/* event("unlock", "node=%s peer=%s decision=ok", id, peer) */
void event(const char *word, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
