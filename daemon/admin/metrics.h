// The page /metrics, in Prometheus's text format 0.0.4. A pure function of plain values, any thread; daemon/pages.cc
// collects the values. Names and labels never change: dashboards and alerts use them.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/metrics.h"

namespace sluiced::admin {

inline constexpr std::string_view kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

// Values that the tracker does not have.
struct Edge {
  std::map<std::string, std::uint64_t, std::less<>> refused;  // refused before the tracker, by reason
  std::optional<std::chrono::nanoseconds> drain_left;         // of a stop in progress
};

[[nodiscard]] std::string metrics_text(const sluice::Metrics& metrics, const Edge& edge);

}  // namespace sluiced::admin
