// A component that publishes the mask of each image of a topic.
#include <dsunet/runtime.hpp>
#include <map>
#include <memory>
#include <rclcpp/rclcpp.hpp>
#include <rclcpp_components/register_node_macro.hpp>
#include <sensor_msgs/image_encodings.hpp>
#include <sensor_msgs/msg/image.hpp>
#include <string>

namespace dsunet_ros {

using sensor_msgs::msg::Image;
namespace encodings = sensor_msgs::image_encodings;

class SegmenterNode : public rclcpp::Node {
 public:
  explicit SegmenterNode(const rclcpp::NodeOptions &options)
      : Node("segmenter", options), segmenter_(open()) {
    threshold_ = static_cast<int>(declare_parameter<std::int64_t>("threshold", 0));
    const auto newest = rclcpp::SensorDataQoS().keep_last(1);
    publisher_ = create_publisher<Image>("mask", newest);
    subscription_ = create_subscription<Image>(
        "image", newest, [this](Image::ConstSharedPtr image) { publish(*image); });
  }

 private:
  dsunet::Segmenter open() {
    dsunet::Options options;
    options.provider = declare_parameter<std::string>("provider", "");
    return dsunet::Segmenter(declare_parameter<std::string>("artifact"), options);
  }

  void publish(const Image &image) {
    static const std::map<std::string, dsunet_pixel_format> kFormats{
        {encodings::RGB8, DSUNET_RGB},
        {encodings::BGR8, DSUNET_BGR},
        {encodings::RGBA8, DSUNET_RGBA},
        {encodings::BGRA8, DSUNET_BGRA}};
    const auto format = kFormats.find(image.encoding);
    if (format == kFormats.end()) {
      RCLCPP_ERROR_THROTTLE(get_logger(), *get_clock(), 5000,
                            "images are %s: publish rgb8, bgr8, rgba8 or bgra8",
                            image.encoding.c_str());
      return;
    }
    if (image.height == 0 || image.step == 0 || image.data.size() / image.step < image.height) {
      RCLCPP_ERROR_THROTTLE(
          get_logger(), *get_clock(), 5000,
          "an image has fewer bytes than its height and step: publish whole ones");
      return;
    }
    auto mask = std::make_unique<Image>();
    mask->header = image.header;
    mask->height = image.height;
    mask->width = image.width;
    mask->step = image.width;
    mask->encoding = encodings::MONO8;
    mask->data.resize(std::size_t{image.height} * image.width);
    try {
      segmenter_.segment(
          dsunet::frame(format->second, image.data.data(), static_cast<int>(image.width),
                        static_cast<int>(image.height), static_cast<std::ptrdiff_t>(image.step)),
          dsunet::mask(mask->data.data(), 0, threshold_));
    } catch (const dsunet::Error &error) {
      RCLCPP_ERROR_THROTTLE(get_logger(), *get_clock(), 5000, "%s", error.what());
      return;
    }
    publisher_->publish(std::move(mask));
  }

  dsunet::Segmenter segmenter_;
  int threshold_ = 0;
  rclcpp::Publisher<Image>::SharedPtr publisher_;
  rclcpp::Subscription<Image>::SharedPtr subscription_;
};

}  // namespace dsunet_ros

RCLCPP_COMPONENTS_REGISTER_NODE(dsunet_ros::SegmenterNode)
