#include "client/messages.h"

#include <algorithm>
#include <cmath>

#include "client/msgpack.h"

namespace shoal::client {
namespace {

constexpr size_t kNameBytesMax = 120;
constexpr size_t kInstancesMax = 1'000;
constexpr double kCountMax = 9007199254740991;  // of JavaScript's safe integers

bool isName(std::string_view name) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= kNameBytesMax && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), fits);
}

/** Each key with its value; `take` takes the value and says whether it made sense. */
template <class Take>
bool readMap(Reader& reader, Take take) {
  const std::optional<uint32_t> pairs = reader.map();
  if (!pairs) return false;
  for (uint32_t i = 0; i < *pairs; ++i) {
    const std::optional<std::string_view> key = reader.text();
    if (!key || !take(*key)) return false;
  }
  return true;
}

template <class Take>
bool readArray(Reader& reader, size_t most, Take take) {
  const std::optional<uint32_t> items = reader.array();
  if (!items || *items > most) return false;
  for (uint32_t i = 0; i < *items; ++i) {
    if (!take()) return false;
  }
  return true;
}

bool readCount(Reader& reader, uint64_t& into) {
  const std::optional<double> value = reader.number();
  if (!value || !(*value >= 0) || *value > kCountMax || std::floor(*value) != *value) return false;
  into = static_cast<uint64_t>(*value);
  return true;
}

bool readText(Reader& reader, std::string& into) {
  const std::optional<std::string_view> value = reader.text();
  if (value) into = *value;
  return value.has_value();
}

bool readName(Reader& reader, std::string& into) { return readText(reader, into) && isName(into); }

bool readRoute(Reader& reader, Route& route) {
  const bool sound = readMap(reader, [&](std::string_view key) {
    if (key == "instances") {
      return readArray(reader, kInstancesMax, [&] { return readName(reader, route.instances.emplace_back()); });
    }
    if (key == "weights") {
      return readArray(reader, kInstancesMax, [&] {
        const std::optional<double> weight = reader.number();
        route.weights.push_back(weight.value_or(0));
        return route.weights.back() > 0 && route.weights.back() <= 1;
      });
    }
    if (key == "owners") {
      return readArray(reader, kShardCountMax, [&] {
        std::string& owner = route.owners.emplace_back();
        return reader.nil() || readName(reader, owner);
      });
    }
    if (key == "near") return readCount(reader, route.near.emplace());
    return reader.raw().has_value();
  });
  if (route.near && *route.near > route.instances.size()) return false;
  return sound && (route.weights.empty() || route.weights.size() == route.instances.size());
}

bool readRoutes(Reader& reader, Routes& routes) {
  return readMap(reader, [&](std::string_view component) {
    return isName(component) && readRoute(reader, routes[std::string(component)]);
  });
}

}  // namespace

std::optional<FromAgent> readFromAgent(std::string_view bytes) {
  Reader reader(bytes);
  FromAgent message{};
  std::string type;
  bool hasRoutes = false;
  bool hasRequest = false;
  const bool sound = readMap(reader, [&](std::string_view key) {
    if (key == "type") return readText(reader, type);
    if (key == "instance") return readName(reader, message.instance);
    if (key == "requestId") return hasRequest = readCount(reader, message.requestId);
    if (key == "shard") return readCount(reader, message.shard);
    if (key == "routes") return hasRoutes = readRoutes(reader, message.routes);
    return reader.raw().has_value();
  });
  if (!sound) return std::nullopt;
  using Kind = FromAgent::Kind;
  if (type == "routes" && hasRoutes) {
    message.kind = Kind::routes;
  } else if (type == "drain") {
    message.kind = Kind::drain;
  } else if (type == "activate" && !message.instance.empty()) {
    message.kind = Kind::activate;
  } else if (type.starts_with("shard-") && hasRequest && message.shard < kShardCountMax) {
    message.kind = Kind::shard;
  } else {
    return std::nullopt;
  }
  return message;
}

std::optional<ChannelReply> readChannelReply(std::string_view bytes) {
  Reader reader(bytes);
  ChannelReply reply{};
  std::string type;
  bool hasRequest = false;
  bool hasChannel = false;
  const bool sound = readMap(reader, [&](std::string_view key) {
    if (key == "type") return readText(reader, type);
    if (key == "requestId") return hasRequest = readCount(reader, reply.requestId);
    if (key == "channel") return hasChannel = readCount(reader, reply.channel);
    if (key == "detail") return readText(reader, reply.detail);
    return reader.raw().has_value();
  });
  if (!sound) return std::nullopt;
  using Kind = ChannelReply::Kind;
  if (type == "opened" && hasRequest) {
    reply.kind = Kind::opened;
  } else if (type == "refused" && hasRequest) {
    reply.kind = Kind::refused;
  } else if (type == "offered" && hasChannel) {
    reply.kind = Kind::offered;
  } else {
    return std::nullopt;
  }
  return reply;
}

std::optional<CallRequest> readCallRequest(std::string_view bytes) {
  Reader reader(bytes);
  CallRequest request{};
  std::string type;
  bool hasId = false;
  const bool sound = readMap(reader, [&](std::string_view key) {
    if (key == "type") return readText(reader, type);
    if (key == "id") return hasId = readCount(reader, request.id);
    if (key == "handler") return readText(reader, request.handler);
    if (key == "key") return readText(reader, request.key.emplace());
    const std::optional<std::string_view> value = key == "deadlineMs" ? std::nullopt : reader.raw();
    if (key == "deadlineMs") {
      request.deadlineMs = reader.number().value_or(0);
      return true;
    }
    if (key == "body" && value) request.body = *value;
    if (key == "shards") request.namesShards = true;
    if (key == "stream" || key == "input") request.streams = true;
    return value.has_value();
  });
  if (!sound || !hasId) return std::nullopt;
  if (type == "cancel") {
    request.kind = CallRequest::Kind::cancel;
    return request;
  }
  if (type != "call" || request.body.empty()) return std::nullopt;
  request.kind = CallRequest::Kind::call;
  // It is refused: its deadline, which it may lack, does not matter.
  if (request.streams) return request;
  if (!(request.deadlineMs > 0) || request.deadlineMs > kCallDeadlineMsMax) return std::nullopt;
  return request;
}

std::optional<CallResponse> readCallResponse(std::string_view bytes) {
  Reader reader(bytes);
  CallResponse response{};
  std::string type;
  bool hasId = false;
  const bool sound = readMap(reader, [&](std::string_view key) {
    if (key == "type") return readText(reader, type);
    if (key == "id") return hasId = readCount(reader, response.id);
    if (key == "code") return readText(reader, response.code);
    if (key == "detail") return readText(reader, response.detail);
    const std::optional<std::string_view> value = reader.raw();
    if (key == "body" && value) response.body = *value;
    if (key == "refused") response.refused = value == "\xc3";
    return value.has_value();
  });
  if (!sound) return std::nullopt;
  using Kind = CallResponse::Kind;
  if (type == "leaving") {
    response.kind = Kind::leaving;
  } else if (type == "result" && hasId && !response.body.empty()) {
    response.kind = Kind::result;
  } else if (type == "error" && hasId && response.code.starts_with("SHOAL_E_")) {
    response.kind = Kind::error;
  } else {
    return std::nullopt;
  }
  return response;
}

size_t shardOfKey(std::string_view key, size_t count) {
  uint32_t hash = 0x811c9dc5;
  for (const char each : key) hash = (hash ^ static_cast<unsigned char>(each)) * 0x01000193;
  return hash % count;
}

}  // namespace shoal::client
