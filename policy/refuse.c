// SPDX-License-Identifier: MIT
#include "policy/refuse.h"

#include <stdarg.h>
#include <stdio.h>

bool refuse(char *problem, size_t size, const char *why, ...)
{
  va_list list;
  va_start(list, why);
  vsnprintf(problem, size, why, list);
  va_end(list);
  return false;
}
