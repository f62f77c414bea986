/** What a component in C reads and writes: msgpack and the messages in it, also when they are cut or make no sense. */
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>

#include "check.h"
#include "client/balancer.h"
#include "client/messages.h"
#include "client/meter.h"
#include "client/msgpack.h"

using namespace shoal::client;

namespace {

void testValuesComeBack() {
  Writer writer;
  writer.map(2).text("a").number(7).text(std::string(40, 'x')).real(-1.5).array(20);
  for (int i = 0; i < 20; ++i) writer.number(uint64_t{1} << i);
  writer.number(uint64_t{1} << 40).text(std::string(70'000, 'y')).boolean(true).raw("\xc0");
  Reader reader(writer.bytes());
  CHECK(reader.map() == 2u);
  CHECK(reader.text() == "a" && reader.number() == 7);
  CHECK(reader.text() == std::string(40, 'x') && reader.number() == -1.5);
  CHECK(reader.array() == 20u);
  for (int i = 0; i < 20; ++i) CHECK(reader.number() == std::exp2(i));
  CHECK(reader.number() == std::exp2(40));
  CHECK(reader.text()->size() == 70'000);
  CHECK(reader.raw() == "\xc3");
}

void testAllNumbersAreRead() {
  using namespace std::string_literals;
  const std::pair<std::string, double> numbers[] = {
      {"\x00"s, 0},
      {"\x7f"s, 127},
      {"\xff"s, -1},
      {"\xe0"s, -32},
      {"\xcc\xff"s, 255},
      {"\xcd\x01\x00"s, 256},
      {"\xd0\x80"s, -128},
      {"\xd1\xff\x00"s, -256},
      {"\xce\xff\xff\xff\xff"s, 4294967295.0},
      {"\xd2\x80\x00\x00\x00"s, -2147483648.0},
      {"\xcf\x00\x00\x01\x00\x00\x00\x00\x00"s, 1099511627776.0},
      {"\xd3\xff\xff\xff\xff\xff\xff\xff\xfe"s, -2},
      {"\xca\x3f\xc0\x00\x00"s, 1.5},
      {"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"s, 1.5},
  };
  for (const auto& [bytes, value] : numbers) {
    CHECK(Reader(bytes).number() == value);
    CHECK(Reader(bytes).raw() == bytes);
    for (size_t cut = 0; cut < bytes.size(); ++cut) CHECK(!Reader(std::string_view(bytes).substr(0, cut)).number());
  }
}

void testNothingIsReadBeyondTheEnd() {
  CHECK(!Reader("\xdb\xff\xff\xff\xff").text());
  CHECK(!Reader("\xdf\xff\xff\xff\xff").raw());
  CHECK(!Reader(std::string(200, '\x91')).raw());  // deeper than is read
  CHECK(!Reader("\xc1").raw());
}

void testRequests() {
  Writer call;
  call.map(6).text("type").text("call").text("id").number(3).text("handler").text("h").text("deadlineMs").real(20.5);
  call.text("key").text("k").text("body").raw("\x93\x01\x02\x03");
  const std::optional<CallRequest> request = readCallRequest(call.bytes());
  CHECK(request && request->kind == CallRequest::Kind::call && request->id == 3 && request->handler == "h");
  CHECK(request->key == "k" && request->body == "\x93\x01\x02\x03" && request->deadlineMs == 20.5);
  for (size_t cut = 0; cut < call.bytes().size(); ++cut) CHECK(!readCallRequest(call.bytes().substr(0, cut)));
  for (const double wrong : {0.0, -1.0, 600'001.0, std::numeric_limits<double>::quiet_NaN()}) {
    Writer bad;
    bad.map(5).text("type").text("call").text("id").number(3).text("handler").text("h").text("body").raw("\xc0");
    CHECK(!readCallRequest(bad.text("deadlineMs").real(wrong).bytes()));
  }
}

/** A call with a stream is read, so that it can be refused by name, whether it has a deadline or not. */
void testStreamsAreSeen() {
  for (const bool takes : {false, true}) {
    Writer call;
    call.map(5).text("type").text("call").text("id").number(3).text("handler").text("h").text("body").raw("\xc0");
    takes ? call.text("input").boolean(true) : call.text("stream").number(262'144);
    const std::optional<CallRequest> request = readCallRequest(call.bytes());
    CHECK(request && request->kind == CallRequest::Kind::call && request->streams);
  }
}

void testNearOnes() {
  std::minstd_rand random(1);
  const auto pick = [&random](double nearLoad, double farLoad) {
    return pickNearer({{0, 1, nearLoad}}, {{1, 1, farLoad}}, random)->at;
  };
  CHECK(pick(0, 0) == 0 && pick(kNearHeadStart, 0) == 0);
  CHECK(pick(kNearHeadStart + 1, 0) == 1);
  CHECK(pick(20, 20 - kNearHeadStart) == 0 && pick(20, 19 - kNearHeadStart) == 1);
  CHECK(pickNearer({}, {{1, 1, 5}}, random)->at == 1 && pickNearer({{0, 1, 99}}, {}, random)->at == 0);
  CHECK(!pickNearer({}, {}, random));
  int light = 0;
  for (int i = 0; i < 1'000; ++i) light += pickLessLoaded({{0, 1, 3}, {1, 1, 2}}, random)->at == 1;
  CHECK(light == 1'000);
}

void testNearIsChecked() {
  const auto near = [](std::string_view value) {
    Writer message;
    message.map(3).text("type").text("routes").text("revision").number(1).text("routes").map(1).text("far").map(2);
    message.text("instances").array(2).text("a-far-0").text("a-far-1").text("near").raw(value);
    return readFromAgent(message.bytes());
  };
  CHECK(near("\x01")->routes.at("far").near == 1u);
  CHECK(near("\x02") && !near("\x03") && !near("\xff") && !near("\xc0"));
}

void testRoutes() {
  const auto routes = [](std::string_view instance, double weight) {
    Writer message;
    message.map(3).text("type").text("routes").text("revision").number(1).text("routes").map(1).text("far").map(2);
    message.text("instances").array(1).text(instance).text("weights").array(1).real(weight);
    return readFromAgent(message.bytes());
  };
  const std::optional<FromAgent> sound = routes("a-far-0", 0.5);
  CHECK(sound && sound->routes.at("far").instances.front() == "a-far-0" &&
        sound->routes.at("far").weights.front() == 0.5);
  for (const char* name : {"", "../../etc", "a/b", "A", "-a", "a b"}) CHECK(!routes(name, 0.5));
  for (const double weight : {0.0, -1.0, 1.1, std::numeric_limits<double>::infinity()})
    CHECK(!routes("a-far-0", weight));
}

/** As protocol/shard.ts has it. */
void testShards() {
  CHECK(shardOfKey("", 64) == 0x811c9dc5u % 64);
  CHECK(shardOfKey("a", 64) == 0xe40c292cu % 64);
  CHECK(shardOfKey("foobar", 256) == 0xbf9cf968u % 256);
  CHECK(shardOfKey("foobar", 64) == 0xbf9cf968u % 64);
}

void testMeter() {
  Meter meter;
  using Ms = std::chrono::duration<double, std::milli>;
  for (const double ms : {0.05, 0.1, 0.11, 0.2, 1e12}) {
    meter.arrived += 1;
    meter.end(ms < 1, Ms(ms));
  }
  CHECK(meter.latency[0] == 2 && meter.latency[1] == 1 && meter.latency[2] == 1 && meter.latency[47] == 1);
  CHECK(meter.failed == 1 && meter.outstanding() == 0);
}

}  // namespace

int main() {
  testValuesComeBack();
  testAllNumbersAreRead();
  testNothingIsReadBeyondTheEnd();
  testRequests();
  testStreamsAreSeen();
  testNearOnes();
  testNearIsChecked();
  testRoutes();
  testShards();
  testMeter();
  std::puts("client_test: all passed");
}
