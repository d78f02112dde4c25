// A server in front of a tracker that keeps what it delivers, for the server's tests. Any thread may look at what was
// delivered; the rest is the test's own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "http/server.h"
#include "http_support.h"
#include "sluice/tracker.h"

namespace http_support {

using sluiced::http::Config;
using sluiced::http::Server;
using Strings = std::vector<std::string>;

// A tracker that keeps what it delivers, and a server in front of it.
struct House {
  explicit House(const std::function<void(Config&, sluice::Options&)>& change = {}) {
    sluice::Options options;
    options.workers = 1;
    Config config;
    config.listen = {{"127.0.0.1", 0, ""}};
    config.pages["/healthz"] = [] { return sluiced::http::Page{200, "text/plain", "ok\n"}; };
    config.pages["/large"] = [] { return sluiced::http::Page{200, "text/plain", std::string(12'000, 'x')}; };
    config.pages["/broken"] = []() -> sluiced::http::Page { throw std::runtime_error("broken"); };
    if (change) change(config, options);
    tracker = std::make_unique<sluice::Tracker>(options, [this](const sluice::Delivery& event) {
      while (held) std::this_thread::yield();
      const std::lock_guard lock(mutex);
      payloads.emplace_back(event.text());
      types.emplace_back(event.content_type);
    });
    config.submit = [to = tracker.get()](auto events, const auto& receipt) { return to->track(events, receipt); };
    server = std::make_unique<Server>(std::move(config));
  }
  ~House() {
    held = false;
    server.reset();
  }

  [[nodiscard]] const std::string& address() const { return server->addresses().front(); }

  // All that was ever taken, in its order.
  std::vector<std::string> delivered() {
    held = false;
    (void)tracker->shutdown(kPatience);
    const std::lock_guard lock(mutex);
    return payloads;
  }

  std::atomic<bool> held{false};
  std::mutex mutex;
  std::vector<std::string> payloads;  // guarded by mutex
  std::vector<std::string> types;     // guarded by mutex
  std::unique_ptr<sluice::Tracker> tracker;
  std::unique_ptr<Server> server;
};

}  // namespace http_support
