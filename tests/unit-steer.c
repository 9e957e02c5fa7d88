// SPDX-License-Identifier: MIT
//
// steer/: a program's memory read without trusting it, and what is remembered of descriptors.
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "steer/descriptor.h"
#include "steer/endpoint.h"

static void bad_pointers_are_an_answer(void **state)
{
  (void)state;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  assert_true(two != MAP_FAILED && fd >= 0);
  assert_int_equal(munmap(two + page, page), 0);
  assert_int_equal(memory_ask(fd, two, 16), MEMORY_READABLE);
  assert_int_equal(memory_ask(fd, two + page - 16, 16), MEMORY_READABLE);
  assert_int_equal(memory_ask(fd, two + page - 3, 3), MEMORY_READABLE);
  assert_int_equal(memory_ask(fd, two + page - 15, 16), MEMORY_UNREADABLE);
  assert_int_equal(memory_ask(fd, two + page, 2), MEMORY_UNREADABLE);
  assert_int_equal(memory_ask(fd, NULL, 16), MEMORY_UNREADABLE);
  assert_int_equal(memory_ask(fd, (void *)8, 2), MEMORY_UNREADABLE);
  assert_int_equal(memory_ask(fd, (void *)UINTPTR_MAX, 16), MEMORY_UNREADABLE);
  assert_int_equal(memory_ask(-1, two, 16), MEMORY_READABLE); /* without the socket's help */
  assert_int_equal(memory_ask_all(two, page), MEMORY_READABLE);
  if (!getenv("UNDER_MEMCHECK")) { /* which says of such a question that the pointer is bad */
    assert_int_equal(memory_ask(-1, two + page - 15, 16), MEMORY_UNREADABLE);
    assert_int_equal(memory_ask(-1, (void *)1, 16), MEMORY_UNREADABLE);
    assert_int_equal(memory_ask_all((void *)1, 4), MEMORY_UNREADABLE);
    assert_int_equal(memory_ask_all(two + 1, page), MEMORY_UNREADABLE);
  }
  assert_int_equal(mprotect(two, page, PROT_NONE), 0);
  assert_int_equal(memory_ask(fd, two, 16), MEMORY_UNREADABLE);
  close(fd);
}

static void a_look_writes_nothing(void **state)
{
  (void)state;
  const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff}; /* also sizes that are negative */
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  for (size_t i = 0; i < sizeof values; i++) {
    unsigned char bytes[16], before[16];
    memset(bytes, values[i], sizeof bytes);
    memcpy(before, bytes, sizeof bytes);
    assert_int_equal(memory_ask(fd, bytes, sizeof bytes), MEMORY_READABLE);
    assert_memory_equal(bytes, before, sizeof bytes);
  }
  close(fd);
}

static void an_ipv4_address_is_kept_v4_mapped(void **state)
{
  (void)state;
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(80)};
  struct endpoint e;
  static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 7};
  inet_pton(AF_INET, "10.0.0.7", &in.sin_addr);
  assert_true(endpoint_from(&e, (struct sockaddr *)&in, sizeof in));
  assert_memory_equal(e.address, mapped, 16);
  assert_int_equal(e.port, 80);
  assert_false(endpoint_from(&e, (struct sockaddr *)&in, sizeof in - 1));
}

static void an_ipv6_address_may_lack_its_scope(void **state)
{
  (void)state;
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(443), .sin6_scope_id = 9};
  struct endpoint e;
  assert_true(endpoint_from(&e, (struct sockaddr *)&in6, sizeof in6));
  assert_int_equal(e.scope, 9);
  assert_true(endpoint_from(&e, (struct sockaddr *)&in6, 24)); /* RFC 2133's length */
  assert_int_equal(e.scope, 0);
  assert_int_equal(e.port, 443);
  assert_false(endpoint_from(&e, (struct sockaddr *)&in6, 23));
}

static void other_families_are_not_ours(void **state)
{
  (void)state;
  struct sockaddr un = {.sa_family = AF_UNIX};
  struct endpoint e;
  assert_false(endpoint_from(&e, &un, sizeof un));
  assert_false(endpoint_from(&e, NULL, sizeof un));
  assert_int_equal(endpoint_family(&un, 1), AF_UNSPEC);
}

static void a_kind_needs_no_doubt(void **state)
{
  (void)state;
  static const struct {
    int domain, type, protocol;
    enum socket_kind kind;
  } made[] = {
      {AF_INET, SOCK_STREAM, 0, SOCKET_TCP},
      {AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP, SOCKET_TCP},
      {AF_INET, SOCK_DGRAM, 0, SOCKET_UDP},
      {AF_INET, SOCK_DGRAM, IPPROTO_ICMP, SOCKET_UNKNOWN},
      {AF_INET, SOCK_STREAM, 262, SOCKET_MPTCP},
      {AF_INET, SOCK_STREAM, IPPROTO_SCTP, SOCKET_UNKNOWN},
      {AF_INET, SOCK_RAW, IPPROTO_ICMP, SOCKET_RAW},
      {AF_UNIX, SOCK_STREAM, 0, SOCKET_OTHER},
      {AF_NETLINK, SOCK_RAW, 0, SOCKET_OTHER},
  };
  for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
    descriptor_made(7, made[i].domain, made[i].type, made[i].protocol);
    assert_int_equal(descriptor_get(7).kind, made[i].kind);
  }
}

static void closing_forgets_all_but_what_is_checked(void **state)
{
  (void)state;
  struct descriptor d = {.port = 4242,
                         .kind = SOCKET_TCP,
                         .flags = DESCRIPTOR_SETTLED | DESCRIPTOR_PROGRAM | DESCRIPTOR_CONNECTING,
                         .generation = descriptor_begin(8).generation};
  descriptor_set(8, d);
  descriptor_closed(8);
  assert_int_equal(descriptor_get(8).kind, SOCKET_UNKNOWN);
  assert_int_equal(descriptor_get(8).flags, DESCRIPTOR_PROGRAM | DESCRIPTOR_CONNECTING);
  assert_int_equal(descriptor_get(8).port, 4242);
  descriptor_made(8, AF_INET, SOCK_STREAM, 0);
  assert_int_equal(descriptor_get(8).port, 0);
}

static void a_socket_that_is_gone_leaves_nothing(void **state)
{
  (void)state;
  for (int i = 0; i < 3; i++) {
    struct descriptor before = descriptor_begin(9);
    assert_true(descriptor_is(9, before.generation));
    descriptor_closed(9);
    if (i == 1)
      descriptor_made(9, AF_INET, SOCK_DGRAM, 0);
    if (i == 2)
      descriptor_accepted(9);
    struct descriptor now = descriptor_get(9);
    assert_false(descriptor_is(9, before.generation));
    before.port = 4242;
    descriptor_set(9, before);
    assert_memory_equal(&(struct descriptor[]){descriptor_get(9)}, &now, sizeof now);
  }
}

static void what_was_never_seen_is_not_written_to(void **state)
{
  (void)state;
  unsigned used = descriptors_used();
  descriptor_closed((int)used + 1);
  assert_int_equal(descriptors_used(), used);
  assert_int_equal(descriptor_get((int)used + 1).generation, 0);
}

static void numbers_out_of_range_are_not_remembered(void **state)
{
  (void)state;
  struct descriptor d = {.port = 1, .kind = SOCKET_TCP};
  descriptor_set(-1, d);
  descriptor_set(DESCRIPTORS, d);
  descriptor_set(DESCRIPTORS - 1, d);
  assert_int_equal(descriptor_get(-1).port, 0);
  assert_int_equal(descriptor_get(DESCRIPTORS).port, 0);
  assert_int_equal(descriptor_get(DESCRIPTORS - 1).port, 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bad_pointers_are_an_answer),
      cmocka_unit_test(a_look_writes_nothing),
      cmocka_unit_test(an_ipv4_address_is_kept_v4_mapped),
      cmocka_unit_test(an_ipv6_address_may_lack_its_scope),
      cmocka_unit_test(other_families_are_not_ours),
      cmocka_unit_test(a_kind_needs_no_doubt),
      cmocka_unit_test(closing_forgets_all_but_what_is_checked),
      cmocka_unit_test(a_socket_that_is_gone_leaves_nothing),
      cmocka_unit_test(what_was_never_seen_is_not_written_to),
      cmocka_unit_test(numbers_out_of_range_are_not_remembered),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
