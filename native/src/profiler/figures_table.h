#pragma once

#include <napi.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shoal::profiler {

/**
 * The same figures of each of many cgroups, for JavaScript as one array of numbers: hundreds of objects of a dozen
 * fields, made by this side, would be most of what reading them costs.
 */
class FiguresTable {
 public:
  explicit FiguresTable(std::vector<const char*> fields) : fields_(std::move(fields)) {}

  /** Values in the order of the fields. */
  void add(const std::string& cgroup, const std::vector<double>& values) {
    cgroups_.push_back(cgroup);
    values_.insert(values_.end(), values.begin(), values.end());
  }

  /** { cgroups, fields, values }: all values of the first cgroup, then of the second … */
  Napi::Object toObject(Napi::Env env) const {
    const Napi::Array fields = Napi::Array::New(env, fields_.size());
    for (uint32_t i = 0; i < fields_.size(); i += 1) fields.Set(i, fields_[i]);
    const Napi::Array cgroups = Napi::Array::New(env, cgroups_.size());
    for (uint32_t i = 0; i < cgroups_.size(); i += 1) cgroups.Set(i, cgroups_[i]);
    Napi::Float64Array values = Napi::Float64Array::New(env, values_.size());
    std::copy(values_.begin(), values_.end(), values.Data());
    const Napi::Object table = Napi::Object::New(env);
    table.Set("fields", fields);
    table.Set("cgroups", cgroups);
    table.Set("values", values);
    return table;
  }

 private:
  std::vector<const char*> fields_;
  std::vector<std::string> cgroups_;
  std::vector<double> values_;
};

}  // namespace shoal::profiler
