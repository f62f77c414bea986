#include "relay/verbs/ports.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace shoal::relay::verbs {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDevices = "/sys/class/infiniband";

/** The file's first line; empty when it cannot be read, as the entries of unused GIDs cannot. */
std::string firstLine(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::vector<fs::path> entriesOf(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) found.push_back(*it);
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<uint8_t> numberOf(const fs::path& entry) {
  const std::string text = entry.filename();
  if (text.empty() || text.size() > 3 || text.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  const int number = std::stoi(text);
  return number > 255 ? std::nullopt : std::optional<uint8_t>(static_cast<uint8_t>(number));
}

/** Tables have a thousand places, and a new address takes the first that is free: after so many free ones no more come.
 */
constexpr int kFreePlacesMax = 64;
constexpr int kGidIndexMax = 255;

void listPort(const fs::path& folder, const std::string& device, uint8_t port, std::vector<PortAddress>& found) {
  const std::string state = firstLine(folder / "state");
  int free = 0;
  for (int index = 0; index <= kGidIndexMax && free < kFreePlacesMax; ++index) {
    const std::string name = std::to_string(index);
    const std::string type = firstLine(folder / "gid_attrs/types" / name);
    free = type.empty() ? free + 1 : 0;
    if (type != "RoCE v2") continue;
    const std::optional<GidBytes> gid = gidOf(firstLine(folder / "gids" / name));
    const std::string interface = firstLine(folder / "gid_attrs/ndevs" / name);
    if (gid) found.push_back({device, port, static_cast<uint8_t>(index), *gid, interface, state});
  }
}

}  // namespace

std::optional<GidBytes> gidOf(const std::string& address) {
  GidBytes gid = {};
  if (inet_pton(AF_INET6, address.c_str(), gid.data()) == 1) return gid;
  gid = {};
  gid[10] = gid[11] = 0xff;
  if (inet_pton(AF_INET, address.c_str(), gid.data() + 12) == 1) return gid;
  return std::nullopt;
}

std::string gidText(const GidBytes& gid) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(AF_INET6, gid.data(), text, sizeof text);
  return text;
}

std::vector<PortAddress> listPorts() {
  std::vector<PortAddress> found;
  for (const fs::path& device : entriesOf(kDevices)) {
    for (const fs::path& port : entriesOf(device / "ports")) {
      const std::optional<uint8_t> number = numberOf(port);
      if (number) listPort(port, device.filename(), *number, found);
    }
  }
  return found;
}

std::optional<PortAddress> findPort(const std::string& address, std::string& problem) {
  const std::optional<GidBytes> gid = gidOf(address);
  if (!gid) {
    problem = "not an address in numbers: " + address;
    return std::nullopt;
  }
  std::string why = entriesOf(kDevices).empty() ? "this host has no RDMA device"
                                                : "no RDMA device has a RoCE v2 GID for the address " + address;
  for (const PortAddress& each : listPorts()) {
    if (each.gid != *gid) continue;
    if (each.active()) return each;
    why = "port " + std::to_string(each.port) + " of " + each.device + " is not active: " + each.state;
  }
  problem = why;
  return std::nullopt;
}

}  // namespace shoal::relay::verbs
