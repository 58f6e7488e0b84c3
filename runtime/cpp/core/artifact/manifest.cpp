#include "manifest.hpp"

#include "../errors.hpp"
#include "document.hpp"

namespace dsunet_runtime {
namespace {

constexpr const char *kUnfusedAttention = "unfused-attention";
constexpr const char *kFloat32Scores = "attention scores in float32, requested with --attention";

template <class Value>
void decode_name(const JsonValue &json, const std::vector<std::pair<std::string, Value>> &names,
                 Value &result) {
  std::vector<std::string> known;
  for (const auto &[text, value] : names) {
    if (json.value == text) {
      result = value;
      return;
    }
    known.push_back(text);
  }
  throw json.misfit("one of " + join(known, ", "));
}

std::int64_t format_version(const Json &values) {
  if (!values.contains("format_version")) {
    throw artifact_fault("the manifest is not readable: it has no format_version");
  }
  std::int64_t version = 0;
  try {
    decode(JsonValue{values, {}}.inside("format_version"), version);
  } catch (const FieldError &error) {
    throw artifact_fault("the manifest is not readable: " + std::string(error.what()) +
                         "; export (or build) again");
  }
  return version;
}

}  // namespace

void decode(const JsonValue &json, InputForm &result) {
  decode_name<InputForm>(json, {{"frames", InputForm::kFrames}, {"tensors", InputForm::kTensors}},
                         result);
}

void decode(const JsonValue &json, MaskForm &result) {
  decode_name<MaskForm>(
      json, {{"probability", MaskForm::kProbability}, {"stretched", MaskForm::kStretched}}, result);
}

void decode(const JsonValue &json, Flavor &result) {
  decode_name<Flavor>(json, {{"rtx", Flavor::kRtx}, {"tensorrt", Flavor::kTensorRT}}, result);
}

bool Manifest::avoids_fused_attention() const {
  for (const Rewrite &rewrite : rewrites) {
    if (rewrite.name == kUnfusedAttention) return true;
  }
  for (const KeptInFloat32 &kept : precision.kept_in_float32) {
    if (kept.reason == kFloat32Scores) return true;
  }
  return false;
}

Manifest parse_manifest(std::string_view text) {
  Json values;
  try {
    values = parse_object(text);
  } catch (const JsonError &error) {
    throw artifact_fault("the manifest is not readable: it " + std::string(error.what()));
  }
  const std::int64_t version = format_version(values);
  if (version != kFormatVersion) {
    throw artifact_fault("the manifest has format version " + std::to_string(version) +
                         " and this dsunet_runtime reads " + std::to_string(kFormatVersion) + ": " +
                         (version > kFormatVersion ? "update dsunet, or " : "") +
                         "export (or build) again with this version");
  }
  if (!is_whole(text)) {
    throw artifact_fault(
        "the manifest is damaged, or was changed since it was written (its SHA-256 differs): copy "
        "the artifact again, or export it again");
  }
  try {
    Manifest manifest;
    decode(JsonValue{values, {}}, manifest);
    check_bounds(manifest);
    return manifest;
  } catch (const FieldError &error) {
    throw artifact_fault(
        "the manifest does not describe an artifact: update dsunet if a later one wrote it, or "
        "export again with this version (" +
        printable(error.what()) + ")");
  }
}

}  // namespace dsunet_runtime
