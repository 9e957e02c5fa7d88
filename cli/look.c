// SPDX-License-Identifier: MIT
#include "cli/look.h"

#include <netinet/in.h>

#include "cli/here.h"
#include "doctor/settings.h"

int look_at_sockets(struct diag_sockets *list)
{
  int error = diag_read(list, IPPROTO_TCP);
  doctor_sort(list);
  return error;
}

int look_here(struct doctor_view *v)
{
  v->ports = machine_here();
  v->settings = doctor_settings_read();
  int error = look_at_sockets(&v->sockets);
  doctor_find_holds(v);
  return error;
}
