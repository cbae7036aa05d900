/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where our programs, images and local campaigns are. All results are the caller's to free. */
#ifndef COORDINATOR_CTL_PLACE_H
#define COORDINATOR_CTL_PLACE_H

#include "common/err.h"

/* The image builder: ../libexec/plimsoll/image, else deploy/image of the tree this was built from.
 */
int place_image_builder(char **ret_path, struct err *e);

/* $PLIMSOLL_IMAGES, else /var/lib/plimsoll/images. */
char *place_images(void);
/* $PLIMSOLL_RUNS, else /var/lib/plimsoll/runs; not root: $XDG_STATE_HOME/plimsoll/runs. */
char *place_runs(void);

/* The store of a local campaign: RUNS/ID/store.db, or `id` as the path of a run's folder or of a
 * store. *ret_campaign is the id in it. ERR_NOT_FOUND. */
int place_store(const char *id, char **ret_store, char **ret_campaign, struct err *e);

/* The state folder of this user, where doctor.json is: /var/lib/plimsoll, else
 * $XDG_STATE_HOME/plimsoll. */
char *place_state(void);

#endif
