// The command line of the examples: `PROGRAM FILE... --name VALUE --switch`.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

// The command line is wrong; the message is the usage.
class UsageError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Arguments {
 public:
  // Throws UsageError unless there are `count` positional arguments, and all options are known.
  Arguments(int word_count, char **words, std::size_t count, const std::set<std::string> &options,
            const std::set<std::string> &switches, const std::string &usage)
      : usage_("usage: " + usage) {
    for (int index = 1; index < word_count; ++index) {
      const std::string word = words[index];
      if (options.count(word) != 0 && index + 1 < word_count) {
        values_[word] = words[++index];
      } else if (switches.count(word) != 0) {
        values_[word] = "";
      } else if (word.empty() || word[0] != '-') {
        positionals_.push_back(word);
      } else {
        throw UsageError(usage_);
      }
    }
    if (positionals_.size() != count) throw UsageError(usage_);
  }

  const std::string &operator[](std::size_t index) const { return positionals_[index]; }

  bool has(const std::string &option) const { return values_.count(option) != 0; }

  std::string text(const std::string &option, const std::string &otherwise = "") const {
    const auto found = values_.find(option);
    return found == values_.end() ? otherwise : found->second;
  }

  double number(const std::string &option, double otherwise, double low, double high) const {
    if (!has(option)) return otherwise;
    const std::string value = text(option);
    char *end = nullptr;
    const double result = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0' || !(low <= result && result <= high)) {
      throw UsageError(usage_);
    }
    return result;
  }

  int integer(const std::string &option, int otherwise, int low, int high) const {
    const double result = number(option, otherwise, low, high);
    if (result != std::floor(result)) throw UsageError(usage_);
    return static_cast<int>(result);
  }

 private:
  std::string usage_;
  std::vector<std::string> positionals_;
  std::map<std::string, std::string> values_;
};

// Run a program: its exit code is 0, 1 after an error, or 2 if the command line is wrong.
template <class Body>
int run_program(const char *name, const Body &body) {
  try {
    body();
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
    std::fprintf(stderr, "%s: the output cannot be written: is the disk full?\n", name);
    return 1;
  } catch (const UsageError &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  } catch (const std::bad_alloc &) {
    std::fprintf(stderr, "%s: out of memory: use smaller images or batches\n", name);
    return 1;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}
