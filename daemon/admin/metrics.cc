// Builds the metric families of one scrape for prometheus-cpp's serializer, which only this file uses. All families
// exist from the first scrape on, at 0: a rate needs a value before the first event, and an alert needs a series.
#include "admin/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace sluiced::admin {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

ClientMetric counted(std::uint64_t value, std::vector<ClientMetric::Label> labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.counter.value = static_cast<double>(value);
  return metric;
}

MetricFamily counter(std::string name, std::string help, std::uint64_t value) {
  return {std::move(name), std::move(help), MetricType::Counter, {counted(value)}};
}

MetricFamily gauge(std::string name, std::string help, double value) {
  ClientMetric metric;
  metric.gauge.value = value;
  return {std::move(name), std::move(help), MetricType::Gauge, {std::move(metric)}};
}

// A double holds these integers exactly, up to 2^53.
MetricFamily gauge(std::string name, std::string help, std::uint64_t value) {
  return gauge(std::move(name), std::move(help), static_cast<double>(value));
}

MetricFamily histogram(std::string name, std::string help, const sluice::Histogram& from) {
  ClientMetric metric;
  metric.histogram.sample_sum = from.sum;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < from.counts.size(); ++i) {
    below += from.counts[i];
    const bool is_last = i == from.bounds.size();
    metric.histogram.bucket.push_back({below, is_last ? std::numeric_limits<double>::infinity() : from.bounds[i]});
  }
  metric.histogram.sample_count = below;
  return {std::move(name), std::move(help), MetricType::Histogram, {std::move(metric)}};
}

MetricFamily refused(const sluice::Refused& by_tracker, const Edge& edge) {
  auto all = edge.refused;
  all["full"] += by_tracker.full;
  all["too_large"] += by_tracker.too_large;
  all["closed"] += by_tracker.closed;
  all["failed"] += by_tracker.failed;
  all["unknown"] += by_tracker.unknown;
  MetricFamily family{"sluice_refused_total",
                      "Events refused, by answer; a request that could not be read counts as one",
                      MetricType::Counter,
                      {}};
  for (const auto& [reason, count] : all) family.metric.push_back(counted(count, {{"reason", reason}}));
  return family;
}

MetricFamily worker_busy(const std::vector<std::chrono::nanoseconds>& busy) {
  MetricFamily family{"sluice_worker_busy_seconds_total",
                      "Time that a worker has spent in its sink, including the current call",
                      MetricType::Counter,
                      {}};
  for (std::size_t i = 0; i < busy.size(); ++i) {
    ClientMetric metric = counted(0, {{"worker", std::to_string(i)}});
    metric.counter.value = seconds(busy[i]);
    family.metric.push_back(std::move(metric));
  }
  return family;
}

}  // namespace

std::string metrics_text(const sluice::Metrics& metrics, const Edge& edge) {
  const sluice::Books& books = metrics.books;
  const double left = edge.drain_left ? std::max(0.0, seconds(*edge.drain_left))
                                      : std::numeric_limits<double>::quiet_NaN();  // NaN: every comparison is false
  return prometheus::TextSerializer().Serialize({
      counter("sluice_accepted_total", "Events accepted, including those taken over from the run before",
              books.accepted),
      counter("sluice_delivered_total", "Events that the sink holds", books.delivered),
      counter("sluice_dead_total", "Events refused for good, now dead letters", books.dead),
      counter("sluice_lost_total", "Events accepted and gone; the log gives the reason each time", books.lost),
      counter("sluice_replayed_total", "Events taken over from the run before", books.replayed),
      gauge("sluice_kept",
            "Events accepted and not finished, in memory and on disk: accepted - delivered - dead - lost", books.kept),
      refused(metrics.refused, edge),
      gauge("sluice_queue_events", "Events in memory, accepted and not finished", metrics.queue_events),
      gauge("sluice_queue_bytes", "Memory charged for events", metrics.queue_bytes),
      gauge("sluice_in_flight", "Events in sinks, of those in memory", metrics.in_flight),
      gauge("sluice_retry_events", "Events that wait for another attempt, of those in memory", metrics.retry_events),
      gauge("sluice_sink_failing", "Whether the sink takes nothing at the moment: 1 or 0",
            metrics.sink_failing ? 1.0 : 0.0),
      gauge("sluice_journal_bytes", "Disk of journal and dead letters, including reserved space",
            metrics.journal_bytes),
      gauge("sluice_journal_unreadable_bytes", "Bytes of the journal that the disk failed to read, in this run",
            metrics.journal_unreadable),
      gauge("sluice_workers", "Workers, each with a sink of its own", metrics.worker_busy.size()),
      worker_busy(metrics.worker_busy),
      histogram("sluice_batch_events", "Events in each call of a sink", metrics.batch_events),
      histogram("sluice_sink_seconds", "Time of each call of a sink", metrics.sink_seconds),
      histogram("sluice_commit_seconds",
                "Time of each commit to the journal: a write and, with --ack synced, a sync for all waiting requests",
                metrics.commit_seconds),
      gauge("sluice_drain_seconds_left", "Time until the deadline of a stop in progress; NaN without one", left),
  });
}

}  // namespace sluiced::admin
