/** Does an exactly known number of things between two lines of its standard input. Arguments: file, port of a server.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 1000
#define CALLS 1234
#define READS 50
#define CONNECTIONS 7
#define SENT 10000
#define RECEIVED 5000

static void need(int condition, const char* what) {
  if (condition) return;
  perror(what);
  exit(1);
}

static void touch_pages(char* pages) {
  for (int i = 0; i < PAGES; i += 1) pages[(size_t)i * PAGE] = 1;
}

static void read_blocks(int file, char* block) {
  for (int i = 0; i < READS; i += 1) need(pread(file, block, PAGE, (off_t)i * PAGE) == PAGE, "pread");
}

static void talk(int port, char* bytes) {
  const struct sockaddr_in server = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < CONNECTIONS; i += 1) {
    const int connection = socket(AF_INET, SOCK_STREAM, 0);
    need(connect(connection, (const struct sockaddr*)&server, sizeof server) == 0, "connect");
    need(send(connection, bytes, SENT, 0) == SENT, "send");
    need(recv(connection, bytes, RECEIVED, MSG_WAITALL) == RECEIVED, "recv");
    close(connection);
  }
}

int main(int count, char** words) {
  need(count == 3, "arguments");
  const int memory = memfd_create("shoal-acts", 0);
  need(ftruncate(memory, PAGES * PAGE) == 0, "ftruncate");
  char* pages = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  need(pages != MAP_FAILED, "mmap");
  const int file = open(words[1], O_RDONLY | O_DIRECT);
  need(file >= 0, words[1]);
  char* block = aligned_alloc(PAGE, 4 * PAGE);
  memset(block, 0, 4 * PAGE);
  struct rusage before;
  struct rusage after;
  puts("ready");
  fflush(stdout);
  need(getchar() == '\n', "getchar");
  getrusage(RUSAGE_SELF, &before);
  touch_pages(pages);
  for (int i = 0; i < CALLS; i += 1) getppid();
  read_blocks(file, block);
  talk(atoi(words[2]), block);
  getrusage(RUSAGE_SELF, &after);
  printf("%ld %ld\n", after.ru_minflt - before.ru_minflt, after.ru_majflt - before.ru_majflt);
  fflush(stdout);
  need(getchar() == '\n', "getchar");
  return 0;
}
