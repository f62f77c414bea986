#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace shoal::symbols {

struct Function {
  std::string name;
  /** The file's own name that holds it; `[kernel]`, `[jit]`. */
  std::string file;
  /** Of one that was inlined, where: `/src/x.c:12` of the function that comes after it. Empty: it was not. */
  std::string calledAt;
  auto operator<=>(const Function&) const = default;
};

/** Numbers functions, and chains of them: what stands at one address, innermost first. Each is kept once. */
class FrameTable {
 public:
  uint32_t number(Function function);
  uint32_t chain(const std::vector<uint32_t>& numbers);
  /** Of the one function. */
  uint32_t chain(Function function) { return chain(std::vector<uint32_t>{number(std::move(function))}); }

  const Function& function(uint32_t number) const { return *functions_[number]; }
  const std::vector<uint32_t>& numbers(uint32_t chain) const { return *chains_[chain]; }
  bool isFull() const;
  void clear();

 private:
  std::map<Function, uint32_t> functionNumbers_;
  std::vector<const Function*> functions_;
  std::map<std::vector<uint32_t>, uint32_t> chainNumbers_;
  std::vector<const std::vector<uint32_t>*> chains_;
};

}  // namespace shoal::symbols
