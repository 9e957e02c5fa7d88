// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/policy_file.h"
#include "record/clock.h"

static const char usage[] =
    "Usage: berth compile POLICY -o IMAGE\n"
    "Makes of a policy the image that a program loads fastest. Other berths of the\n"
    "same version and byte order take it.\n\n"
    "  -o, --output IMAGE   where to write; what was there is replaced as a whole\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n";

static const struct option long_options[] = {
    {"output", required_argument, NULL, 'o'},
    COMMON_OPTIONS,
    {0},
};

struct target {
  char path[PATH_MAX];
  bool exists;
  struct stat is; /* then */
};

/* The file that `path` is, also through a symbolic link; false, with errno, where nothing can be
 * renamed over it. */
static bool find_target(const char *path, struct target *t)
{
  t->exists = stat(path, &t->is) == 0;
  if (t->exists) {
    errno = S_ISDIR(t->is.st_mode) ? EISDIR : EINVAL;
    return S_ISREG(t->is.st_mode) && realpath(path, t->path);
  }
  if (errno != ENOENT)
    return false;
  errno = ENAMETOOLONG;
  return snprintf(t->path, PATH_MAX, "%s", path) < PATH_MAX;
}

/* Whether the name in the folder is the file that was found: not one behind a link that somebody put
 * there since, which the kernel might not have followed (fs.protected_symlinks). */
static bool is_still(int folder, const char *name, const struct target *t)
{
  struct stat now;
  return !t->exists || (fstatat(folder, name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
                        now.st_dev == t->is.st_dev && now.st_ino == t->is.st_ino);
}

/* Opens the directory that the target is in, and gives the target's name in it. */
static int open_folder(const char *target, const char **name)
{
  char folder[PATH_MAX];
  const char *slash = strrchr(target, '/');
  *name = slash ? slash + 1 : target;
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(*name - target) : 1, slash ? target : ".");
  return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The new file, whole and on the disk, or none. */
static bool write_beside(int folder, const char *name, const policy_image *image)
{
  int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return false;
  bool ok = policy_file_write(fd, image) && fsync(fd) == 0;
  int error = errno;
  if (close(fd) && ok) {
    ok = false;
    error = errno;
  }
  if (!ok)
    unlinkat(folder, name, 0);
  errno = error;
  return ok;
}

/* Returns 0 or an errno. Whoever opens the target meets the old file or the new one. */
static int replace(const struct target *target, const policy_image *image)
{
  char beside[64];
  const char *name;
  int folder = open_folder(target->path, &name), error = 0;
  if (folder < 0)
    return errno;
  snprintf(beside, sizeof beside, ".berth-compile.%ld-%llx", (long)getpid(),
           (unsigned long long)clock_ns(CLOCK_MONOTONIC));
  if (!is_still(folder, name, target))
    error = ESTALE;
  else if (!write_beside(folder, beside, image))
    error = errno;
  else if (renameat(folder, beside, folder, name)) {
    error = errno;
    unlinkat(folder, beside, 0);
  } else
    fsync(folder); /* the name too; some file systems cannot, and it stands all the same */
  close(folder);
  return error;
}

static int write_image(const char *path, const policy_image *image)
{
  struct target target;
  int error = find_target(path, &target) ? replace(&target, image) : errno;
  if (error)
    complain("compile", "%s: %s", path,
             error == EINVAL ? "not an ordinary file, which could be replaced" : strerror(error));
  return error ? EXIT_TROUBLE : EXIT_YES;
}

static int compile(const char *policy, const char *output)
{
  signal(SIGXFSZ, SIG_IGN); /* a limit on files is a failure like a full disk, and tidied like it */
  policy_image *image;
  int status = (int)policy_file_read("compile", policy, &image);
  if (status != EXIT_YES)
    return status;
  status = write_image(output, image);
  free(image);
  return status;
}

/* Here alone an option may follow the operand: `berth compile POLICY -o IMAGE` reads best. */
static int compile_main(int argc, char **argv)
{
  const char *output = NULL, *policy = NULL;
  int c, status;
  for (;;) {
    c = next_option(&compile_command, argc, argv, "+:o:" COMMON_SHORT, long_options, EXIT_TROUBLE,
                    &status);
    if (c == OPTION_EXIT)
      return status;
    if (c == 'o')
      output = optarg;
    else if (optind < argc && !policy)
      policy = argv[optind++];
    else
      break;
  }
  if (!policy || optind < argc || !output) {
    complain("compile", !policy         ? "needs one operand, a policy"
                        : optind < argc ? "needs one operand, a policy, and no other"
                                        : "needs -o IMAGE");
    return EXIT_TROUBLE;
  }
  return compile(policy, output);
}

const struct command compile_command = {"compile", compile_main, "makes a policy's image", usage};
