#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>

/**
 * The part of libibverbs' binary interface (libibverbs.so.1, symbols IBVERBS_1.1) that the relay uses, declared here so
 * that neither building nor starting needs rdma-core: the library is loaded when it is there. The interface is stable
 * by its symbol versions; its manual is ibv_post_send(3) and the pages beside it. Only what is used is named.
 */
namespace shoal::relay::verbs {

struct Device;
struct Cq;
struct Pd;
struct Srq;

/** Posting and polling are not symbols: each driver puts its own functions here. */
struct Operations {
  void* before[11];
  void* pollCq;
  void* requestNotify;
  void* between[12];
  void* postSend;
  void* postReceive;
  void* after[5];
};
static_assert(sizeof(Operations) == 32 * sizeof(void*));

struct Context {
  Device* device;
  Operations operations;
  int commandFd;
  int asyncFd;
  int completionVectors;
  pthread_mutex_t mutex;
  void* compatibility;
};

struct CompletionChannel {
  Context* context;
  int fd;
  int references;
};

struct Qp {
  Context* context;
  void* owner;
  Pd* pd;
  Cq* sendCq;
  Cq* receiveCq;
  Srq* srq;
  uint32_t handle;
  uint32_t number;
};

struct MemoryRegion {
  Context* context;
  Pd* pd;
  void* address;
  size_t length;
  uint32_t handle;
  uint32_t localKey;
  uint32_t remoteKey;
};

/** The first fields; the library may write up to the size below. */
struct PortAttributes {
  uint32_t state;
  uint32_t mtuMax;
  uint32_t mtuActive;
  uint32_t rest[29];
};

struct ScatterEntry {
  uint64_t address;
  uint32_t length;
  uint32_t localKey;
};

struct ReceiveRequest {
  uint64_t id;
  ReceiveRequest* next;
  ScatterEntry* entries;
  int entryCount;
};

enum class SendOpcode : uint32_t { writeWithImmediate = 1, send = 2 };
inline constexpr uint32_t kSendSignaled = 1u << 1;
inline constexpr uint32_t kSendInline = 1u << 3;

struct SendRequest {
  uint64_t id;
  SendRequest* next;
  ScatterEntry* entries;
  int entryCount;
  SendOpcode opcode;
  uint32_t flags;
  /** Big-endian. */
  uint32_t immediate;
  uint64_t remoteAddress;
  uint32_t remoteKey;
  uint32_t unused[19];
};
static_assert(sizeof(SendRequest) == 128 && offsetof(SendRequest, remoteAddress) == 40);

inline constexpr uint32_t kCompletionReceive = 1u << 7;
inline constexpr uint32_t kCompletionReceiveWrite = kCompletionReceive + 1;

struct Completion {
  uint64_t id;
  uint32_t status;
  uint32_t opcode;
  uint32_t vendorError;
  uint32_t byteLength;
  /** Big-endian. */
  uint32_t immediate;
  uint32_t qpNumber;
  uint32_t sourceQp;
  uint32_t flags;
  uint16_t pkeyIndex;
  uint16_t sourceLid;
  uint8_t serviceLevel;
  uint8_t pathBits;
};
static_assert(sizeof(Completion) == 48);

struct QpCapacity {
  uint32_t sendRequests;
  uint32_t receiveRequests;
  uint32_t sendEntries;
  uint32_t receiveEntries;
  uint32_t inlineBytes;
};

inline constexpr uint32_t kQpReliableConnected = 2;

struct QpInitial {
  void* owner;
  Cq* sendCq;
  Cq* receiveCq;
  Srq* srq;
  QpCapacity capacity;
  uint32_t type;
  int signalAll;
};
static_assert(sizeof(QpInitial) == 64);

using Gid = uint8_t[16];

struct AddressVector {
  alignas(8) Gid destination;
  uint32_t flowLabel;
  uint8_t sourceGidIndex;
  uint8_t hopLimit;
  uint8_t trafficClass;
  uint8_t padding;
  uint16_t lid;
  uint8_t serviceLevel;
  uint8_t pathBits;
  uint8_t staticRate;
  uint8_t isGlobal;
  uint8_t port;
};
static_assert(sizeof(AddressVector) == 32);

enum class QpState : uint32_t { initial = 1, readyToReceive = 2, readyToSend = 3, error = 6 };

enum QpMask : int {
  kMaskState = 1 << 0,
  kMaskAccess = 1 << 3,
  kMaskPkey = 1 << 4,
  kMaskPort = 1 << 5,
  kMaskAddress = 1 << 7,
  kMaskMtu = 1 << 8,
  kMaskTimeout = 1 << 9,
  kMaskRetries = 1 << 10,
  kMaskRnrRetries = 1 << 11,
  kMaskReceivePsn = 1 << 12,
  kMaskReadsOut = 1 << 13,
  kMaskRnrTimer = 1 << 15,
  kMaskSendPsn = 1 << 16,
  kMaskReadsIn = 1 << 17,
  kMaskDestination = 1 << 20,
};

struct QpAttributes {
  QpState state;
  QpState currentState;
  uint32_t pathMtu;
  uint32_t migration;
  uint32_t qkey;
  uint32_t receivePsn;
  uint32_t sendPsn;
  uint32_t destination;
  uint32_t access;
  QpCapacity capacity;
  AddressVector address;
  AddressVector alternative;
  uint16_t pkeyIndex;
  uint16_t alternativePkeyIndex;
  uint8_t drainNotify;
  uint8_t draining;
  uint8_t readsOut;
  uint8_t readsIn;
  uint8_t rnrTimer;
  uint8_t port;
  uint8_t timeout;
  uint8_t retries;
  uint8_t rnrRetries;
  uint8_t alternativePort;
  uint8_t alternativeTimeout;
  uint32_t rateLimit;
};
static_assert(sizeof(QpAttributes) == 144 && offsetof(QpAttributes, address) == 56);

inline constexpr int kAccessLocalWrite = 1;
inline constexpr int kAccessRemoteWrite = 1 << 1;

/** Up to qpAccessError they are of queues, which `element` then names. */
enum class AsyncKind : uint32_t { qpAccessError = 3, deviceFatal = 8, portActive = 9, portError = 10, gidChange = 18 };

struct AsyncEvent {
  void* element;
  AsyncKind kind;
};
static_assert(sizeof(AsyncEvent) == 16);

}  // namespace shoal::relay::verbs
