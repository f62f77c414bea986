#pragma once

#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "common/unique_fd.h"
#include "relay/carrier.h"
#include "relay/sealed_chunks.h"

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

/**
 * One TCP connection. The dialing side shows `ours` first, the other answers with its own. With secrets, which both
 * ends have from their agents, all is sealed that follows the token, and the hello cannot be changed.
 */
class TcpCarrier final : public Carrier {
 public:
  /** Begins to connect. */
  static std::unique_ptr<TcpCarrier> dial(const SocketAddress& to, const Token& ours, const Token& theirs,
                                          const std::optional<CarrierSecrets>& secrets, std::string& problem);
  /** Goes on with a connection whose hello was read and its token found right. */
  static std::unique_ptr<TcpCarrier> accepted(UniqueFd socket, const Hello& heard, const Token& ours,
                                              const std::optional<CarrierSecrets>& secrets, std::string& problem);

  CarrierKind kind() const override { return CarrierKind::tcp; }
  bool reached() override;
  bool ready() const override { return heard_ && helloBytes_ > 0 && helloSent_ == helloBytes_; }
  Turn receive(Stream& stream, Clock::time_point now) override;
  Turn send(Stream& stream, Clock::time_point now) override;
  int waitFd() const override { return socket_.get(); }
  bool wantsWrite() const override { return !connected_ || full_; }
  bool announceSleep() override { return true; }
  Clock::time_point deadline() const override;
  const std::string& problem() const override { return problem_; }
  bool forged() const override { return forged_; }

 private:
  /** A hello and what proves it. */
  struct SignedHello {
    Hello hello;
    crypto::Tag tag = {};
  };
  static_assert(sizeof(SignedHello) == sizeof(Hello) + crypto::kTagBytes);

  TcpCarrier(UniqueFd socket, const Token& ours, bool connected);

  bool makeLine(const std::optional<CarrierSecrets>& secrets, std::string& problem);
  Turn forge(std::string why);
  Turn fail(std::string why);
  Turn failed(const char* what, int error);
  Turn acceptHello(Stream& stream, const Hello& hello);
  Turn receiveHello(Stream& stream);
  Turn sendHello(Stream& stream);
  Turn beginChunk(Stream& stream, Clock::time_point now);

  UniqueFd socket_;
  Token ours_;
  /** What the peer has to show; nothing when it was looked at already. */
  std::optional<Token> theirs_;
  std::string problem_;
  bool forged_ = false;
  bool connected_;
  /** The socket takes nothing at the moment. */
  bool full_ = false;

  SignedHello hello_;
  /** 0 until it is made. */
  size_t helloBytes_ = 0;
  size_t helloSent_ = 0;
  SignedHello peerHello_;
  size_t peerHelloRead_ = 0;
  bool heard_ = false;

  std::unique_ptr<ChunkReader> reader_;
  std::unique_ptr<ChunkWriter> writer_;
  uint64_t told_ = 0;
  Clock::time_point lastHeard_;
  Clock::time_point lastSent_;
};

}  // namespace shoal::relay
