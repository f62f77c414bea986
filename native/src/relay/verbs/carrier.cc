#include "relay/verbs/carrier.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

namespace shoal::relay::verbs {
namespace {

/** An immediate with this bit says how much was processed, one without how much was written. */
constexpr uint32_t kImmediateAcknowledges = 1u << 31;
static_assert(kStreamBytesMax < kImmediateAcknowledges);

// What perftest and the examples of rdma-core use: 4.096 us * 2^14 = 67 ms, and seven times that until the peer is
// given up. A receiver that is not ready is given up, too (7 would mean never): that should not happen, see above.
constexpr uint8_t kTimeout = 14;
constexpr uint8_t kRetries = 7;
constexpr uint8_t kRnrRetries = 6;
/** 10 ms. */
constexpr uint8_t kRnrTimer = 20;
constexpr uint8_t kHopLimit = 64;
constexpr uint32_t kPsnMask = 0xffffff;
constexpr uint32_t kMtuSmallest = 1;
constexpr uint32_t kMtuLargest = 5;

constexpr uint64_t kGreetingBytes[] = {8, sizeof(Hello)};
constexpr int kReceiveBudget = 256;

std::string because(const std::string& what, int error) { return what + ": " + std::strerror(error); }

bool makeNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

}  // namespace

bool isSound(const Parameters& peer) {
  return peer.qpNumber <= kPsnMask && peer.psn <= kPsnMask && peer.mtu >= kMtuSmallest && peer.mtu <= kMtuLargest &&
         isStreamSize(peer.streamBytes) && peer.address <= UINT64_MAX - 2 * peer.streamBytes;
}

// --- Memory

std::shared_ptr<Memory> Memory::create(const PortAddress& port, Stream& stream, std::string& problem) {
  const Library* library = Library::load(problem);
  if (library == nullptr) return nullptr;
  std::shared_ptr<Memory> memory(new Memory(*library));
  memory->port = port;
  int count = 0;
  Device** devices = library->getDeviceList(&count);
  for (int i = 0; i < count; ++i)
    if (port.device == library->getDeviceName(devices[i])) memory->context = library->openDevice(devices[i]);
  if (devices != nullptr) library->freeDeviceList(devices);
  if (memory->context == nullptr) {
    problem = because("cannot open " + port.device, errno);
    return nullptr;
  }
  PortAttributes attributes = {};
  const int queried = library->queryPort(memory->context, port.port, &attributes);
  memory->mtu = std::clamp(attributes.mtuActive, kMtuSmallest, kMtuLargest);
  memory->pd = library->allocatePd(memory->context);
  if (queried != 0 || memory->pd == nullptr || !makeNonBlocking(memory->context->asyncFd)) {
    problem = because("cannot use " + port.device, errno);
    return nullptr;
  }
  // Each stream is mapped twice, one after the other, and registered so.
  const size_t bytes = 2 * stream.bytes();
  memory->out = library->registerMemory(memory->pd, stream.out().data(), bytes, 0);
  memory->in = library->registerMemory(memory->pd, stream.in().data(), bytes, kAccessLocalWrite | kAccessRemoteWrite);
  if (memory->out == nullptr || memory->in == nullptr) {
    problem = because("cannot register memory (limit of locked memory: LimitMEMLOCK, ulimit -l)", errno);
    return nullptr;
  }
  return memory;
}

Memory::~Memory() {
  if (out != nullptr) library.deregisterMemory(out);
  if (in != nullptr) library.deregisterMemory(in);
  if (pd != nullptr) library.deallocatePd(pd);
  if (context != nullptr) library.closeDevice(context);
}

// --- Set-up

std::unique_ptr<VerbsCarrier> VerbsCarrier::create(std::shared_ptr<Memory> memory, std::string& problem) {
  std::unique_ptr<VerbsCarrier> carrier(new VerbsCarrier(std::move(memory)));
  if (!carrier->createQueues(problem)) return nullptr;
  if (!carrier->initialise() || !carrier->postReceives(kReceivesPosted)) {
    problem = because("cannot set queues up", errno);
    return nullptr;
  }
  return carrier;
}

bool VerbsCarrier::createQueues(std::string& problem) {
  const Library& library = memory_->library;
  psn_ = std::random_device()() & kPsnMask;
  channel_ = library.createChannel(memory_->context);
  if (channel_ != nullptr && makeNonBlocking(channel_->fd))
    cq_ = library.createCq(memory_->context, kSendsMax + kReceivesPosted, nullptr, channel_, 0);
  if (cq_ != nullptr) {
    QpInitial initial = {};
    initial.sendCq = initial.receiveCq = cq_;
    initial.capacity = {kSendsMax, kReceivesPosted, 1, 1, kInlineBytes};
    initial.type = kQpReliableConnected;
    qp_ = library.createQp(memory_->pd, &initial);
    // What the card gives may be more than was asked for, or on some less.
    inlineBytes_ = std::min(initial.capacity.inlineBytes, kInlineBytes);
  }
  if (qp_ != nullptr)
    greetingRegion_ = library.registerMemory(memory_->pd, greetings_, sizeof greetings_, kAccessLocalWrite);
  wait_.reset(epoll_create1(EPOLL_CLOEXEC));
  bool watched = wait_.valid() && greetingRegion_ != nullptr;
  for (const int fd : {channel_ == nullptr ? -1 : channel_->fd, memory_->context->asyncFd}) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.fd = fd;
    watched = watched && epoll_ctl(wait_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }
  if (!watched) problem = because("cannot make queues on " + memory_->port.device, errno);
  return watched;
}

bool VerbsCarrier::initialise() {
  QpAttributes attributes = {};
  attributes.state = QpState::initial;
  attributes.port = memory_->port.port;
  attributes.access = kAccessRemoteWrite;
  return memory_->library.modifyQp(qp_, &attributes, kMaskState | kMaskPkey | kMaskPort | kMaskAccess) == 0;
}

VerbsCarrier::~VerbsCarrier() {
  const Library& library = memory_->library;
  if (qp_ != nullptr) library.destroyQp(qp_);
  if (cq_ != nullptr) library.destroyCq(cq_);
  if (channel_ != nullptr) library.destroyChannel(channel_);
  if (greetingRegion_ != nullptr) library.deregisterMemory(greetingRegion_);
}

Parameters VerbsCarrier::parameters() const {
  Parameters ours;
  ours.gid = memory_->port.gid;
  ours.qpNumber = qp_->number;
  ours.psn = psn_;
  ours.mtu = memory_->mtu;
  ours.remoteKey = memory_->in->remoteKey;
  ours.address = reinterpret_cast<uint64_t>(memory_->in->address);
  ours.streamBytes = memory_->in->length / 2;
  return ours;
}

bool VerbsCarrier::connect(const Parameters& peer, bool first, std::string& problem) {
  if (!isSound(peer) || peer.streamBytes != memory_->in->length / 2) {
    problem = "the peer's parameters are not right, or its streams have another size";
    return false;
  }
  peer_ = peer;
  first_ = first;
  QpAttributes receives = {};
  receives.state = QpState::readyToReceive;
  receives.pathMtu = std::min(peer.mtu, memory_->mtu);
  receives.destination = peer.qpNumber;
  receives.receivePsn = peer.psn;
  receives.readsIn = 1;
  receives.rnrTimer = kRnrTimer;
  std::copy(peer.gid.begin(), peer.gid.end(), receives.address.destination);
  receives.address.sourceGidIndex = memory_->port.gidIndex;
  receives.address.hopLimit = kHopLimit;
  receives.address.isGlobal = 1;
  receives.address.port = memory_->port.port;
  int result = memory_->library.modifyQp(
      qp_, &receives,
      kMaskState | kMaskAddress | kMaskMtu | kMaskDestination | kMaskReceivePsn | kMaskReadsIn | kMaskRnrTimer);
  QpAttributes sends = {};
  sends.state = QpState::readyToSend;
  sends.sendPsn = psn_;
  sends.timeout = kTimeout;
  sends.retries = kRetries;
  sends.rnrRetries = kRnrRetries;
  sends.readsOut = 1;
  if (result == 0)
    result = memory_->library.modifyQp(
        qp_, &sends, kMaskState | kMaskSendPsn | kMaskTimeout | kMaskRetries | kMaskRnrRetries | kMaskReadsOut);
  connected_ = result == 0;
  lastHeard_ = Clock::now();
  if (!connected_) problem = because("cannot connect queues to " + gidText(peer.gid), result);
  return connected_;
}

void VerbsCarrier::breakQueues() {
  QpAttributes attributes = {};
  attributes.state = QpState::error;
  memory_->library.modifyQp(qp_, &attributes, kMaskState);
}

Turn VerbsCarrier::fail(std::string why) {
  problem_ = std::move(why);
  return Turn::failed;
}

// --- What comes

bool VerbsCarrier::postReceives(uint32_t count) {
  ReceiveRequest requests[kReceivesPosted] = {};
  ScatterEntry entries[kGreetings] = {};
  for (uint32_t i = 0; i < count; ++i) {
    requests[i].next = i + 1 < count ? &requests[i + 1] : nullptr;
    if (count < kReceivesPosted || i >= kGreetings) continue;
    // The first of all take the greetings; writes need no place of their own.
    entries[i] = {reinterpret_cast<uint64_t>(&greetings_[i]), sizeof(Hello), greetingRegion_->localKey};
    requests[i].entries = &entries[i];
    requests[i].entryCount = 1;
  }
  ReceiveRequest* bad = nullptr;
  return postReceive(qp_, requests, &bad) == 0;
}

const Completion* VerbsCarrier::next() {
  if (completionsBegin_ == completionsEnd_) {
    completionsBegin_ = 0;
    completionsEnd_ = pollCq(memory_->context, cq_, kCompletionsPerPoll, completions_);
    if (completionsEnd_ < 0) {
      fail("the completion queue is broken");
      completionsEnd_ = 0;
    }
  }
  return completionsBegin_ == completionsEnd_ ? nullptr : &completions_[completionsBegin_++];
}

bool VerbsCarrier::takeGreeting(const Completion& completion) {
  if (greetingsHeard_ >= kGreetings || completion.byteLength != kGreetingBytes[greetingsHeard_]) return false;
  greetingsHeard_ += 1;
  return true;
}

/** The first to speak has heard an answer; the other one has heard, by the hello, that its answer came. */
bool VerbsCarrier::reached() {
  if (!connected_ || !problem_.empty()) return false;
  const uint32_t enough = first_ ? 1 : kGreetings;
  hearEvents();
  const Completion* completion = nullptr;
  while (problem_.empty() && greetingsHeard_ < enough && (completion = next()) != nullptr) {
    if (completion->status != 0) {
      fail(memory_->library.statusText(completion->status));
    } else if ((completion->opcode & kCompletionReceive) != 0 && !takeGreeting(*completion)) {
      fail("the peer's greeting is not right");
    }
  }
  if (!knocked_ && problem_.empty() && (first_ || greetingsHeard_ > 0)) {
    if (!postGreeting(0, kGreetingBytes[0])) fail("cannot send");
    knocked_ = true;
  }
  if (greetingsHeard_ < enough && problem_.empty() && Clock::now() >= deadline()) fail("no answer in time");
  return greetingsHeard_ >= enough && problem_.empty();
}

Turn VerbsCarrier::receive(Stream& stream, Clock::time_point now) {
  hearEvents();
  Turn turn = Turn::idle;
  const Completion* completion = nullptr;
  for (int i = 0; i < kReceiveBudget && problem_.empty(); ++i) {
    if (!heard_ && greetingsHeard_ == kGreetings) {
      turn = acceptHello(stream);
    } else if ((completion = next()) != nullptr) {
      turn = take(stream, *completion);
    } else {
      break;
    }
    if (turn != Turn::progress) return turn;
    lastHeard_ = now;
  }
  if (receivesDue_ >= kWritesPerAcknowledge / 2) {
    if (!postReceives(receivesDue_)) return fail("cannot receive");
    receivesDue_ = 0;
  }
  if (!problem_.empty()) return Turn::failed;
  if (turn == Turn::idle && now > lastHeard_ + kSilenceTime) return fail("nothing was heard of the peer");
  return turn;
}

Turn VerbsCarrier::take(Stream& stream, const Completion& completion) {
  if (completion.status != 0) return fail(memory_->library.statusText(completion.status));
  if ((completion.opcode & kCompletionReceive) != 0) return takeReceived(stream, completion);
  completed_ = std::max(completed_, completion.id + 1);
  while (!signals_.empty() && signals_.front().post <= completion.id) {
    stream.hold(signals_.front().position);
    signals_.pop_front();
  }
  return Turn::progress;
}

Turn VerbsCarrier::takeReceived(Stream& stream, const Completion& completion) {
  receivesDue_ += 1;
  if (completion.opcode == kCompletionReceiveWrite) return heard_ ? takeImmediate(stream, completion) : Turn::hostile;
  return takeGreeting(completion) ? Turn::progress : Turn::hostile;
}

Turn VerbsCarrier::acceptHello(Stream& stream) {
  const Hello hello = greetings_[1];
  if (hello.magic != kHelloMagic || hello.version != kProtocolVersion)
    return fail("another answers than was asked for");
  if (hello.streamBytes != stream.bytes()) return fail("the peer's streams have another size");
  if (!stream.resume(hello.processed)) return Turn::hostile;
  stream.hold(stream.acknowledged());
  heard_ = true;
  return Turn::progress;
}

Turn VerbsCarrier::takeImmediate(Stream& stream, const Completion& completion) {
  const uint32_t immediate = ntohl(completion.immediate);
  if ((immediate & kImmediateAcknowledges) != 0) {
    if (!stream.acknowledge(stream.acknowledged() + (immediate & ~kImmediateAcknowledges))) return Turn::hostile;
    while (!writes_.empty() && writes_.front() <= stream.acknowledged()) writes_.pop_front();
    return Turn::progress;
  }
  if (immediate == 0 || immediate != completion.byteLength || immediate > stream.landingRoom()) return Turn::hostile;
  stream.land(immediate);
  writesHeard_ += 1;
  return Turn::progress;
}

/** Only after announceSleep() there can be something: as long as completions are polled for, none is told of. */
void VerbsCarrier::hearEvents() {
  if (!armed_) return;
  epoll_event events[2];
  const int count = epoll_wait(wait_.get(), events, 2, 0);
  for (int i = 0; i < count; ++i) {
    if (events[i].data.fd == memory_->context->asyncFd) {
      hearAsync();
      continue;
    }
    Cq* cq = nullptr;
    void* owner = nullptr;
    if (memory_->library.getCqEvent(channel_, &cq, &owner) != 0) continue;
    memory_->library.acknowledgeCqEvents(cq, 1);
    armed_ = false;
  }
}

void VerbsCarrier::hearAsync() {
  AsyncEvent event = {};
  if (memory_->library.getAsyncEvent(memory_->context, &event) != 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    // The kernel has taken the device away.
    memory_->broken = true;
    fail("the RDMA device is gone");
    return;
  }
  memory_->library.acknowledgeAsyncEvent(&event);
  if (event.kind == AsyncKind::deviceFatal) {
    memory_->broken = true;
    fail("the RDMA device has failed or is gone");
  } else if (event.kind <= AsyncKind::qpAccessError) {
    // Of former queues on the same device nothing is to be known any more.
    if (event.element == qp_ || event.element == cq_) fail("the card reports an error of the queues");
  } else if (event.kind == AsyncKind::portError || event.kind == AsyncKind::gidChange) {
    checkPort();
  }
}

void VerbsCarrier::checkPort() {
  const PortAddress& port = memory_->port;
  for (const PortAddress& each : listPorts()) {
    const bool isOurs = each.device == port.device && each.port == port.port && each.gidIndex == port.gidIndex;
    if (isOurs && each.gid == port.gid && each.active()) return;
  }
  fail("the port went down, or lost its address");
}

bool VerbsCarrier::announceSleep() {
  if (completionsBegin_ != completionsEnd_) return false;
  if (!armed_) {
    if (requestNotify(memory_->context, cq_) != 0) fail("the completion queue is broken");
    armed_ = true;
  }
  // What came between the last poll and the request is not told of.
  completionsBegin_ = 0;
  completionsEnd_ = std::max(0, pollCq(memory_->context, cq_, kCompletionsPerPoll, completions_));
  return completionsEnd_ == 0 && problem_.empty();
}

Clock::time_point VerbsCarrier::deadline() const {
  if (!problem_.empty()) return Clock::now();
  if (!ready()) return lastHeard_ + kHelloTime;
  return std::min(lastHeard_ + kSilenceTime, lastSent_ + kPingTime);
}

// --- What goes

bool VerbsCarrier::postGreeting(uint32_t number, uint32_t length) {
  ScatterEntry entry = {reinterpret_cast<uint64_t>(&greetings_[kGreetings + number]), length,
                        greetingRegion_->localKey};
  SendRequest request = {};
  request.id = posted_;
  request.entries = &entry;
  request.entryCount = 1;
  request.opcode = SendOpcode::send;
  SendRequest* bad = nullptr;
  posted_ += 1;
  return postSend(qp_, &request, &bad) == 0;
}

SendRequest& VerbsCarrier::addSend(uint64_t position, uint64_t bytes, bool signal) {
  SendRequest& request = sends_[sendsAdded_];
  request = {};
  request.id = posted_ + sendsAdded_;
  request.opcode = SendOpcode::writeWithImmediate;
  request.remoteAddress = peer_.address;
  request.remoteKey = peer_.remoteKey;
  bytesSinceSignal_ += bytes;
  if (signal || request.id - lastSignal_ >= kSendsPerSignal) {
    request.flags = kSendSignaled;
    lastSignal_ = request.id;
    bytesSinceSignal_ = 0;
    signals_.push_back({request.id, position});
  }
  if (sendsAdded_ > 0) sends_[sendsAdded_ - 1].next = &request;
  sendsAdded_ += 1;
  return request;
}

void VerbsCarrier::addWrite(Stream& stream) {
  const uint64_t bytes = std::min(stream.unsent(), stream.bytes() / kWriteShare);
  std::byte* from = stream.sending();
  const uint64_t offset = stream.sent() & (stream.bytes() - 1);
  stream.send(bytes);
  writes_.push_back(stream.sent());
  const bool isMuch = bytesSinceSignal_ + bytes >= stream.bytes() / kAcknowledgeShare;
  ScatterEntry& entry = entries_[sendsAdded_];
  SendRequest& request = addSend(stream.sent(), bytes, isMuch);
  entry = {reinterpret_cast<uint64_t>(from), static_cast<uint32_t>(bytes), memory_->out->localKey};
  request.entries = &entry;
  request.entryCount = 1;
  request.remoteAddress += offset;
  request.immediate = htonl(static_cast<uint32_t>(bytes));
  if (bytes <= inlineBytes_) request.flags |= kSendInline;
}

void VerbsCarrier::addAcknowledgement(Stream& stream) {
  SendRequest& request = addSend(stream.sent(), 0, false);
  request.immediate = htonl(kImmediateAcknowledges | static_cast<uint32_t>(stream.processed() - told_));
  told_ = stream.processed();
  writesHeard_ = 0;
}

bool VerbsCarrier::mustAcknowledge(const Stream& stream, Clock::time_point now) const {
  const uint64_t news = stream.processed() - told_;
  const bool isMuch = news >= stream.bytes() / kAcknowledgeShare || writesHeard_ >= kWritesPerAcknowledge;
  return (news > 0 && isMuch) || now >= lastSent_ + kPingTime;
}

bool VerbsCarrier::postAll() {
  SendRequest* bad = nullptr;
  const bool posted = postSend(qp_, sends_, &bad) == 0;
  posted_ += sendsAdded_;
  sendsAdded_ = 0;
  return posted;
}

Turn VerbsCarrier::send(Stream& stream, Clock::time_point now) {
  if (!helloSent_) {
    Hello hello;
    hello.streamBytes = stream.bytes();
    hello.processed = told_ = stream.processed();
    greetings_[kGreetings + 1] = hello;
    helloSent_ = true;
    lastSent_ = now;
    return postGreeting(1, sizeof hello) ? Turn::progress : fail("cannot send");
  }
  if (!heard_) return Turn::idle;
  Turn turn = Turn::idle;
  for (;;) {
    while (stream.unsent() > 0 && sendsAdded_ < kSendsPerPost && writes_.size() < kWritesMax && hasSendRoom())
      addWrite(stream);
    if (sendsAdded_ < kSendsPerPost && hasSendRoom() && mustAcknowledge(stream, now)) addAcknowledgement(stream);
    if (sendsAdded_ == 0) return turn;
    if (!postAll()) return fail("cannot send");
    lastSent_ = now;
    turn = Turn::progress;
  }
}

}  // namespace shoal::relay::verbs
