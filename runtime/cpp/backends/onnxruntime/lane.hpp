// A lane of a session: buffers for one batch, and tensors over the memory of earlier batches.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "session.hpp"

namespace dsunet_runtime::onnxruntime {

class Lane {
 public:
  explicit Lane(const Session &session) : session_(session) {}

  // Buffers of at least this size.  When they grow, earlier ones become invalid.
  void reserve(std::int64_t count, std::int64_t height, std::int64_t width, std::uint8_t **frames,
               std::uint8_t **masks);

  void run(const dsunet_batch &batch);

 private:
  // Tensors over the memory of one batch.  Cameras and decoders reuse a few buffers, so that in a
  // steady state no tensor is created.
  struct Tensors {
    dsunet_batch batch;
    Owned<OrtValue> image, mask;
    std::uint64_t last_use = 0;
  };

  const Tensors &tensors_of(const dsunet_batch &batch);
  Owned<OrtValue> tensor(void *data, const std::int64_t *shape, std::size_t rank) const;

  const Session &session_;
  std::vector<std::uint8_t> frames_, masks_;
  std::vector<Tensors> known_;
  std::uint64_t uses_ = 0;
};

}  // namespace dsunet_runtime::onnxruntime
