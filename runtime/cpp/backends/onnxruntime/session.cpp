#include "session.hpp"

#include <algorithm>
#include <cstdlib>
#include <deque>

#include "../../core/artifact/file_kinds.hpp"
#include "../../core/artifact/integrity.hpp"
#include "../../core/errors.hpp"
#include "../../core/message_text.hpp"
#include "../guard.hpp"
#include "../nvml.hpp"

namespace dsunet_runtime::onnxruntime {
namespace {

// Keys of ONNX Runtime's session options.
constexpr const char *kRecordPlacement = "session.record_ep_graph_assignment_info";
constexpr const char *kLeaveQuantized = "session.disable_quant_qdq";
constexpr std::size_t kMostNames = 4;

std::string machine_of(const Library &library, const std::string &provider) {
  if (!is_on_gpu(provider)) return "";
  std::vector<std::string> lines{"ONNX Runtime " + library.version(), official_name(provider)};
  const nvml::Gpus gpus = nvml::find_gpus();
  lines.insert(lines.end(), gpus.names.begin(), gpus.names.end());
  // NVML lists all GPUs; these variables choose among them.
  for (const char *name : {"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}) {
    if (const char *value = std::getenv(name)) lines.push_back(std::string(name) + "=" + value);
  }
  lines.push_back(gpus.driver.empty() ? "unknown driver" : gpus.driver);
  for (std::string &one : loaded_libraries({"libnvinfer", "libcudnn", "libcublas"})) {
    lines.push_back(std::move(one));
  }
  return join(lines, "\n");
}

void check_request(const dsunet_backend_request &request) {
  const std::string provider = request.provider;
  check_name(provider);
  if (request.allow_cpu_fallback != 0 && !is_on_gpu(provider)) {
    throw backend_fault("allow_cpu_fallback is for providers on a GPU, and '" + provider +
                        "' is none: omit it");
  }
}

// Errors that mean that a file is damaged or not a model.
bool is_of_model(OrtErrorCode code) {
  return code == ORT_INVALID_GRAPH || code == ORT_INVALID_PROTOBUF || code == ORT_NO_MODEL ||
         code == ORT_NO_SUCHFILE;
}

}  // namespace

Session::Session(const dsunet_backend_request &request)
    : library_((check_request(request), request.library)),
      env_(nullptr, library_->ReleaseEnv),
      session_(nullptr, library_->ReleaseSession),
      memory_(nullptr, library_->ReleaseMemoryInfo) {
  OrtEnv *env = nullptr;
  library_.require(library_->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "dsunet", &env));
  env_.reset(env);
  library_.require(library_->DisableTelemetryEvents(env));
  OrtMemoryInfo *memory = nullptr;
  library_.require(library_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  memory_.reset(memory);

  const Artifact artifact = artifact_of(request);
  open(artifact, request);
  check_names(artifact);
  machine_ = machine_of(library_, request.provider);
}

void Session::open(const Artifact &artifact, const dsunet_backend_request &request) {
  const std::string provider = request.provider;
  const bool must_use_gpu = is_on_gpu(provider) && request.allow_cpu_fallback == 0;
  OrtSessionOptions *raw = nullptr;
  library_.require(library_->CreateSessionOptions(&raw));
  const Owned<OrtSessionOptions> options(raw, library_->ReleaseSessionOptions);
  library_.require(library_->SetSessionLogSeverityLevel(raw, ORT_LOGGING_LEVEL_FATAL));
  library_.require(library_->SetIntraOpNumThreads(raw, request.threads));
  // Otherwise 8-bit floats are fused into operators that support integers only.
  if (artifact.manifest.precision.element_type() == "float8e4m3fn") {
    library_.require(library_->AddSessionConfigEntry(raw, kLeaveQuantized, "1"));
  }
  if (must_use_gpu) library_.require(library_->AddSessionConfigEntry(raw, kRecordPlacement, "1"));
  add_provider(library_, env_.get(), raw,
               {provider, request.provider_library, request.device, artifact});

  std::vector<std::unique_ptr<MappedFile>> kept;
  give_linked_weights(artifact, raw, kept);
  OrtSession *session = nullptr;
  if (OrtStatus *status =
          library_->CreateSession(env_.get(), native(artifact.path).c_str(), raw, &session)) {
    const bool is_broken = is_of_model(library_->GetErrorCode(status));
    const std::string reason = printable(library_.message_of(status));
    if (is_broken) throw artifact_fault(artifact.path + ": not a whole ONNX model: " + reason);
    const bool is_bf16 = provider == "cpu" && artifact.manifest.precision.compute == "bfloat16";
    throw backend_fault(
        artifact.path + ": ONNX Runtime cannot load it: " + reason +
        (is_bf16 ? "; in Python, the provider 'openvino' runs bf16 artifacts on a CPU" : ""));
  }
  session_.reset(session);
  if (must_use_gpu) check_placement(library_, session, artifact.path, provider);
}

// ONNX Runtime rejects weights in another folder, because a graph may name any file.  Here the
// names are those in the manifest, of files beside the artifact, which may be links.
void Session::give_linked_weights(const Artifact &artifact, OrtSessionOptions *options,
                                  std::vector<std::unique_ptr<MappedFile>> &kept) const {
  const std::string folder = folder_part(resolved(artifact.path));
  std::deque<NativePath> files;  // a deque, so that the names stay where they are
  std::vector<const ORTCHAR_T *> names;
  std::vector<char *> contents;
  std::vector<std::size_t> sizes;
  const auto weights = weights_files(artifact);
  for (const auto &[name, path] : weights) {
    if (folder_part(resolved(path)) == folder) continue;
    try {
      kept.push_back(std::make_unique<MappedFile>(path));
    } catch (const FileError &error) {
      throw artifact_fault(path + ": " + error.what());
    }
    names.push_back(files.emplace_back(native(name)).c_str());
    contents.push_back(static_cast<char *>(kept.back()->data()));
    sizes.push_back(kept.back()->size());
  }
  if (names.empty()) return;
  library_.require(library_->AddExternalInitializersFromFilesInMemory(
      options, names.data(), contents.data(), sizes.data(), names.size()));
}

void Session::check_names(const Artifact &artifact) const {
  for (const bool are_inputs : {true, false}) {
    std::vector<std::string> found = names(are_inputs), described;
    for (const TensorSpec &spec :
         are_inputs ? artifact.manifest.inputs : artifact.manifest.outputs) {
      described.push_back(spec.name);
    }
    std::sort(found.begin(), found.end());
    std::sort(described.begin(), described.end());
    if (found != described) {
      throw artifact_fault(artifact.path + ": the graph's " + (are_inputs ? "inputs" : "outputs") +
                           " are " + shorten(found, kMostNames) + " and the manifest's " +
                           shorten(described, kMostNames) + ": export again");
    }
  }
}

std::vector<std::string> Session::names(bool are_inputs) const {
  OrtAllocator *allocator = nullptr;
  library_.require(library_->GetAllocatorWithDefaultOptions(&allocator));
  std::size_t count = 0;
  library_.require(are_inputs ? library_->SessionGetInputCount(session_.get(), &count)
                              : library_->SessionGetOutputCount(session_.get(), &count));
  std::vector<std::string> found;
  for (std::size_t index = 0; index < count; ++index) {
    char *name = nullptr;
    library_.require(are_inputs
                         ? library_->SessionGetInputName(session_.get(), index, allocator, &name)
                         : library_->SessionGetOutputName(session_.get(), index, allocator, &name));
    found.emplace_back(name);
    library_.require(library_->AllocatorFree(allocator, name));
  }
  return found;
}

}  // namespace dsunet_runtime::onnxruntime
