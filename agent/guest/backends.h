/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one symbol that each backend exports. A backend whose library is missing drops out of the
 * build. */
#ifndef AGENT_GUEST_BACKENDS_H
#define AGENT_GUEST_BACKENDS_H

#include "agent/guest/guest.h"

extern const struct guest_ops guest_fake_ops;
extern const struct guest_ops guest_process_ops;
extern const struct guest_ops guest_lxc_app_ops;
extern const struct guest_ops guest_lxc_ops;
extern const struct guest_ops guest_kvm_ops;

#endif
