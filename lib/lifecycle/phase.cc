// The table of phases: rows are phases, each with an answer to everything that can happen.
#include "sluice/phase.h"

namespace sluice {

Step step(Phase now, Happening what) noexcept {
  using enum Happening;
  const Step ignore{now, Response::ignore};
  switch (now) {
    case Phase::starting:
      switch (what) {
        case ready:
          return {Phase::running, Response::serve};
        case term:
          return {Phase::closing, Response::close_intake};
        case second_term:
          return {Phase::closing, Response::hasten};
        case hup:
          return {Phase::starting, Response::reopen};
        case fault:
          return {Phase::expired, Response::count_kept};
        case door_closed:
        case drained:
        case deadline:
        case reported:
          return ignore;
      }
      break;
    case Phase::running:
      switch (what) {
        case term:
          return {Phase::closing, Response::close_intake};
        case second_term:
          return {Phase::closing, Response::hasten};
        case hup:
          return {Phase::running, Response::reopen};
        case fault:
          return {Phase::closing, Response::close_intake};
        case ready:
        case door_closed:
        case drained:
        case deadline:
        case reported:
          return ignore;
      }
      break;
    case Phase::closing:
      switch (what) {
        case term:
        case second_term:
          return {Phase::closing, Response::hasten};
        case hup:
          return {Phase::closing, Response::reopen};
        case door_closed:
          return {Phase::draining, Response::close_door};
        case deadline:
        case fault:
          return {Phase::expired, Response::count_kept};
        case ready:
        case drained:
        case reported:
          return ignore;
      }
      break;
    case Phase::draining:
      switch (what) {
        case term:
        case second_term:
          return {Phase::draining, Response::hasten};
        case hup:
          return {Phase::draining, Response::reopen};
        case drained:
          return {Phase::stopped, Response::close_queue};
        case deadline:
        case fault:
          return {Phase::expired, Response::count_kept};
        case ready:
        case door_closed:
        case reported:
          return ignore;
      }
      break;
    case Phase::expired:
      switch (what) {
        case reported:
          return {Phase::stopped, Response::leave};
        case hup:
          return {Phase::expired, Response::reopen};
        case ready:
        case term:
        case second_term:
        case door_closed:
        case drained:
        case deadline:
        case fault:
          return ignore;
      }
      break;
    case Phase::stopped:
      switch (what) {
        case reported:
          return {Phase::stopped, Response::leave};
        case ready:
        case term:
        case second_term:
        case hup:
        case door_closed:
        case drained:
        case deadline:
        case fault:
          return ignore;
      }
      break;
  }
  return ignore;
}

std::string_view to_string(Phase phase) noexcept {
  switch (phase) {
    case Phase::starting:
      return "starting";
    case Phase::running:
      return "running";
    case Phase::closing:
      return "closing";
    case Phase::draining:
      return "draining";
    case Phase::expired:
      return "expired";
    case Phase::stopped:
      return "stopped";
  }
  return "?";
}

}  // namespace sluice
