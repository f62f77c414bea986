/** shoal-shim: supervises one instance's container, independently of the agent that started it. */
#include <cstdio>
#include <string>
#include <vector>

#include "shim/arguments.h"
#include "shim/supervisor.h"

int main(int count, char** words) {
  std::string problem;
  const auto arguments = shoal::shim::parseArguments(std::vector<std::string>(words + 1, words + count), problem);
  if (!arguments) {
    std::fprintf(stderr, "shoal-shim: %s\n%s\n", problem.c_str(), shoal::shim::usage());
    return 2;
  }
  return shoal::shim::Supervisor(*arguments).run();
}
