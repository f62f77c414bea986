#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/**
 * The messages of protocol/control.ts and protocol/channels.ts, read from msgpack. All are checked: names become parts
 * of paths, numbers become bounds.
 */
namespace shoal::client {

struct Route {
  std::vector<std::string> instances;
  /** As long as `instances`, or empty: all alike. */
  std::vector<double> weights;
  /** How many of them, the first ones, are on this host; none told: all. */
  std::optional<uint64_t> near = std::nullopt;
  /** Owner of each state shard, empty for none; no entries: the component is not partitioned. */
  std::vector<std::string> owners;
};
using Routes = std::map<std::string, Route, std::less<>>;

struct FromAgent {
  enum class Kind { routes, drain, activate, shard };
  Kind kind;
  Routes routes;
  std::string instance;
  uint64_t requestId = 0;
  uint64_t shard = 0;
};
std::optional<FromAgent> readFromAgent(std::string_view bytes);

struct ChannelReply {
  enum class Kind { opened, refused, offered };
  Kind kind;
  uint64_t requestId = 0;
  uint64_t channel = 0;
  std::string detail;
};
std::optional<ChannelReply> readChannelReply(std::string_view bytes);

struct CallRequest {
  enum class Kind { call, cancel };
  Kind kind;
  uint64_t id = 0;
  double deadlineMs = 0;
  std::string handler;
  std::optional<std::string> key;
  /** A call that names state shards is for an owner of them, which this process is of none. */
  bool namesShards = false;
  /** A call that answers or takes a stream, which this client does not. */
  bool streams = false;
  std::string body;
};
std::optional<CallRequest> readCallRequest(std::string_view bytes);

struct CallResponse {
  enum class Kind { result, error, leaving };
  Kind kind;
  uint64_t id = 0;
  std::string body;
  std::string code;
  std::string detail;
  bool refused = false;
};
std::optional<CallResponse> readCallResponse(std::string_view bytes);

/** As LIMITS of protocol/limits.ts has it. */
inline constexpr size_t kShardCountMax = 1'024;
inline constexpr double kCallDeadlineMsMax = 600'000;

/** The state shard of a key, of so many: 32-bit FNV-1a (draft-eastlake-fnv). */
size_t shardOfKey(std::string_view key, size_t count);

}  // namespace shoal::client
