/* nms_exit.h - the exit status of smalltown-nms, by which smalltown-node decides what
 * comes next; smalltown-nms(8) says it to people.
 */
#ifndef PROTO_NMS_EXIT_H
#define PROTO_NMS_EXIT_H

enum nms_exit {
    NMS_EXIT_FAILED = 1,      /* what was asked for could not be done */
    NMS_EXIT_USAGE = 2,       /* what was asked for is not clear */
    NMS_EXIT_MALFORMED = 3,   /* join: ST_INVALID_ARGUMENT */
    NMS_EXIT_WRONG_STATE = 4, /* of the folder, and no second try changes it; join:
                               * ST_FAILED_PRECONDITION */
};

#endif
