#pragma once

#include <string>

#include "common/unique_fd.h"

/** Unix stream sockets whose paths may be too long for an address. */
namespace shoal::client {

/** Not valid and errno when nobody listens there. */
UniqueFd dialStream(const std::string& path);
/** Listens at the path, in place of a stale socket, so that everybody who sees it may dial. Not valid and errno. */
UniqueFd listenStream(const std::string& path);

}  // namespace shoal::client
