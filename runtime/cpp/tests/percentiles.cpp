// Prints minimum, median, p90, p95, p99 and mean of its arguments, as the examples compute them.
#include <cstdio>
#include <cstdlib>

#include "../examples/durations.hpp"

int main(int count, char **words) {
  std::vector<double> values;
  for (int index = 1; index < count; ++index) values.push_back(std::strtod(words[index], nullptr));
  const Percentiles found = percentiles_of(values);
  std::printf("%.17g %.17g %.17g %.17g %.17g %.17g\n", found.minimum, found.median, found.p90,
              found.p95, found.p99, found.mean);
}
