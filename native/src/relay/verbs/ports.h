#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shoal::relay::verbs {

using GidBytes = std::array<uint8_t, 16>;

/** An address of a port, as the kernel lists it under /sys/class/infiniband. */
struct PortAddress {
  std::string device;
  uint8_t port = 0;
  uint8_t gidIndex = 0;
  GidBytes gid = {};
  /** The network interface that the address belongs to. */
  std::string interface;
  /** As in "4: ACTIVE". */
  std::string state;
  bool active() const { return state.find("ACTIVE") != std::string::npos; }
};

/** The GID of an IPv4 address (mapped into IPv6) or an IPv6 address. */
std::optional<GidBytes> gidOf(const std::string& address);
std::string gidText(const GidBytes& gid);

/** All RoCE v2 addresses of this host, looked up now: indexes change when a port goes down and comes back. */
std::vector<PortAddress> listPorts();

/** That of the given IP address, on a port that is up; else nothing, with the reason. */
std::optional<PortAddress> findPort(const std::string& address, std::string& problem);

}  // namespace shoal::relay::verbs
