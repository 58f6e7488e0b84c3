// The description of an artifact: one JSON document.  docs/formats.md is its specification;
// artifact/manifest.py documents each field.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../plain_values.hpp"
#include "flavor.hpp"

namespace dsunet_runtime {

constexpr const char *kMetadataKey = "dsunet_manifest";
constexpr std::int64_t kFormatVersion = 2;

enum class InputForm { kFrames, kTensors };
enum class MaskForm { kStretched, kProbability };

void decode(const JsonValue &json, InputForm &result);
void decode(const JsonValue &json, MaskForm &result);
void decode(const JsonValue &json, Flavor &result);

struct TensorSpec {
  std::string name, dtype, layout, range;
  std::vector<Dimension> shape;

  static constexpr auto fields() {
    using S = TensorSpec;
    return std::tuple(required("name", &S::name), required("dtype", &S::dtype),
                      required("shape", &S::shape), required("layout", &S::layout),
                      required("range", &S::range));
  }
};

struct Preprocessing {
  bool in_graph = false;
  std::vector<std::pair<std::string, std::int64_t>> sizes;
  std::array<double, 3> mean{}, std{};

  static constexpr auto fields() {
    using S = Preprocessing;
    return std::tuple(required("in_graph", &S::in_graph), required("sizes", &S::sizes),
                      required("mean", &S::mean), required("std", &S::std));
  }
};

struct KeptInFloat32 {
  std::string pattern, reason;
  std::int64_t nodes = 0;

  static constexpr auto fields() {
    using S = KeptInFloat32;
    return std::tuple(required("pattern", &S::pattern), required("reason", &S::reason),
                      required("nodes", &S::nodes));
  }
};

struct Peak {
  std::string tensor, images;
  double magnitude = 0;

  static constexpr auto fields() {
    using S = Peak;
    return std::tuple(required("tensor", &S::tensor), required("magnitude", &S::magnitude),
                      required("images", &S::images));
  }
};

struct NarrowedWeights {
  std::int64_t narrowed = 0, kept = 0, subnormal = 0, zeroed = 0;

  static constexpr auto fields() {
    using S = NarrowedWeights;
    return std::tuple(required("narrowed", &S::narrowed), required("kept", &S::kept),
                      required("subnormal", &S::subnormal), required("zeroed", &S::zeroed));
  }
};

struct Quantization {
  std::string data_type;
  std::int64_t products = 0, candidates = 0, weights = 0, images = 0;
  std::optional<double> noise;

  static constexpr auto fields() {
    using S = Quantization;
    return std::tuple(required("data_type", &S::data_type), required("products", &S::products),
                      required("candidates", &S::candidates), required("weights", &S::weights),
                      required("images", &S::images), required("noise", &S::noise));
  }
};

struct Precision {
  std::string compute = "float32";
  std::vector<KeptInFloat32> kept_in_float32;
  std::vector<Peak> peaks;
  std::optional<NarrowedWeights> weights;
  std::optional<Quantization> quantized;

  static constexpr auto fields() {
    using S = Precision;
    return std::tuple(with_default("compute", &S::compute),
                      with_default("kept_in_float32", &S::kept_in_float32),
                      with_default("peaks", &S::peaks), with_default("weights", &S::weights),
                      with_default("quantized", &S::quantized));
  }

  // Element type of the encoders' matrix multiplications.
  const std::string &element_type() const { return quantized ? quantized->data_type : compute; }
};

struct Profile {
  std::string input;
  std::vector<std::int64_t> minimum, optimum, maximum;

  static constexpr auto fields() {
    using S = Profile;
    return std::tuple(required("input", &S::input), required("minimum", &S::minimum),
                      required("optimum", &S::optimum), required("maximum", &S::maximum));
  }
};

struct Rewrite {
  std::string name;
  std::int64_t macs_before = 0, macs_after = 0;

  static constexpr auto fields() {
    using S = Rewrite;
    return std::tuple(required("name", &S::name), required("macs_before", &S::macs_before),
                      required("macs_after", &S::macs_after));
  }
};

struct FileDigest {
  std::string name, sha256;
  std::int64_t size = 0;

  static constexpr auto fields() {
    using S = FileDigest;
    return std::tuple(required("name", &S::name), required("size", &S::size),
                      required("sha256", &S::sha256));
  }
};

struct PrecisionReport {
  std::int64_t layers = 0, layers_reduced = 0;
  std::int64_t weight_bytes = 0, weight_bytes_reduced = 0, weight_bytes_quantized = 0;

  static constexpr auto fields() {
    using S = PrecisionReport;
    return std::tuple(required("layers", &S::layers),
                      required("layers_reduced", &S::layers_reduced),
                      required("weight_bytes", &S::weight_bytes),
                      required("weight_bytes_reduced", &S::weight_bytes_reduced),
                      with_default("weight_bytes_quantized", &S::weight_bytes_quantized));
  }
};

struct Engine {
  FileDigest file;
  Flavor flavor = Flavor::kRtx;
  std::string tensorrt_version, platform;
  std::vector<std::string> compute_capabilities, gpus;
  bool weights_stripped = false;
  std::optional<std::int64_t> optimization_level, activation_bytes, weight_bytes;
  PrecisionReport proof;
  std::optional<FileDigest> shared_weights;

  static constexpr auto fields() {
    using S = Engine;
    return std::tuple(
        required("file", &S::file), required("flavor", &S::flavor),
        required("tensorrt_version", &S::tensorrt_version), required("platform", &S::platform),
        required("compute_capabilities", &S::compute_capabilities), required("gpus", &S::gpus),
        required("weights_stripped", &S::weights_stripped),
        required("optimization_level", &S::optimization_level), required("proof", &S::proof),
        required("activation_bytes", &S::activation_bytes),
        required("weight_bytes", &S::weight_bytes),
        with_default("shared_weights", &S::shared_weights));
  }
};

struct Verification {
  std::string inputs, output, tolerance_unit, computed_by;
  double max_abs_error = 0, mean_abs_error = 0, tolerance = 0, mean_tolerance = 0;
  std::optional<double> iou_at_half, p999_abs_error;

  static constexpr auto fields() {
    using S = Verification;
    return std::tuple(
        required("inputs", &S::inputs), required("output", &S::output),
        required("max_abs_error", &S::max_abs_error),
        required("mean_abs_error", &S::mean_abs_error), required("tolerance", &S::tolerance),
        required("mean_tolerance", &S::mean_tolerance),
        required("tolerance_unit", &S::tolerance_unit),
        with_default("computed_by", &S::computed_by), with_default("iou_at_half", &S::iou_at_half),
        with_default("p999_abs_error", &S::p999_abs_error));
  }
};

struct SelfTestCase {
  std::int64_t picture = 0, height = 0, width = 0;
  std::vector<double> blocks, points;
  double blocks_tolerance = 0, points_tolerance = 0;

  static constexpr auto fields() {
    using S = SelfTestCase;
    return std::tuple(required("picture", &S::picture), required("height", &S::height),
                      required("width", &S::width), required("blocks", &S::blocks),
                      required("points", &S::points),
                      required("blocks_tolerance", &S::blocks_tolerance),
                      required("points_tolerance", &S::points_tolerance));
  }
};

struct Manifest {
  std::vector<std::pair<std::string, Json>> model;
  InputForm input_form = InputForm::kFrames;
  MaskForm mask_form = MaskForm::kStretched;
  std::vector<TensorSpec> inputs, outputs;
  Preprocessing preprocessing;
  std::string weights_origin;
  bool weights_are_random = false;
  std::optional<std::string> checkpoint_sha256;
  std::int64_t macs = 0;
  std::vector<std::pair<std::string, std::string>> built_with;
  FileDigest graph;
  Precision precision;
  std::vector<Rewrite> rewrites;
  std::vector<Profile> profiles;
  std::optional<Engine> engine;
  std::vector<FileDigest> files;
  std::vector<Verification> verification;
  std::vector<SelfTestCase> selftest;

  static constexpr auto fields() {
    using S = Manifest;
    return std::tuple(
        required("model", &S::model), required("input_form", &S::input_form),
        required("mask_form", &S::mask_form), required("inputs", &S::inputs),
        required("outputs", &S::outputs), required("preprocessing", &S::preprocessing),
        required("weights_origin", &S::weights_origin),
        required("weights_are_random", &S::weights_are_random),
        required("checkpoint_sha256", &S::checkpoint_sha256), required("macs", &S::macs),
        required("built_with", &S::built_with), required("graph", &S::graph),
        with_default("precision", &S::precision), with_default("rewrites", &S::rewrites),
        with_default("profiles", &S::profiles), with_default("engine", &S::engine),
        with_default("files", &S::files), with_default("verification", &S::verification),
        with_default("selftest", &S::selftest));
  }

  // Whether the graph was exported with --attention unfused or float32.
  bool avoids_fused_attention() const;
};

// Read a manifest from JSON.  Throws Fault unless it has this format version, is undamaged, and is
// within bounds.
Manifest parse_manifest(std::string_view text);

// Throws FieldError, which names the field, if a value is out of bounds (artifact/bounds.py).
void check_bounds(const Manifest &manifest);

}  // namespace dsunet_runtime
