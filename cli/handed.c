// SPDX-License-Identifier: MIT
#include "cli/handed.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/running.h"

/* --- what it was started with ---------------------------------------------------------------- */

struct variable {
  const char *name; /* with the '=' */
  char *value;      /* the first of that name, as the library takes it; NULL: none */
};

enum { PRELOAD, POLICY, RECORD, VARIABLES };

static bool is_assignment(const char *entry)
{
  size_t n = 0;
  while (isalnum((unsigned char)entry[n]) || entry[n] == '_')
    n++;
  return n && entry[n] == '=';
}

static void take(struct variable *variables, const char *entry)
{
  for (int i = 0; i < VARIABLES; i++) {
    size_t n = strlen(variables[i].name);
    if (!variables[i].value && strncmp(entry, variables[i].name, n) == 0)
      variables[i].value = strdup(entry + n);
  }
}

/* False where it is not to be seen: a program that shows a title in its command line writes over the
 * environment that comes after it. */
static bool read_environment(pid_t pid, struct variable *variables)
{
  char *entry = NULL;
  size_t size = 0;
  FILE *f = running_open(pid, "environ");
  bool sound = f && getdelim(&entry, &size, '\0', f) > 0 && is_assignment(entry);
  if (sound)
    do
      take(variables, entry);
    while (getdelim(&entry, &size, '\0', f) > 0);
  free(entry);
  if (f)
    fclose(f);
  return sound && variables[PRELOAD].value && strstr(variables[PRELOAD].value, "libberth.so");
}

/* --- what it can open ------------------------------------------------------------------------ */

enum presence { THERE, READ_ONLY, ELSEWHERE, UNSEEN };

/* Whether the path leads it to the file that it leads us to. */
static enum presence look_for(pid_t pid, const char *path)
{
  char there[PATH_MAX + 32];
  struct stat ours, its;
  struct statvfs fs;
  snprintf(there, sizeof there, "/proc/%d/root%s", (int)pid, path);
  if (stat(path, &ours))
    return UNSEEN;
  if (stat(there, &its)) {
    bool missing = errno == ENOENT || errno == ENOTDIR;
    snprintf(there, sizeof there, "/proc/%d/root/",
             (int)pid); /* that of one that ended is not there */
    return missing && stat(there, &its) == 0 ? ELSEWHERE : UNSEEN;
  }
  if (ours.st_dev != its.st_dev || ours.st_ino != its.st_ino)
    return ELSEWHERE;
  return statvfs(there, &fs) == 0 && (fs.f_flag & ST_RDONLY) ? READ_ONLY : THERE;
}

/* Whether a file of mode 0600 of ours is its to open. False where that cannot be seen. */
static bool read_user(pid_t pid, unsigned *user, bool *may_open)
{
  char line[256];
  unsigned long long capabilities = 0;
  int found = 0;
  FILE *f = running_open(pid, "status");
  while (f && fgets(line, sizeof line, f))
    found += sscanf(line, "Uid: %*u %u", user) == 1 || sscanf(line, "CapEff: %llx", &capabilities);
  if (f)
    fclose(f);
  *may_open = *user == geteuid() || capabilities >> CAP_DAC_OVERRIDE & 1;
  return found == 2;
}

static bool maps(pid_t pid, const char *path)
{
  char *line = NULL;
  size_t size = 0;
  const char *name = strrchr(path, '/');
  bool found = false;
  FILE *f = running_open(pid, "maps");
  while (f && !found && getline(&line, &size, f) > 0)
    found = strstr(line, name) != NULL;
  free(line);
  if (f)
    fclose(f);
  return found || !f;
}

/* --- what it has lost ------------------------------------------------------------------------ */

static void look_at_policy(pid_t pid, const struct handed *h, const char *value, char *text)
{
  if (!value || !value[0])
    snprintf(text, HANDED_TEXT, "its environment has no BERTH_POLICY");
  else if (h->policy_file[0] && strcmp(value, h->policy) == 0 &&
           look_for(pid, h->policy_file) == ELSEWHERE)
    snprintf(text, HANDED_TEXT,
             "the policy's file, %.200s, is not there in its root or mount namespace",
             h->policy_file + 1);
}

/* A program that changes its user or its root after the start keeps its mapping; so the user is asked
 * for before that: one that may not open it then never could. */
static void look_at_recording(pid_t pid, const struct handed *h, const char *value, char *text)
{
  unsigned user = 0;
  bool may_open = true;
  if (!value || !value[0]) {
    snprintf(text, HANDED_TEXT, "its environment has no BERTH_RECORD");
    return;
  }
  if (value[0] != '/' || strcmp(value + 1, h->recording) != 0)
    return; /* it was told of another one, as by a second berth run */
  enum presence presence = look_for(pid, h->recording);
  if (presence == UNSEEN || !read_user(pid, &user, &may_open) || (presence == THERE && may_open) ||
      maps(pid, h->recording))
    return;
  if (presence == ELSEWHERE)
    snprintf(text, HANDED_TEXT, "the recording is not there in its root or mount namespace");
  else if (presence == READ_ONLY)
    snprintf(text, HANDED_TEXT, "the recording is on a file system that is read-only to it");
  else
    snprintf(text, HANDED_TEXT, "it runs as user %u, who may not open the recording", user);
}

void handed_look(pid_t pid, const struct handed *h, struct lost *lost)
{
  struct variable variables[VARIABLES] = {
      [PRELOAD] = {"LD_PRELOAD=", NULL},
      [POLICY] = {"BERTH_POLICY=", NULL},
      [RECORD] = {"BERTH_RECORD=", NULL},
  };
  *lost = (struct lost){0};
  if (read_environment(pid, variables)) {
    if (h->policy)
      look_at_policy(pid, h, variables[POLICY].value, lost->policy);
    if (h->recording[0])
      look_at_recording(pid, h, variables[RECORD].value, lost->recording);
  }
  for (int i = 0; i < VARIABLES; i++)
    free(variables[i].value);
}
