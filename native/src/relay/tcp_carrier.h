#pragma once

#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "common/unique_fd.h"
#include "relay/carrier.h"
#include "relay/chunk_reader.h"

namespace shoal::relay {

using Token = std::array<uint8_t, kTokenBytes>;

/** An IPv4 or IPv6 address in numbers, with a port. */
struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t length = 0;
  static std::optional<SocketAddress> parse(const std::string& address, uint16_t port);
  uint16_t port() const;
};

/** Whether two tokens are the same, in a time that does not tell where they differ. */
bool isSameToken(const uint8_t* a, const uint8_t* b);

/** One TCP connection. The dialing side shows `ours` first, the other answers with its own. */
class TcpCarrier final : public Carrier {
 public:
  /** Begins to connect. */
  static std::unique_ptr<TcpCarrier> dial(const SocketAddress& to, const Token& ours, const Token& theirs,
                                          std::string& problem);
  /** Goes on with a connection whose hello was read and its token found right. */
  static std::unique_ptr<TcpCarrier> accepted(UniqueFd socket, const Hello& heard, const Token& ours);

  CarrierKind kind() const override { return CarrierKind::tcp; }
  bool reached() override;
  bool ready() const override { return heard_ && helloSent_ == sizeof(Hello); }
  Turn receive(Stream& stream, Clock::time_point now) override;
  Turn send(Stream& stream, Clock::time_point now) override;
  int waitFd() const override { return socket_.get(); }
  bool wantsWrite() const override { return !connected_ || full_; }
  bool announceSleep() override { return true; }
  Clock::time_point deadline() const override;
  const std::string& problem() const override { return problem_; }

 private:
  TcpCarrier(UniqueFd socket, const Token& ours, bool connected);

  Turn fail(std::string why);
  Turn failed(const char* what, int error);
  Turn acceptHello(Stream& stream, const Hello& hello);
  Turn receiveHello(Stream& stream);
  Turn sendHello(Stream& stream);
  bool beginChunk(Stream& stream, Clock::time_point now);

  UniqueFd socket_;
  Token ours_;
  /** What the peer has to show; nothing when it was looked at already. */
  std::optional<Token> theirs_;
  std::string problem_;
  bool connected_;
  /** The socket takes nothing at the moment. */
  bool full_ = false;

  Hello hello_;
  size_t helloSent_ = 0;
  Hello peerHello_;
  size_t peerHelloRead_ = 0;
  bool heard_ = false;

  ChunkReader reader_;
  ChunkHeader chunk_ = {};
  /** Of the chunk under way: how much of header and bytes was sent. */
  size_t chunkSent_ = sizeof(ChunkHeader);
  uint64_t told_ = 0;
  Clock::time_point lastHeard_;
  Clock::time_point lastSent_;
};

}  // namespace shoal::relay
