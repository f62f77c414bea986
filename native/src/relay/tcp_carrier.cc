#include "relay/tcp_carrier.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "relay/plain_chunks.h"

namespace shoal::relay {
namespace {

/** What is read between two looks at the other direction. */
constexpr uint64_t kReceiveBytesMax = 512u << 10;

bool isAgain(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

std::optional<SocketAddress> SocketAddress::parse(const std::string& address, uint16_t port) {
  SocketAddress parsed;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&parsed.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&parsed.storage);
  if (inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    parsed.length = sizeof *v4;
  } else if (inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    parsed.length = sizeof *v6;
  } else {
    return std::nullopt;
  }
  return parsed;
}

uint16_t SocketAddress::port() const {
  if (storage.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
}

bool isSameToken(const uint8_t* a, const uint8_t* b) {
  uint8_t difference = 0;
  for (size_t i = 0; i < kTokenBytes; ++i) difference |= static_cast<uint8_t>(a[i] ^ b[i]);
  return difference == 0;
}

TcpCarrier::TcpCarrier(UniqueFd socket, const Token& ours, bool connected)
    : socket_(std::move(socket)), ours_(ours), connected_(connected), lastHeard_(Clock::now()), lastSent_(lastHeard_) {
  const int yes = 1;
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

bool TcpCarrier::makeLine(const std::optional<CarrierSecrets>& secrets, std::string& problem) {
  if (!secrets) {
    reader_ = std::make_unique<PlainReader>();
    writer_ = std::make_unique<PlainWriter>();
    return true;
  }
  using crypto::ChunkCipher;
  std::unique_ptr<ChunkCipher> seals = ChunkCipher::create(ChunkCipher::Way::seals, secrets->out, problem);
  std::unique_ptr<ChunkCipher> opens = ChunkCipher::create(ChunkCipher::Way::opens, secrets->in, problem);
  if (!seals || !opens) return false;
  reader_ = std::make_unique<SealedReader>(std::move(opens));
  writer_ = std::make_unique<SealedWriter>(std::move(seals));
  return true;
}

std::unique_ptr<TcpCarrier> TcpCarrier::dial(const SocketAddress& to, const Token& ours, const Token& theirs,
                                             const std::optional<CarrierSecrets>& secrets, std::string& problem) {
  UniqueFd socket(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int result =
      socket.valid() ? connect(socket.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.length) : -1;
  if (result != 0 && errno != EINPROGRESS) {
    problem = std::string("connect: ") + std::strerror(errno);
    return nullptr;
  }
  std::unique_ptr<TcpCarrier> carrier(new TcpCarrier(std::move(socket), ours, result == 0));
  carrier->theirs_ = theirs;
  return carrier->makeLine(secrets, problem) ? std::move(carrier) : nullptr;
}

std::unique_ptr<TcpCarrier> TcpCarrier::accepted(UniqueFd socket, const Hello& heard, const Token& ours,
                                                 const std::optional<CarrierSecrets>& secrets, std::string& problem) {
  std::unique_ptr<TcpCarrier> carrier(new TcpCarrier(std::move(socket), ours, true));
  carrier->peerHello_.hello = heard;
  carrier->peerHelloRead_ = sizeof heard;
  return carrier->makeLine(secrets, problem) ? std::move(carrier) : nullptr;
}

Turn TcpCarrier::forge(std::string why) {
  forged_ = true;
  return fail(std::move(why));
}

Turn TcpCarrier::fail(std::string why) {
  problem_ = std::move(why);
  return Turn::failed;
}

Turn TcpCarrier::failed(const char* what, int error) { return fail(std::string(what) + ": " + std::strerror(error)); }

bool TcpCarrier::reached() {
  if (connected_ || !problem_.empty()) return connected_;
  pollfd writable = {socket_.get(), POLLOUT, 0};
  int error = 0;
  socklen_t length = sizeof error;
  if (poll(&writable, 1, 0) == 1 && getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length) == 0) {
    connected_ = error == 0;
    if (error != 0) failed("connect", error);
  } else if (Clock::now() >= deadline()) {
    fail("connect: no answer in time");
  }
  return connected_;
}

Clock::time_point TcpCarrier::deadline() const {
  if (!ready()) return lastHeard_ + kHelloTime;
  return std::min(lastHeard_ + kSilenceTime, lastSent_ + kPingTime);
}

Turn TcpCarrier::acceptHello(Stream& stream, const Hello& hello) {
  const bool isRelay = hello.magic == kHelloMagic && hello.version == kProtocolVersion;
  if (!isRelay || (theirs_ && !isSameToken(hello.token, theirs_->data())))
    return fail("another answers than was asked for");
  if (hello.streamBytes != stream.bytes()) return fail("the peer's streams have another size");
  // Who does not know what it has said to have processed is not who it was.
  if (!stream.resume(hello.processed)) return Turn::hostile;
  heard_ = true;
  return Turn::progress;
}

Turn TcpCarrier::receiveHello(Stream& stream) {
  const size_t bytes = sizeof peerHello_.hello + reader_->helloTagBytes();
  if (peerHelloRead_ < bytes) {
    const ssize_t got =
        recv(socket_.get(), reinterpret_cast<char*>(&peerHello_) + peerHelloRead_, bytes - peerHelloRead_, 0);
    if (got < 0 && isAgain(errno)) return Turn::idle;
    if (got < 0) return failed("recv", errno);
    if (got == 0) return fail("the peer refused the hello");
    peerHelloRead_ += static_cast<size_t>(got);
    if (peerHelloRead_ < bytes) return Turn::progress;
  }
  if (!reader_->proves(peerHello_.hello, peerHello_.tag)) return forge("the hello is not the peer's");
  return acceptHello(stream, peerHello_.hello);
}

Turn TcpCarrier::receive(Stream& stream, Clock::time_point now) {
  if (!heard_) {
    const Turn turn = receiveHello(stream);
    if (turn != Turn::idle) lastHeard_ = now;
    if (turn == Turn::idle && now > lastHeard_ + kHelloTime) return fail("no hello in time");
    return turn;
  }
  uint64_t taken = 0;
  while (taken < kReceiveBytesMax) {
    iovec places[2];
    msghdr message = {};
    message.msg_iov = places;
    message.msg_iovlen = static_cast<size_t>(reader_->places(stream, places));
    size_t room = 0;
    for (size_t i = 0; i < message.msg_iovlen; ++i) room += places[i].iov_len;
    const ssize_t got = recvmsg(socket_.get(), &message, 0);
    if (got == 0) return fail("the peer closed the connection");
    if (got < 0) {
      if (!isAgain(errno)) return failed("recv", errno);
      break;
    }
    taken += static_cast<uint64_t>(got);
    switch (reader_->took(stream, static_cast<size_t>(got))) {
      case Took::sound:
        break;
      case Took::hostile:
        return Turn::hostile;
      case Took::forged:
        return forge("what came was changed, repeated or made up on its way");
    }
    if (static_cast<size_t>(got) < room) break;  // there is no more at the moment: spare the call that says so
  }
  if (taken > 0) {
    lastHeard_ = now;
    return Turn::progress;
  }
  return now > lastHeard_ + kSilenceTime ? fail("nothing was heard of the peer") : Turn::idle;
}

Turn TcpCarrier::sendHello(Stream& stream) {
  if (helloBytes_ == 0) {
    hello_.hello.streamBytes = stream.bytes();
    hello_.hello.processed = told_ = stream.processed();
    std::copy(ours_.begin(), ours_.end(), hello_.hello.token);
    const std::optional<size_t> tagBytes = writer_->sign(hello_.hello, hello_.tag);
    if (!tagBytes) return fail("libcrypto failed");
    helloBytes_ = sizeof hello_.hello + *tagBytes;
  }
  const ssize_t sent = ::send(socket_.get(), reinterpret_cast<const char*>(&hello_) + helloSent_,
                              helloBytes_ - helloSent_, MSG_NOSIGNAL);
  full_ = sent < 0 && isAgain(errno);
  if (full_) return Turn::idle;
  if (sent < 0) return failed("send", errno);
  helloSent_ += static_cast<size_t>(sent);
  return Turn::progress;
}

/** `idle`: there is nothing to be said. */
Turn TcpCarrier::beginChunk(Stream& stream, Clock::time_point now) {
  const bool tell = stream.processed() - told_ >= stream.bytes() / kAcknowledgeShare || now >= lastSent_ + kPingTime;
  if (stream.unsent() == 0 && !tell) return Turn::idle;
  told_ = stream.processed();
  return writer_->begin(stream, told_) ? Turn::progress : fail("libcrypto failed");
}

Turn TcpCarrier::send(Stream& stream, Clock::time_point now) {
  if (helloBytes_ == 0 || helloSent_ < helloBytes_) return sendHello(stream);
  if (!heard_) return Turn::idle;
  Turn turn = Turn::idle;
  for (;;) {
    if (writer_->idle()) {
      const Turn begun = beginChunk(stream, now);
      if (begun != Turn::progress) return begun == Turn::idle ? turn : begun;
    }
    iovec places[2];
    msghdr message = {};
    message.msg_iov = places;
    message.msg_iovlen = static_cast<size_t>(writer_->places(stream, places));
    const ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    full_ = sent < 0 && isAgain(errno);
    if (full_) return turn;
    if (sent < 0) return failed("send", errno);
    writer_->sent(stream, static_cast<size_t>(sent));
    lastSent_ = now;
    turn = Turn::progress;
  }
}

}  // namespace shoal::relay
