// SPDX-License-Identifier: MIT
//
// For each algorithm two pictures, side by side: which port each connection got, where the parities
// show, and how many ports a call looked at, over how many were taken, where the cliff shows.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/simulate.h"

#define MOST_STRETCHES 1000 /* of an algorithm's connections: more than a picture can show */
#define MOST_POINTS (2 * MOST_STRETCHES)

struct point {
  uint32_t number, taken, looked_at;
  uint16_t port; /* 0: none */
};

struct plot {
  const struct scenario *scenario;
  struct series {
    const struct algorithm *algorithm;
    struct point *points;
    uint32_t count;
    uint32_t failure_shown; /* the stretch after the last of which one is */
  } series[32];
  int count;
};

struct plot *plot_begin(const struct scenario *s)
{
  struct plot *p = calloc(1, sizeof *p);
  if (!p)
    complain("simulate", "not enough memory");
  else
    p->scenario = s;
  return p;
}

void plot_end(struct plot *p)
{
  for (int i = 0; p && i < p->count; i++)
    free(p->series[i].points);
  free(p);
}

void plot_algorithm(struct plot *p, const struct algorithm *a)
{
  p->series[p->count].algorithm = a;
  p->series[p->count++].points = calloc(MOST_POINTS + 1, sizeof(struct point));
}

/* Which connection of a stretch is shown. Not the same one each time: algorithms, destinations and
 * sources take turns, and every n-th connection would be one of their turns only. (A mixer of
 * splitmix64.) */
static uint32_t shown_of(uint32_t stretch, uint32_t size)
{
  uint64_t z = (stretch + 1) * UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return (uint32_t)((z ^ z >> 31) % size);
}

/* One connection of each stretch, and the first that failed, since few may. */
void plot_attempt(void *data, const struct attempt *a)
{
  struct plot *p = data;
  struct series *s = &p->series[p->count - 1];
  uint32_t all = p->scenario->workload.connections;
  uint32_t size = (all + MOST_STRETCHES - 1) / MOST_STRETCHES, stretch = a->number / size;
  uint32_t left = all - stretch * size;
  bool shown = a->number % size == shown_of(stretch, left < size ? left : size);
  bool failed = !a->choice.port && s->failure_shown <= stretch;
  if (!s->points || !(shown || failed))
    return;
  if (!a->choice.port)
    s->failure_shown = stretch + 1;
  s->points[s->count++] = (struct point){a->number + 1, a->taken, a->choice.looked_at,
                                         a->choice.port};
}

/* --- for gnuplot ----------------------------------------------------------------------------- */

static void write_data(FILE *out, const struct plot *p)
{
  uint16_t low = p->scenario->workload.low;
  for (int i = 0; i < p->count; i++) {
    fprintf(out, "$data%d << END\n", i);
    for (uint32_t j = 0; j < p->series[i].count; j++) {
      const struct point *at = &p->series[i].points[j];
      fprintf(out, "%u %u %u %u %d\n", at->number, at->port, at->taken, at->looked_at,
              at->port % 2 != low % 2);
    }
    fputs("END\n", out);
  }
}

static void write_pictures(FILE *out, const struct plot *p, const char *file)
{
  const struct workload *w = &p->scenario->workload;
  fprintf(out, "set terminal svg size 1100,%d font 'sans,11' background 'white'\n", 290 * p->count);
  fprintf(out, "set output '");
  for (const char *c = file; *c; c++)
    fputs(*c == '\'' ? "''" : (char[]){*c, '\0'}, out);
  fprintf(out, "'\nset multiplot layout %d,2\nset key outside right top\n", p->count);
  for (int i = 0; i < p->count; i++) {
    const char *name = algorithm_name(p->series[i].algorithm);
    fprintf(
        out,
        "set title '%s'\nset xlabel 'connection'\nset ylabel 'port'\nset yrange [%u:%u]\n"
        "plot $data%d using ($2>0&&$5==0?$1:1/0):2 with dots lc rgb '#1f5fbf' title \"low's parity\","
        " $data%d using ($2>0&&$5==1?$1:1/0):2 with dots lc rgb '#d1495b' title 'the other'\n"
        "set xlabel 'ports taken towards the destination'\nset ylabel 'ports looked at'\n"
        "set yrange [0:*]\n"
        "plot $data%d using ($2>0?$3:1/0):4 with points pt 7 ps 0.2 lc rgb '#1f5fbf' title 'found',"
        " $data%d using ($2>0?1/0:$3):4 with points pt 2 ps 0.5 lc rgb '#d1495b' title '%s'\n",
        name, w->low, w->high, i, i, i, i, algorithm_error(p->series[i].algorithm));
  }
  fputs("unset multiplot\n", out);
}

/* gnuplot, reading from the pipe; its messages go to stderr. */
static pid_t start_gnuplot(FILE **in)
{
  int ends[2];
  if (pipe(ends))
    return -1;
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[0], 0);
    close(ends[0]);
    close(ends[1]);
    execlp("gnuplot", "gnuplot", "-", (char *)NULL);
    _exit(EXIT_NOT_FOUND);
  }
  close(ends[0]);
  *in = child < 0 ? NULL : fdopen(ends[1], "w");
  if (!*in)
    close(ends[1]);
  return child;
}

bool plot_draw(struct plot *p, const char *file)
{
  FILE *in;
  int status = 0;
  pid_t child = start_gnuplot(&in);
  if (child < 0 || !in) {
    complain("simulate", "gnuplot: %s", strerror(errno));
    return false;
  }
  /* gnuplot may end before it has read all. */
  void (*on_pipe)(int) = signal(SIGPIPE, SIG_IGN);
  write_data(in, p);
  write_pictures(in, p, file);
  fclose(in);
  signal(SIGPIPE, on_pipe);
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND)
    complain("simulate", "--svg: gnuplot is not installed");
  else if (status)
    complain("simulate", "--svg: gnuplot could not draw %s", file);
  return status == 0;
}
