// Masks of the frames of a GStreamer pipeline, in NV12 as decoders write it, several at a time.
//
//     gstreamer_appsink nano.onnx 'filesrc location=clip.mp4 ! decodebin' masks/
//
// The pipeline is given without its sink.  With DeepStream, end it with
// `... ! nvvideoconvert ! video/x-raw,format=NV12`, which copies to host memory.
#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <gst/video/video.h>

#include <cstdio>
#include <deque>
#include <future>
#include <memory>

#include "arguments.hpp"
#include "dsunet/runtime.hpp"
#include "netpbm.hpp"

namespace {

template <class Object>
using Owned = std::unique_ptr<Object, void (*)(Object *)>;

using Sample = Owned<GstSample>;

struct Result {
  int width, height;
  std::vector<std::uint8_t> mask;
};

dsunet_yuv_encoding encoding_of(const GstVideoColorimetry &color) {
  const bool is_full = color.range == GST_VIDEO_COLOR_RANGE_0_255;
  switch (color.matrix) {
    case GST_VIDEO_COLOR_MATRIX_BT709:
      return is_full ? DSUNET_BT709_FULL : DSUNET_BT709_LIMITED;
    case GST_VIDEO_COLOR_MATRIX_BT601:
    case GST_VIDEO_COLOR_MATRIX_UNKNOWN:
      return is_full ? DSUNET_BT601_FULL : DSUNET_BT601_LIMITED;
    default:
      throw std::runtime_error(
          "the pipeline's colours are neither BT.601 nor BT.709: convert them");
  }
}

// The planes of a buffer, mapped until the end of the scope.
class MappedFrame {
 public:
  MappedFrame(GstSample *sample) {
    GstVideoInfo info;
    if (!gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) ||
        !gst_video_frame_map(&frame_, &info, gst_sample_get_buffer(sample), GST_MAP_READ)) {
      throw std::runtime_error("a frame cannot be mapped to host memory");
    }
  }
  ~MappedFrame() { gst_video_frame_unmap(&frame_); }
  MappedFrame(const MappedFrame &) = delete;
  MappedFrame &operator=(const MappedFrame &) = delete;

  // The strides are those of the buffer: rows are padded, and often the height of Y too.
  dsunet::Frame view() const {
    return dsunet::nv12(GST_VIDEO_FRAME_PLANE_DATA(&frame_, 0), GST_VIDEO_FRAME_WIDTH(&frame_),
                        GST_VIDEO_FRAME_HEIGHT(&frame_), GST_VIDEO_FRAME_PLANE_STRIDE(&frame_, 0),
                        GST_VIDEO_FRAME_PLANE_DATA(&frame_, 1),
                        GST_VIDEO_FRAME_PLANE_STRIDE(&frame_, 1),
                        encoding_of(frame_.info.colorimetry));
  }

 private:
  GstVideoFrame frame_;
};

Result segment(dsunet::Segmenter &segmenter, const Sample &sample) {
  const MappedFrame mapped(sample.get());
  const dsunet::Frame frame = mapped.view();
  return {frame.width, frame.height, segmenter.segment(frame)};
}

class Pipeline {
 public:
  Pipeline(const std::string &source, int most_waiting)
      : pipeline_(parse(source, most_waiting), unref),
        sink_(gst_bin_get_by_name(GST_BIN(pipeline_.get()), "masks"), unref) {
    gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING);
  }
  ~Pipeline() { gst_element_set_state(pipeline_.get(), GST_STATE_NULL); }
  Pipeline(const Pipeline &) = delete;
  Pipeline &operator=(const Pipeline &) = delete;

  // The next sample; null at the end.  Throws if the pipeline has failed, which may be before there
  // is any sample or end: so each wait is short.
  Sample next() {
    GstAppSink *sink = GST_APP_SINK(sink_.get());
    GstSample *sample = nullptr;
    do {
      sample = gst_app_sink_try_pull_sample(sink, 100 * GST_MSECOND);
      if (sample == nullptr) throw_error();
    } while (sample == nullptr && !gst_app_sink_is_eos(sink));
    return Sample(sample, [](GstSample *one) { gst_sample_unref(one); });
  }

 private:
  static void unref(GstElement *element) { gst_object_unref(element); }

  static GstElement *parse(const std::string &source, int most_waiting) {
    const std::string text =
        source +
        " ! videoconvert ! video/x-raw,format=NV12 ! appsink name=masks sync=false max-buffers=" +
        std::to_string(most_waiting);
    GError *error = nullptr;
    GstElement *parsed = gst_parse_launch(text.c_str(), &error);
    if (error == nullptr) return parsed;
    const Owned<GError> owner(error, g_error_free);
    if (parsed != nullptr) gst_object_unref(parsed);
    throw std::runtime_error(std::string("the pipeline is wrong: ") + error->message);
  }

  void throw_error() {
    const Owned<GstBus> bus(gst_element_get_bus(pipeline_.get()),
                            [](GstBus *one) { gst_object_unref(one); });
    const Owned<GstMessage> message(gst_bus_pop_filtered(bus.get(), GST_MESSAGE_ERROR),
                                    [](GstMessage *one) { gst_message_unref(one); });
    if (!message) return;
    GError *error = nullptr;
    gst_message_parse_error(message.get(), &error, nullptr);
    const Owned<GError> owner(error, g_error_free);
    throw std::runtime_error(std::string("the pipeline failed: ") + error->message);
  }

  Owned<GstElement> pipeline_;
  Owned<GstElement> sink_;
};

void segment_all(const Arguments &given) {
  const auto most = static_cast<std::size_t>(given.integer("--in-flight", 2, 1, 64));
  dsunet::Options options;
  options.provider = given.text("--provider");
  dsunet::Segmenter segmenter(given[0], options);
  Pipeline pipeline(given[1], static_cast<int>(most));

  int written = 0;
  const auto write = [&](const Result &result) {
    char name[32];
    std::snprintf(name, sizeof name, "/%06d.pgm", written++);
    write_mask(given[2] + name, result.mask, result.width, result.height);
  };
  // The masks are written in the order of the frames, while later ones are computed.
  std::deque<std::future<Result>> in_flight;
  while (Sample sample = pipeline.next()) {
    in_flight.push_back(std::async(
        std::launch::async, [&segmenter](const Sample &one) { return segment(segmenter, one); },
        std::move(sample)));
    if (in_flight.size() < most) continue;
    write(in_flight.front().get());
    in_flight.pop_front();
  }
  for (auto &one : in_flight) write(one.get());
  std::printf("%d masks written\n", written);
}

}  // namespace

int main(int count, char **words) {
  return run_program("gstreamer_appsink", [&] {
    const Arguments given(
        count, words, 3, {"--in-flight", "--provider"}, {},
        "gstreamer_appsink ARTIFACT PIPELINE FOLDER [--in-flight N] [--provider NAME]");
    gst_init(nullptr, nullptr);
    segment_all(given);
  });
}
