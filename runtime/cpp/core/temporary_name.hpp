// Names of temporary files, which Python uses too (files.py): either removes those of killed
// processes.
#pragma once

#include <cstdio>
#include <random>
#include <string>

namespace dsunet_runtime {

// A random name in a folder: FOLDER/.dsunet-….tmp.
inline std::string temporary_name(const std::string &folder) {
  std::random_device random;
  std::string name = folder + "/.dsunet-";
  for (int word = 0; word < 4; ++word) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(random()));
    name += digits;
  }
  return name + ".tmp";
}

}  // namespace dsunet_runtime
