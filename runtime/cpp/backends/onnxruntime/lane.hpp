// One batch at a time in a session: buffers, and tensors over memory that was seen before.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "session.hpp"

namespace dsunet_runtime::onnxruntime {

class Lane {
 public:
  explicit Lane(const Session &session) : session_(session) {}

  // Buffers of at least this size; they grow, which invalidates those before.
  void reserve(std::int64_t count, std::int64_t height, std::int64_t width, std::uint8_t **frames,
               std::uint8_t **masks);

  void run(const dsunet_batch &batch);

 private:
  // Tensors over the memory of one batch.  Cameras and decoders give the same few buffers again and
  // again, so that in a steady state no tensor is created.
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
