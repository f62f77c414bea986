#pragma once

#include <cstdint>
#include <string>

#include "relay/limits.h"
#include "relay/stream.h"
#include "relay/turn.h"

namespace shoal::relay {

enum class CarrierKind : uint32_t { none = 0, tcp = 1, verbs = 2 };

/**
 * Moves the bytes of a stream between two hosts. It belongs to the relay's thread and never blocks. A carrier that
 * failed is thrown away; another begins where the stream's positions say.
 */
class Carrier {
 public:
  virtual ~Carrier() = default;

  virtual CarrierKind kind() const = 0;
  /** True as soon as the peer is there. Only then does the relay drop the former carrier, and the hellos are said. */
  virtual bool reached() = 0;
  /** False until the peer's hello was heard and found right. */
  virtual bool ready() const = 0;

  /** Lands what came, and learns what the peer has processed. */
  virtual Turn receive(Stream& stream, Clock::time_point now) = 0;
  /** Sends what is new in the stream, and what the peer must be told. */
  virtual Turn send(Stream& stream, Clock::time_point now) = 0;

  /** What the relay waits for while it sleeps. */
  virtual int waitFd() const = 0;
  virtual bool wantsWrite() const = 0;
  /** Before sleeping. False: there is news, do not sleep. */
  virtual bool announceSleep() = 0;

  /** When something is due even if nothing happens. */
  virtual Clock::time_point deadline() const = 0;
  /** Why it failed. */
  virtual const std::string& problem() const = 0;
  /** It failed since what came was not what the peer sent. */
  virtual bool forged() const { return false; }
};

}  // namespace shoal::relay
