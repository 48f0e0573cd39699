/* facts.h - looks at everything that start.h decides on, and changes none of it.
 */
#ifndef NODE_FACTS_H
#define NODE_FACTS_H

#include "node/disk.h"
#include "node/node.h"
#include "node/start.h"

struct facts {
    struct start_facts start;
    struct disk_found disk; /* where there is a volume */
    struct st_err why;      /* the first thing that could not be read; code 0: none */
};

/* Fills in node->config where there is one. */
void facts_observe(struct node *node, bool bootstrap, struct facts *out);

#endif
