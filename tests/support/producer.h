// A producer that sends one request after another and writes down what it was told, for tests in which each answer
// counts. Where many requests are to be under way at a time, a Load (load.h) is what is wanted.
#pragma once

#include <cstddef>
#include <string>

#include "support/client.h"
#include "support/daemon.h"
#include "support/load.h"

namespace test {

class Producer {
 public:
  // `request` events at a time, numbered from 0, below `most`; `padding` bytes more in each.
  explicit Producer(const Daemon& daemon, std::size_t request = 100, std::size_t padding = 1000,
                    std::size_t most = 200'000);

  // One request; its answer, of status 0 if there was none. Throws once all events are sent.
  [[nodiscard]] Answer post_one();

  // The same to another daemon, as a client that goes on after a restart.
  [[nodiscard]] Answer post_one_to(const Daemon& daemon);

  // Posts until it is answered so: the answer; of another status at the limit.
  [[nodiscard]] Answer post_until(int status, milliseconds limit);

  [[nodiscard]] const Fates& told() const noexcept { return told_; }

 private:
  std::string address_;
  const std::size_t request_, padding_;
  std::size_t next_ = 0;
  Fates told_;
};

}  // namespace test
