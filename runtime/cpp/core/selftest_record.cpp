#include "selftest_record.hpp"

#include <algorithm>

#include "json.hpp"
#include "sha256.hpp"
#include "system.hpp"

namespace dsunet_runtime {
namespace {

constexpr std::size_t kMostMachines = 20;  // the oldest are dropped

using Machines = std::vector<std::vector<std::string>>;

std::string record_file(const Artifact &artifact) { return artifact.path + ".selftest.json"; }

std::string identity(const Artifact &artifact) {
  return sha256_of(canonical_form(artifact.document));
}

// None if the record is of another artifact or is damaged.
Machines passed_on(const Artifact &artifact) {
  try {
    const Json record =
        parse_object(RegularFile(record_file(artifact)).read_text(0, kMostBytesOfJson));
    if (record.value("manifest_sha256", "") != identity(artifact)) return {};
    Machines machines;
    decode(At{record, {}}.inside("machines"), machines);
    return machines;
  } catch (const std::exception &) {
    return {};
  }
}

}  // namespace

bool has_passed(const Artifact &artifact, const std::vector<std::string> &machine) {
  const Machines machines = passed_on(artifact);
  return std::find(machines.begin(), machines.end(), machine) != machines.end();
}

void record_outcome(const Artifact &artifact, const std::vector<std::string> &machine,
                    bool passed) {
  const Machines before = passed_on(artifact);
  Machines machines = before;
  machines.erase(std::remove(machines.begin(), machines.end(), machine), machines.end());
  if (passed && !machine.empty()) machines.push_back(machine);
  while (machines.size() > kMostMachines) machines.erase(machines.begin());
  if (machines == before) return;
  const Json record{{"manifest_sha256", identity(artifact)}, {"machines", machines}};
  try {
    write_whole(record_file(artifact), record.dump(1));
  } catch (const std::exception &) {
    return;  // it is tested again the next time
  }
}

}  // namespace dsunet_runtime
