/** Tests of packets with descriptors between processes that do not trust each other. Under ASan and UBSan. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "descriptors.h"
#include "fabric/packet_socket.h"

using namespace shoal::fabric;
using shoal::UniqueFd;

namespace {

struct Pair {
  Pair() {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    one.reset(ends[0]);
    two.reset(ends[1]);
  }
  UniqueFd one;
  UniqueFd two;
};

/** Sends what sendPacket refuses to. */
void sendRaw(int socket, size_t length, size_t fdCount) {
  std::vector<char> bytes(length, 'x');
  std::vector<char> control(CMSG_SPACE(sizeof(int) * fdCount));
  iovec data = {bytes.data(), length};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * fdCount);
  const int fd = STDERR_FILENO;
  for (size_t i = 0; i < fdCount; ++i) std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof fd);
  CHECK(sendmsg(socket, &message, 0) == static_cast<ssize_t>(length));
}

void testPacketsArriveWhole() {
  Pair pair;
  Packet packet;
  int problem = 0;
  CHECK(receivePacket(pair.two.get(), packet, problem) == Received::nothing);
  const int fds[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  for (size_t count = 0; count <= kPacketFdsMax; ++count) {
    const std::string text(1 + count * 1000, static_cast<char>('a' + count));
    CHECK(sendPacket(pair.one.get(), text.data(), text.size(), fds, count) == 0);
  }
  for (size_t count = 0; count <= kPacketFdsMax; ++count) {
    CHECK(receivePacket(pair.two.get(), packet, problem) == Received::packet);
    CHECK(packet.length == 1 + count * 1000 && static_cast<char>(packet.bytes[0]) == static_cast<char>('a' + count));
    CHECK(packet.fdCount == count);
    for (size_t i = 0; i < count; ++i) CHECK((fcntl(packet.fds[i].get(), F_GETFD) & FD_CLOEXEC) != 0);
  }
  pair.one.reset();
  CHECK(receivePacket(pair.two.get(), packet, problem) == Received::ended);
  CHECK(sendPacket(pair.two.get(), "x", 1, nullptr, 0) == EPIPE);
}

void testTooMuchIsRefusedAndClosed() {
  Pair pair;
  Packet packet;
  int problem = 0;
  const size_t before = openDescriptors();
  for (const size_t count : {kPacketFdsMax + 1, size_t{250}}) {
    sendRaw(pair.one.get(), 1, count);
    CHECK(receivePacket(pair.two.get(), packet, problem) == Received::failed && problem == EMFILE);
    CHECK(packet.fdCount == 0 || !packet.fds[0].valid());
    CHECK(openDescriptors() == before);
  }
  sendRaw(pair.one.get(), kPacketBytesMax + 1, 2);
  CHECK(receivePacket(pair.two.get(), packet, problem) == Received::failed && problem == EMSGSIZE);
  CHECK(openDescriptors() == before);
  const std::string longest(kPacketBytesMax + 1, 'x');
  CHECK(sendPacket(pair.one.get(), longest.data(), longest.size(), nullptr, 0) == EMSGSIZE);
  CHECK(sendPacket(pair.one.get(), longest.data(), 0, nullptr, 0) == EMSGSIZE);
  CHECK(sendPacket(pair.one.get(), longest.data(), kPacketBytesMax, nullptr, 0) == 0);
}

/** A process that may open no more loses the packet, and says so. */
void testNoDescriptorsLeft() {
  Pair pair;
  Packet packet;
  int problem = 0;
  const int fds[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  CHECK(sendPacket(pair.one.get(), "x", 1, fds, 3) == 0);
  rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const size_t before = openDescriptors();
  const int next = dup(STDIN_FILENO);
  close(next);
  const rlimit tight = {static_cast<rlim_t>(next + 1), limit.rlim_max};
  CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  CHECK(receivePacket(pair.two.get(), packet, problem) == Received::failed && problem == EMFILE);
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(openDescriptors() == before);
}

/** Who does not read does not hold up who sends, and gets no more. */
void testSenderNeverWaits() {
  Pair pair;
  const std::string text(1000, 'x');
  int problem = 0;
  for (int i = 0; problem == 0 && i < 100'000; ++i)
    problem = sendPacket(pair.one.get(), text.data(), text.size(), nullptr, 0);
  CHECK(problem == EAGAIN);
}

void testListening() {
  char folder[] = "/tmp/shoal-packet-test-XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/socket";
  CHECK(!dialPackets(path).valid() && errno == ENOENT);
  UniqueFd stale = listenForPackets(path, false);
  CHECK(stale.valid());
  stale.reset();
  CHECK(!dialPackets(path).valid() && errno == ECONNREFUSED);
  UniqueFd listener = listenForPackets(path, false);
  CHECK(listener.valid());
  CHECK(!acceptPackets(listener.get()).valid() && errno == EAGAIN);
  UniqueFd dialled = dialPackets(path);
  UniqueFd accepted = acceptPackets(listener.get());
  CHECK(dialled.valid() && accepted.valid());
  CHECK(sendPacket(dialled.get(), "hello", 5, nullptr, 0) == 0);
  Packet packet;
  int problem = 0;
  CHECK(receivePacket(accepted.get(), packet, problem) == Received::packet && packet.length == 5);
  std::vector<UniqueFd> waiting;
  UniqueFd more = dialPackets(path);
  for (; more.valid(); more = dialPackets(path)) waiting.push_back(std::move(more));
  CHECK(errno == EAGAIN && waiting.size() < 100);
  CHECK(!listenForPackets(std::string(200, 'x'), false).valid() && errno == ENAMETOOLONG);
  CHECK(unlink(path.c_str()) == 0 && rmdir(folder) == 0);
}

}  // namespace

int main() {
  const size_t descriptors = openDescriptors();
  testPacketsArriveWhole();
  testTooMuchIsRefusedAndClosed();
  testNoDescriptorsLeft();
  testSenderNeverWaits();
  testListening();
  CHECK(openDescriptors() == descriptors);
  std::puts("packet_test: all passed");
}
