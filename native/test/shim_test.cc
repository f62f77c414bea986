/** Tests of the shim's parts that need no container, and of the reader of CPU time. Run under ASan and UBSan. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "profiler/cpu_time_reader.h"
#include "shim/arguments.h"
#include "shim/files.h"
#include "shim/json.h"
#include "shim/lease.h"
#include "shim/limits.h"
#include "shim/line_prefixer.h"
#include "shim/log_file.h"
#include "shim/outcome.h"

using namespace shoal::shim;

namespace {

std::vector<std::string> goodArguments() {
  return {"--dir",         "/run/x/i",    "--cgroup",    "/sys/fs/cgroup/x", "--id", "a-b-1",       "--crun",
          "/usr/bin/crun", "--crun-root", "/run/x/crun", "--log-bytes",      "4096", "--log-files", "3"};
}

void testArguments() {
  std::string problem;
  CHECK(parseArguments(goodArguments(), problem));
  for (size_t i = 0; i < goodArguments().size(); i += 2) {
    auto words = goodArguments();
    words.erase(words.begin() + static_cast<long>(i), words.begin() + static_cast<long>(i) + 2);
    CHECK(!parseArguments(words, problem));
    CHECK(problem.find("is missing") != std::string::npos);
    words = goodArguments();
    words[i + 1] = "";
    CHECK(!parseArguments(words, problem));
  }
  const std::vector<std::pair<size_t, std::string>> bad = {{1, "relative"}, {1, "/a/../b"}, {5, "../x"},
                                                           {5, "-x"},       {5, "a/b"},     {11, "12"},
                                                           {11, "4096x"},   {13, "0"},      {13, "-1"}};
  for (const auto& [at, value] : bad) {
    auto words = goodArguments();
    words[at] = value;
    CHECK(!parseArguments(words, problem));
    CHECK(problem.find(value) != std::string::npos || at == 11 || at == 13);
  }
  auto twice = goodArguments();
  twice.insert(twice.end(), {"--id", "x"});
  CHECK(!parseArguments(twice, problem));
  CHECK(!parseArguments({"--nope", "1"}, problem));
  CHECK(problem.find("--nope") != std::string::npos);
}

void testLease() {
  CHECK(!leaseIsOver("1000\n", 999));
  CHECK(leaseIsOver("1000\n", 1000));
  for (const char* damaged : {"", "\n", "1000", "1000\n\n", "10 00\n", "x\n", "99999999999999999999\n"})
    CHECK(leaseIsOver(damaged, 0));
  CHECK(leaseIsOver(std::nullopt, 0));
  std::string problem;
  auto words = goodArguments();
  CHECK(parseArguments(words, problem)->lease.empty());
  words.insert(words.end(), {"--lease", "relative"});
  CHECK(!parseArguments(words, problem));
  words.back() = "/run/shoal/lease";
  CHECK(parseArguments(words, problem)->lease == "/run/shoal/lease");
  CHECK(parseArguments(words, problem)->stopSignal == SIGTERM);
  words.insert(words.end(), {"--stop-signal", "3"});
  CHECK(parseArguments(words, problem)->stopSignal == SIGQUIT);
  for (const char* wrong : {"0", "65", "-1", "QUIT"}) {
    words.back() = wrong;
    CHECK(!parseArguments(words, problem));
  }
}

void testJson() {
  const std::string control = "a\"b\\c\n\t\x01";
  CHECK(jsonString(control).find('\n') == std::string::npos);
  CHECK(jsonStringField("{\"msg\":" + jsonString(control) + "}", "msg") == control);
  CHECK(jsonString("\xff") == "\"\xef\xbf\xbd\"");
  CHECK(jsonStringField(R"({"msg":"no such \"file\"","level":"error"})", "msg") == "no such \"file\"");
  CHECK(!jsonStringField(R"({"msg":5})", "msg"));
  CHECK(!jsonStringField("{\"msg\":\"cut", "msg"));
  CHECK(!jsonStringField("", "msg"));
  // Whatever bytes come, nothing is read outside of them (ASan) and what is written reads back.
  std::mt19937 random(1);
  for (int round = 0; round < 20000; round++) {
    std::string text(random() % 40, '\0');
    for (char& c : text)
      c = static_cast<char>(random() % 4 == 0 ? "\"\\u{}:,"[random() % 7] : static_cast<char>(random()));
    jsonStringField(text, "msg");
    jsonStringField("{\"msg\":" + jsonString(text) + "}", "msg");
  }
}

void testLinePrefixer() {
  CHECK(rfc3339(0) == "1970-01-01T00:00:00.000000Z");
  LinePrefixer prefixer("stdout");
  std::string out;
  prefixer.append("one\ntw", 0, out);
  CHECK(out == "1970-01-01T00:00:00.000000Z stdout one\n");
  out.clear();
  prefixer.append("o\n\n", 0, out);
  CHECK(out == "1970-01-01T00:00:00.000000Z stdout two\n1970-01-01T00:00:00.000000Z stdout \n");
  out.clear();
  prefixer.append("rest", 0, out);
  CHECK(out.empty());
  prefixer.finish(0, out);
  CHECK(out == "1970-01-01T00:00:00.000000Z stdout rest\n");
  // A line without an end takes no more memory than the bound.
  out.clear();
  prefixer.append(std::string(10 * kLineBytesMax, 'x'), 0, out);
  size_t lines = 0;
  for (const char c : out) lines += c == '\n';
  CHECK(lines >= 9);
}

void testLogFile() {
  char folder[] = "/tmp/shoal-log-XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/log";
  {
    LogFile log(path, 4096, 3);
    const std::string line = std::string(99, 'a') + "\n";
    for (int i = 0; i < 200; i++) log.append(line);
  }
  struct stat info = {};
  for (const char* name : {"/log", "/log.1", "/log.2"}) {
    CHECK(stat((std::string(folder) + name).c_str(), &info) == 0);
    CHECK(info.st_size > 0 && info.st_size <= 4096);
    CHECK(info.st_size % 100 == 0);
  }
  CHECK(stat((std::string(folder) + "/log.3").c_str(), &info) != 0);
  removeTree(folder);
  CHECK(stat(folder, &info) != 0);
}

void testOutcome() {
  CHECK(toJson(outcomeOfStatus(7 << 8)) == "{\"code\":7,\"signal\":null,\"reason\":\"exited\",\"detail\":\"\"}\n");
  CHECK(toJson(outcomeOfStatus(9)) == "{\"code\":null,\"signal\":9,\"reason\":\"signalled\",\"detail\":\"\"}\n");
  CHECK(startFailed(std::string(2 * kDetailBytesMax, 'x')).detail.size() == kDetailBytesMax);
  const std::string log =
      "{\"msg\":\"first\",\"level\":\"error\"}\nno json\n{\"msg\":\"later\",\"level\":\"warning\"}\n";
  CHECK(crunMessage(log) == "first");
  CHECK(crunMessage("") == "");
  CHECK(describeCrunStatus(9) == "crun was killed by signal 9");
  const MemoryEvents events = memoryEvents("low 0\nhigh 9\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n");
  CHECK(events.atLimit == 2 && events.kills == 3);
  CHECK(memoryEvents("low 0\nhigh 9\noom 2\noom_kill 0\n").kills == 0);
  CHECK(memoryEvents("oom_kill ").kills == 0);
  CHECK(memoryEvents("").kills == 0);
  const std::string outOfMemory = "out of memory: the kernel killed 2 of its processes at memory.max";
  CHECK(memoryDetail(outcomeOfStatus(9), {1, 2}) == outOfMemory);
  CHECK(memoryDetail(outcomeOfStatus(137 << 8), {1, 2}) == outOfMemory);
  CHECK(memoryDetail(outcomeOfStatus(9), {}) == "");
  CHECK(memoryDetail(outcomeOfStatus(9), {0, 1}) ==
        "out of memory: the kernel killed 1 of its processes since the host, or a cgroup above, had no memory left");
  // What was killed may have been a command of somebody, long ago.
  CHECK(memoryDetail(outcomeOfStatus(0), {1, 2}) == "");
  CHECK(memoryDetail(outcomeOfStatus(15), {1, 2}) == "");
  CHECK(memoryDetail(outcomeOfStatus(1 << 8), {1, 2}) ==
        "while it ran the kernel killed 2 of its processes at memory.max");
  CHECK(memoryDetail(startFailed("no"), {1, 2}) == "");
}

void testFiles() {
  char folder[] = "/tmp/shoal-files-XXXXXX";
  CHECK(mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/a/b";
  CHECK(makeFolders(path) == 0);
  CHECK(makeFolders(path) == 0);
  CHECK(writeWhole(path + "/pid", "42\n") == 0);
  CHECK(readPid(path + "/pid") == 42);
  for (const char* bad : {"", "x", "-3", "0"}) {
    CHECK(writeWhole(path + "/pid", bad) == 0);
    CHECK(!readPid(path + "/pid"));
  }
  CHECK(readTail(path + "/pid", 10).has_value());
  CHECK(!readTail(path + "/none", 10));
  CHECK(writeWhole(path + "/pid", "0123456789") == 0);
  CHECK(readTail(path + "/pid", 3) == "789");
  removeTree(folder);
}

shoal_running runs(shoal_u64 cgroup, shoal_u64 since) { return {cgroup, since, 0, 0, 0}; }

void testCpuTimeReader() {
  using shoal::profiler::cpuNanoseconds;
  const std::vector<shoal_running> running = {runs(5, 100), runs(6, 100), runs(5, 300), runs(0, 0)};
  CHECK(cpuNanoseconds(5, {{10, 1, 0, 0}, {20, 2, 0, 0}}, running, 250) ==
        10 + 20 + 150);  // what began after the reading counts later
  CHECK(cpuNanoseconds(6, {}, running, 250) == 150);
  CHECK(cpuNanoseconds(7, {{1, 0, 0, 0}}, running, 250) == 1);
}

}  // namespace

int main() {
  testArguments();
  testLease();
  testJson();
  testLinePrefixer();
  testLogFile();
  testOutcome();
  testFiles();
  testCpuTimeReader();
  std::puts("shim_test: all passed");
}
