#include "apply_policy.hpp"

#include <algorithm>

#include "../artifact/document.hpp"
#include "../errors.hpp"
#include "../json_text.hpp"
#include "../sha256.hpp"
#include "../system.hpp"

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
    decode(JsonValue{record, {}}.inside("machines"), machines);
    return machines;
  } catch (const std::exception &) {
    return {};
  }
}

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

}  // namespace

std::vector<Comparison> run_and_record_selftest(Segmenter &segmenter) {
  std::vector<Comparison> found = run_selftest(segmenter);
  record_outcome(segmenter.artifact(), segmenter.machine_parts(), worst_of(found).passed());
  return found;
}

void apply_selftest_policy(Segmenter &segmenter, dsunet_selftest_policy policy) {
  const Artifact &artifact = segmenter.artifact();
  const std::vector<std::string> &machine = segmenter.machine_parts();
  const bool is_auto = policy == DSUNET_SELFTEST_AUTO;
  const bool passed_before = is_auto && (machine.empty() || has_passed(artifact, machine));
  if (policy == DSUNET_SELFTEST_NEVER || passed_before) return;
  try {
    check(run_and_record_selftest(segmenter), segmenter);
  } catch (const Fault &fault) {
    // Without a self-test for its sizes, an artifact is left alone.
    if (fault.status() == DSUNET_ERROR_ARTIFACT && is_auto) return;
    if (fault.status() == DSUNET_ERROR_ARTIFACT)
      throw artifact_fault(artifact.path + ": " + fault.what());
    if (fault.status() != DSUNET_ERROR_SELFTEST) throw;
    const std::string on = machine.empty() ? "" : " on " + segmenter.machine();
    throw Fault(DSUNET_ERROR_SELFTEST,
                artifact.path + on + ": " + fault.what() +
                    "; DSUNET_SELFTEST_NEVER, in Python selftest='never', runs "
                    "it all the same");
  }
}

}  // namespace dsunet_runtime
