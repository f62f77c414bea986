#pragma once

#include <napi.h>

namespace shoal::host {

/** markDeleted(path): a whiteout, which hides what lower layers of an overlay have there (filesystems/overlayfs). */
void markDeleted(const Napi::CallbackInfo& info);

/** markOpaque(path): a folder that hides what lower layers of an overlay have in theirs. */
void markOpaque(const Napi::CallbackInfo& info);

}  // namespace shoal::host
