/**
 * Does so many of a thing as a line of its standard input says, each from or to another place, and then says so.
 *   naps N     waits N times for 50 us, each time in another stack
 *   burn N     computes for N ms of CPU time, from microsecond to microsecond in another stack
 *   threads N  begins N threads that wait for ever
 *   peers N    asks for N connections, each to another address, which are refused
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* So many ways there are to a place: at each step one of two calls. */
#define STEPS 16
#define THREAD_STACK_BYTES 16384

static void need(int condition, const char* what) {
  if (condition) return;
  perror(what);
  exit(1);
}

/* The system call is made here: the library has no frames. */
__attribute__((noinline)) static void nap(void) {
  const struct timespec span = {0, 50 * 1000};
  long result = SYS_nanosleep;
  __asm__ volatile("syscall" : "+a"(result) : "D"(&span), "S"(0) : "rcx", "r11", "memory");
}

/* Each way is a stack of its own: the two calls return to different places. */
__attribute__((noinline)) static void nap_by(unsigned way, int steps) {
  if (steps == 0)
    nap();
  else if (way & 1)
    nap_by(way >> 1, steps - 1);
  else
    nap_by(way >> 1, steps - 1);
}

static volatile unsigned long sink;

__attribute__((noinline)) static void burn_by(unsigned way, int steps) {
  if (steps == 0)
    for (int round = 0; round < 1000; round += 1) sink = sink * 3 + 1;
  else if (way & 1)
    burn_by(way >> 1, steps - 1);
  else
    burn_by(way >> 1, steps - 1);
}

/* By the thread's own clock, and a call of that is rare: it is a system call. */
static void burn(unsigned milliseconds) {
  struct timespec now, begin;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  unsigned way = 0;
  do {
    for (int i = 0; i < 100; i += 1) burn_by(way += 1, STEPS);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < milliseconds);
}

static volatile unsigned waiting;

static void* wait_for_ever(void* unused) {
  __sync_fetch_and_add(&waiting, 1);
  for (;;) pause();
  return unused;
}

static void begin_thread(void) {
  const unsigned before = waiting;
  static pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  need(pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES) == 0, "pthread_attr_setstacksize");
  need(pthread_create(&thread, &attributes, wait_for_ever, NULL) == 0, "pthread_create");
  while (waiting == before) sched_yield();
}

static void ask(unsigned place) {
  const struct sockaddr_in peer = {
      .sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(0x7f100001 + place)};
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  need(connection >= 0, "socket");
  need(connect(connection, (const struct sockaddr*)&peer, sizeof peer) != 0, "refused");
  close(connection);
}

int main(void) {
  char what[16];
  unsigned count;
  need(prctl(PR_SET_TIMERSLACK, 1) == 0, "prctl");
  while (scanf("%15s %u", what, &count) == 2) {
    if (strcmp(what, "naps") == 0)
      for (unsigned i = 0; i < count; i += 1) nap_by(i, STEPS);
    else if (strcmp(what, "burn") == 0)
      burn(count);
    else if (strcmp(what, "threads") == 0)
      for (unsigned i = 0; i < count; i += 1) begin_thread();
    else
      for (unsigned i = 0; i < count; i += 1) ask(i);
    puts("done");
    fflush(stdout);
  }
  return 0;
}
