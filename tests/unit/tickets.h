// What an admission has answered, taken apart: its ticket, or why there is none.
#pragma once

#include <optional>
#include <utility>
#include <variant>

#include "admission/admission.h"

inline std::optional<sluice::Ticket> ticket_in(std::variant<sluice::Ticket, sluice::Admit> answer) {
  if (std::holds_alternative<sluice::Admit>(answer)) return std::nullopt;
  return std::get<sluice::Ticket>(std::move(answer));
}

inline sluice::Admit refusal(std::variant<sluice::Ticket, sluice::Admit> answer) {
  return std::holds_alternative<sluice::Ticket>(answer) ? sluice::Admit::accepted : std::get<sluice::Admit>(answer);
}
