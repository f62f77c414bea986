/**
 * A cable that is slow: frames between two network devices arrive late by a chance in a range, so that they overtake
 * one another, and some of them twice. For kernels without the queueing discipline netem (see tc-netem(8)).
 *
 * late-link DEVICE DEVICE LATE_US_MIN LATE_US_MAX TWICE_PERMILLE SEED
 *
 * Needs CAP_NET_RAW. Says "ready" when it carries frames, and does so until it is killed; what is under way is lost
 * then.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

/* A segment that the sender left for the card to cut, with its header. */
enum { FRAME_MAX = 65536 + 256, WAITING_MAX = 4096 };

struct frame {
  int64_t due_us;
  int to;
  ssize_t bytes;
  unsigned char *data;
};

static struct frame waiting[WAITING_MAX];
static int waiting_count;
static uint64_t chance_state;

static void fail(const char *what) {
  fprintf(stderr, "late-link: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* xorshift64 (Marsaglia, 2003). */
static uint64_t chance(uint64_t below) {
  chance_state ^= chance_state << 13;
  chance_state ^= chance_state >> 7;
  chance_state ^= chance_state << 17;
  return below == 0 ? 0 : chance_state % below;
}

/* Frames keep the header of virtio, which says what is left for the card to do: checksums and cutting. */
static int open_device(const char *name) {
  int one = 1;
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
  struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  address.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
  if (address.sll_ifindex == 0) fail(name);
  if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0) fail("PACKET_VNET_HDR");
  if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) < 0) fail("PACKET_IGNORE_OUTGOING");
  if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0) fail("PACKET_ADD_MEMBERSHIP");
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail(name);
  return fd;
}

/* A full queue drops, as that of a switch does. */
static void enqueue(int to, const unsigned char *data, ssize_t bytes, int64_t due_us) {
  if (waiting_count == WAITING_MAX) return;
  unsigned char *copy = malloc((size_t)bytes);
  if (copy == NULL) fail("malloc");
  memcpy(copy, data, (size_t)bytes);
  waiting[waiting_count++] = (struct frame){due_us, to, bytes, copy};
}

static void take(int from, int to, int64_t late_min, int64_t late_max, uint64_t twice) {
  static unsigned char buffer[FRAME_MAX];
  for (;;) {
    ssize_t bytes = recv(from, buffer, sizeof buffer, MSG_TRUNC);
    if (bytes < 0) {
      if (errno != EAGAIN && errno != EINTR && errno != ENETDOWN) fail("recv");
      return;
    }
    if (bytes <= (ssize_t)sizeof(struct virtio_net_hdr) || bytes > (ssize_t)sizeof buffer) continue;
    int copies = chance(1000) < twice ? 2 : 1;
    for (int i = 0; i < copies; i += 1) {
      int64_t late = late_min + (int64_t)chance((uint64_t)(late_max - late_min) + 1);
      enqueue(to, buffer, bytes, now_us() + late);
    }
  }
}

/* Sends what is due; answers for how many µs nothing else is, -1: nothing waits. */
static int64_t send_due(void) {
  int64_t now = now_us();
  int64_t next = -1;
  for (int i = 0; i < waiting_count;) {
    struct frame *each = &waiting[i];
    if (each->due_us <= now) {
      /* What a device does not take is lost, which is what networks do. */
      if (send(each->to, each->data, (size_t)each->bytes, 0) < 0 && errno == EBADF) fail("send");
      free(each->data);
      waiting[i] = waiting[--waiting_count];
      continue;
    }
    int64_t left = each->due_us - now;
    if (next < 0 || left < next) next = left;
    i += 1;
  }
  return next;
}

int main(int count, char **words) {
  if (count != 7) {
    fprintf(stderr, "usage: late-link DEVICE DEVICE LATE_US_MIN LATE_US_MAX TWICE_PERMILLE SEED\n");
    return 2;
  }
  int ends[2] = {open_device(words[1]), open_device(words[2])};
  int64_t late_min = atoll(words[3]), late_max = atoll(words[4]);
  uint64_t twice = (uint64_t)atoll(words[5]);
  chance_state = (uint64_t)atoll(words[6]) | 1;
  if (late_min < 0 || late_max < late_min) {
    fprintf(stderr, "late-link: the range of lateness is none\n");
    return 2;
  }
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) fail("stdout");
  for (;;) {
    int64_t next = send_due();
    struct timespec wait = {next / 1000000, next % 1000000 * 1000};
    struct pollfd polled[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLIN, 0}};
    if (ppoll(polled, 2, next < 0 ? NULL : &wait, NULL) < 0 && errno != EINTR) fail("ppoll");
    take(ends[0], ends[1], late_min, late_max, twice);
    take(ends[1], ends[0], late_min, late_max, twice);
  }
}
