// The masks of a video or a camera, with OpenCV.
//
//     segment_video nano.onnx clip.mp4 overlay.mp4 --as overlay
//     segment_video nano.onnx 0 'cut-out/%05d.png' --as cutout --frames 100
//
// The latency that it prints is the time from when the camera or the decoder returned a frame until
// its result was written.  A camera does not wait: of the frames that arrive while one is computed,
// only the newest is used, and the others are counted as dropped.
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <optional>
#include <regex>
#include <thread>

#include "arguments.hpp"
#include "dsunet/runtime.hpp"
#include "durations.hpp"

namespace {

struct Captured {
  cv::Mat frame;  // BGR
  Clock::time_point time;
};

// A video or a camera that is read in a thread of its own.
class Source {
 public:
  // A file waits until its frame has been taken, unless it is played at its own speed (`is_live`).
  Source(const std::string &name, bool is_live) {
    const bool is_camera = std::regex_match(name, std::regex("\\d{1,6}"));
    is_live_ = is_live || is_camera;
    if (is_camera ? !capture_.open(std::stoi(name)) : !capture_.open(name)) {
      throw std::runtime_error(name + ": cannot be opened as a video or a camera");
    }
    rate_ = capture_.get(cv::CAP_PROP_FPS);
    if (is_live && !is_camera && rate_ > 0) period_ = 1 / rate_;
    thread_ = std::thread([this] { read_all(); });
  }

  ~Source() {
    {
      const std::lock_guard lock(mutex_);
      is_stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  Source(const Source &) = delete;
  Source &operator=(const Source &) = delete;

  double rate() const { return rate_; }

  // The next frame; nothing at the end.
  std::optional<Captured> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return newest_.has_value() || is_ended_; });
    std::optional<Captured> taken = std::move(newest_);
    newest_.reset();
    changed_.notify_all();
    return taken;
  }

  // How many frames were replaced by newer ones.
  int dropped() {
    const std::lock_guard lock(mutex_);
    return dropped_;
  }

 private:
  void read_all() {
    const Clock::time_point start = Clock::now();
    for (int number = 0;; ++number) {
      Captured captured;
      if (!capture_.read(captured.frame)) break;
      if (period_ > 0) {
        std::this_thread::sleep_until(start + std::chrono::duration_cast<Clock::duration>(
                                                  std::chrono::duration<double>(number * period_)));
      }
      captured.time = Clock::now();
      if (!give(std::move(captured))) return;
    }
    const std::lock_guard lock(mutex_);
    is_ended_ = true;
    changed_.notify_all();
  }

  // Whether more frames are wanted.
  bool give(Captured &&captured) {
    std::unique_lock lock(mutex_);
    if (!is_live_) changed_.wait(lock, [this] { return !newest_.has_value() || is_stopped_; });
    if (is_stopped_) return false;
    if (newest_.has_value()) ++dropped_;
    newest_ = std::move(captured);
    changed_.notify_all();
    return true;
  }

  cv::VideoCapture capture_;
  bool is_live_ = false;
  double rate_ = 0;    // frames per second; 0 if it is not known
  double period_ = 0;  // seconds that a file waits for each frame; 0: it does not
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Captured> newest_;
  bool is_ended_ = false, is_stopped_ = false;
  int dropped_ = 0;
  std::thread thread_;
};

cv::Mat compose(const std::string &form, const cv::Mat &frame, const cv::Mat &mask,
                bool has_alpha) {
  cv::Mat result;
  if (form == "mask") {
    cv::cvtColor(mask, result, cv::COLOR_GRAY2BGR);
  } else if (form == "overlay") {
    cv::Mat red(frame.size(), frame.type(), cv::Scalar(0, 0, 255)), tinted;
    cv::addWeighted(frame, 0.5, red, 0.5, 0, tinted);
    result = frame.clone();
    tinted.copyTo(result, mask >= 128);
  } else if (has_alpha) {
    cv::cvtColor(frame, result, cv::COLOR_BGR2BGRA);
    cv::insertChannel(mask, result, 3);
  } else {
    cv::Mat weights;
    cv::cvtColor(mask, weights, cv::COLOR_GRAY2BGR);
    cv::multiply(frame, weights, result, 1.0 / 255);
  }
  return result;
}

// Whether a name is that of images: it has one number like `%05d`, and no other conversion.
bool is_of_images(const std::string &name) {
  return std::regex_match(name, std::regex("[^%]*%(0\\d)?d[^%]*"));
}

bool is_of_a_video(const std::string &name) {
  return std::regex_match(name, std::regex(".*\\.(mp4|avi)"));
}

// A video file, or images.
class Sink {
 public:
  Sink(std::string name, double rate)
      : name_(std::move(name)), rate_(rate), is_images_(is_of_images(name_)) {}

  bool has_alpha() const { return is_images_; }

  void write(const cv::Mat &image) {
    if (is_images_ ? !write_image(image) : !append(image)) {
      throw std::runtime_error(name_ + ": cannot be written");
    }
  }

 private:
  bool write_image(const cv::Mat &image) {
    const std::string path = cv::format(name_.c_str(), count_++);
    return cv::haveImageWriter(path) && cv::imwrite(path, image);
  }

  bool append(const cv::Mat &image) {
    if (!writer_.isOpened()) {
      const bool is_avi = name_.size() > 4 && name_.compare(name_.size() - 4, 4, ".avi") == 0;
      const int codec = is_avi ? cv::VideoWriter::fourcc('M', 'J', 'P', 'G')
                               : cv::VideoWriter::fourcc('m', 'p', '4', 'v');
      if (!writer_.open(name_, codec, rate_, image.size())) return false;
    }
    writer_.write(image);
    return true;
  }

  std::string name_;
  double rate_;
  bool is_images_;
  int count_ = 0;
  cv::VideoWriter writer_;
};

void segment_video(const Arguments &given) {
  const std::string form = given.text("--as", "mask");
  const int most = given.integer("--frames", 0, 1, 1 << 30);
  dsunet::Options options;
  options.provider = given.text("--provider");
  dsunet::Segmenter segmenter(given[0], options);
  Source source(given[1], given.has("--live"));
  Sink sink(given[2], source.rate() > 0 ? source.rate() : 25);

  std::vector<double> latencies, computing;
  cv::Mat mask;
  while (most == 0 || latencies.size() < static_cast<std::size_t>(most)) {
    const std::optional<Captured> captured = source.next();
    if (!captured) break;
    const cv::Mat &frame = captured->frame;
    mask.create(frame.size(), CV_8UC1);
    const Clock::time_point start = Clock::now();
    segmenter.segment(
        dsunet::bgr(frame.data, frame.cols, frame.rows, static_cast<std::ptrdiff_t>(frame.step)),
        dsunet::mask(mask.data, static_cast<std::ptrdiff_t>(mask.step)));
    computing.push_back(seconds_since(start));
    sink.write(compose(form, frame, mask, sink.has_alpha()));
    latencies.push_back(seconds_since(captured->time));
  }
  if (latencies.empty()) throw std::runtime_error(given[1] + ": has no frames");
  std::printf("%zu frames written, %d dropped\n", latencies.size(), source.dropped());
  for (const auto &[name, seconds] : {std::pair{"from capture to result", &latencies},
                                      std::pair{"of these, network", &computing}}) {
    const Percentiles found = percentiles_of(*seconds);
    std::printf("%-23s median %.2f, p90 %.2f, p95 %.2f, p99 %.2f ms\n", name, 1000 * found.median,
                1000 * found.p90, 1000 * found.p95, 1000 * found.p99);
  }
}

}  // namespace

int main(int count, char **words) {
  return run_program("segment_video", [&] {
    const std::string usage =
        "segment_video ARTIFACT VIDEO|CAMERA OUTPUT.mp4|OUTPUT.avi|'OUTPUT%05d.png' [--as "
        "mask|overlay|cutout] [--frames N] [--live] [--provider NAME]";
    const Arguments given(count, words, 3, {"--as", "--frames", "--provider"}, {"--live"}, usage);
    const std::string form = given.text("--as", "mask");
    const bool is_form = form == "mask" || form == "overlay" || form == "cutout";
    if (!is_form || !(is_of_images(given[2]) || is_of_a_video(given[2]))) {
      throw UsageError("usage: " + usage);
    }
    segment_video(given);
  });
}
