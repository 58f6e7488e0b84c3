// The latency of an artifact, reported with the keys and percentiles of `dsunet-run bench --json`.
// Keys that only Python measures are null.
//
//     latency nano.onnx [--batch 4] [--streams 2] [--seconds 10] [--image photo.ppm]
#include <cmath>
#include <cstdint>
#include <ctime>
#include <deque>
#include <future>
#include <thread>

#include "arguments.hpp"
#include "dsunet/runtime.hpp"
#include "durations.hpp"
#include "json_text.hpp"
#include "netpbm.hpp"

namespace {

// The warm-up ends when the medians of two windows of calls agree, as in Python.
constexpr std::size_t kWindow = 5;
constexpr double kStable = 0.05;
constexpr double kLongestWarmUp = 15;

struct WarmUp {
  std::size_t calls;
  double seconds;
  bool is_stable;
};

// A call on one batch, which one thread repeats.
class Call {
 public:
  Call(dsunet::Segmenter &segmenter, const Image &image, std::size_t batch)
      : segmenter_(segmenter) {
    const std::size_t pixels = image.pixels.size() / 3;
    levels_.resize(batch * pixels);
    for (std::size_t place = 0; place < batch; ++place) {
      frames_.push_back(dsunet::rgb(image.pixels.data(), image.width, image.height));
      masks_.push_back(dsunet::mask(levels_.data() + place * pixels));
    }
  }

  Call(const Call &) = delete;
  Call &operator=(const Call &) = delete;

  // The duration in seconds.
  double operator()() {
    const Clock::time_point start = Clock::now();
    segmenter_.segment(frames_, masks_);
    return seconds_since(start);
  }

 private:
  dsunet::Segmenter &segmenter_;
  std::vector<std::uint8_t> levels_;
  std::vector<dsunet::Frame> frames_;
  std::vector<dsunet::Mask> masks_;
};

bool is_stable(const std::vector<double> &seconds) {
  if (seconds.size() < 2 * kWindow) return false;
  const auto median = [](auto first) { return percentiles_of({first, first + kWindow}).median; };
  const double before = median(seconds.end() - 2 * kWindow),
               after = median(seconds.end() - kWindow);
  return std::abs(after / before - 1) <= kStable;
}

WarmUp warm_up(std::deque<Call> &calls) {
  const Clock::time_point start = Clock::now();
  std::vector<double> seconds;
  while (!is_stable(seconds) && seconds_since(start) <= kLongestWarmUp) {
    std::vector<std::future<double>> streams;
    for (Call &call : calls) streams.push_back(std::async(std::launch::async, std::ref(call)));
    double slowest = 0;
    for (auto &stream : streams) slowest = std::max(slowest, stream.get());
    seconds.push_back(slowest);
  }
  return {seconds.size(), seconds_since(start), is_stable(seconds)};
}

// Durations of the calls of all streams, each of which calls for some seconds.
std::vector<double> measure(std::deque<Call> &calls, double seconds) {
  std::vector<std::future<std::vector<double>>> streams;
  const Clock::time_point start = Clock::now();
  for (Call &call : calls) {
    streams.push_back(std::async(std::launch::async, [&call, start, seconds] {
      std::vector<double> taken;
      while (taken.empty() || seconds_since(start) < seconds) taken.push_back(call());
      return taken;
    }));
  }
  std::vector<double> all;
  for (auto &stream : streams) {
    const std::vector<double> taken = stream.get();
    all.insert(all.end(), taken.begin(), taken.end());
  }
  return all;
}

// The side that the artifact takes, or the usual one if it takes any.
int side_of(const dsunet_range &range, int usual) {
  return range.maximum == 0 ? usual : range.optimum;
}

Image draw_image(const dsunet::Description &description) {
  Image image{side_of(description.width, 1280), side_of(description.height, 720), {}};
  for (int row = 0; row < image.height; ++row) {
    for (int column = 0; column < image.width; ++column) {
      for (int shade : {row, column, row + column}) {
        image.pixels.push_back(static_cast<std::uint8_t>(shade % 256));
      }
    }
  }
  return image;
}

std::string now() {
  char text[40];
  const std::time_t seconds = std::time(nullptr);
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", std::gmtime(&seconds));
  return text;
}

JsonObject json_of(const Percentiles &found) {
  return JsonObject()
      .add("minimum", found.minimum)
      .add("median", found.median)
      .add("mean", found.mean)
      .add("p90", found.p90)
      .add("p95", found.p95)
      .add("p99", found.p99)
      .add("calls", found.calls);
}

// The measurement, with its settings.
struct Result {
  std::string artifact;
  dsunet::Description description;
  int width, height, batch, streams;
  WarmUp warm_up;
  Percentiles latency;
  double images_per_second;
};

JsonObject artifact_and_provider(const Result &result) {
  JsonObject json;
  json.add("artifact", result.artifact);
  if (result.description.is_engine != 0) return json.add_null("provider");
  return json.add("provider", result.description.provider);
}

JsonObject artifact_of(const Result &result) {
  return artifact_and_provider(result)
      .add("precision", result.description.precision)
      .add("input", "frames")
      .add_null("graph_sha256")
      .add_null("cold_start");
}

JsonObject measurement_of(const Result &result) {
  const WarmUp &warm_up = result.warm_up;
  return artifact_and_provider(result)
      .add("from", "array")
      .add("batch", result.batch)
      .add("streams", result.streams)
      .add("warm_up", JsonObject()
                          .add("calls", warm_up.calls)
                          .add("seconds", warm_up.seconds)
                          .add("stable", warm_up.is_stable))
      .add("latency", json_of(result.latency))
      .add("images_per_second", result.images_per_second)
      .add_null("time_relative_to_first");
}

JsonObject document_of(const Result &result) {
  const JsonObject machine = JsonObject()
                                 .add_null("processor")
                                 .add("cores", std::thread::hardware_concurrency())
                                 .add_null("platform")
                                 .add_null("python")
                                 .add_null("gpu")
                                 .add_null("driver");
  return JsonObject()
      .add("format_version", 1)
      .add("date", now())
      .add("machine", machine)
      .add("versions", JsonObject().add("dsunet", dsunet_version()))
      .add("image", JsonObject().add("width", result.width).add("height", result.height))
      .add("artifacts", std::vector{artifact_of(result)})
      .add("measurements", std::vector{measurement_of(result)})
      .add("rooflines", std::vector<JsonObject>())
      .add_null("gpu")
      .add_null("host_growth")
      .add("warnings", std::vector<JsonObject>());
}

void print_latency(const Arguments &given) {
  dsunet::Options options;
  options.provider = given.text("--provider");
  options.threads = given.integer("--threads", 0, 1, 1024);
  dsunet::Segmenter segmenter(given[0], options);
  const dsunet::Description description = segmenter.describe();
  const Image image =
      given.has("--image") ? read_image(given.text("--image")) : draw_image(description);
  const int batch = given.integer("--batch", description.batch.optimum, 1, 1 << 20);
  const int streams = given.integer("--streams", 1, 1, 1024);
  const double seconds = given.number("--seconds", 10, 0, 86400);

  std::deque<Call> calls;
  for (int stream = 0; stream < streams; ++stream) {
    calls.emplace_back(segmenter, image, static_cast<std::size_t>(batch));
  }
  const WarmUp warm = warm_up(calls);
  const Clock::time_point start = Clock::now();
  const std::vector<double> taken = measure(calls, seconds);
  const double images = static_cast<double>(taken.size()) * batch;
  const Result result{given[0].substr(given[0].find_last_of('/') + 1),
                      description,
                      image.width,
                      image.height,
                      batch,
                      streams,
                      warm,
                      percentiles_of(taken),
                      images / seconds_since(start)};
  std::printf("%s\n", document_of(result).text().c_str());
}

}  // namespace

int main(int count, char **words) {
  return run_program("latency", [&] {
    print_latency(
        Arguments(count, words, 1,
                  {"--batch", "--streams", "--seconds", "--threads", "--provider", "--image"}, {},
                  "latency ARTIFACT [--batch N] [--streams N] [--seconds S] [--threads N] "
                  "[--provider NAME] [--image FILE.ppm]"));
  });
}
