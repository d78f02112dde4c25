// The page /metrics: what a scrape by Prometheus gets, in its text format 0.0.4. A pure function of plain values, any
// thread; main collects the values. Names and labels are for good: dashboards and alerts go by them.
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

// What the tracker's metrics do not say.
struct Edge {
  std::map<std::string, std::uint64_t, std::less<>> refused;  // before the tracker saw it, by reason
  std::optional<std::chrono::nanoseconds> drain_left;         // of the stop that is under way
};

[[nodiscard]] std::string metrics_text(const sluice::Metrics& metrics, const Edge& edge);

}  // namespace sluiced::admin
