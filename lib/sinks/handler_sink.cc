// See the header.
#include "sinks/handler_sink.h"

#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <utility>

#include "sluice/error.h"

namespace sluice {

namespace {

class HandlerSink final : public Sink {
 public:
  explicit HandlerSink(std::shared_ptr<const Handler> handler) : handler_(std::move(handler)) {}

  void deliver(std::span<const Delivery> batch, std::span<Verdict> verdicts, std::stop_token stop) override {
    for (std::size_t i = 0; i < batch.size() && !stop.stop_requested(); ++i) {
      try {
        verdicts[i] = (*handler_)(batch[i]);
      } catch (const std::exception& error) {
        verdicts[i] = {Verdict::try_again, error.what()};
      } catch (...) {
        verdicts[i] = {Verdict::try_again, "the handler threw what is no std::exception"};
      }
    }
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "handler"; }

 private:
  std::shared_ptr<const Handler> handler_;  // owners: all workers' sinks
};

}  // namespace

SinkFactory handler_sinks(Handler handler) {
  if (!handler) throw StartError(StartError::Kind::usage, "handler: must not be empty");
  return [shared = std::make_shared<const Handler>(std::move(handler))](const SinkContext& /*context*/) {
    return std::make_unique<HandlerSink>(shared);
  };
}

}  // namespace sluice
