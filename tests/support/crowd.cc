// A turn a connection and second, spread evenly over it.
#include "support/crowd.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <functional>
#include <string_view>

#include "support/client.h"

namespace test {
namespace {

constexpr milliseconds kRound{1000};
constexpr std::size_t kStatusLine = std::string_view("HTTP/1.1 nnn").size();

bool wait_until(const std::function<bool()>& holds, milliseconds limit) {
  const auto until = Clock::now() + limit;
  while (!holds()) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(milliseconds(1));  // between looks
  }
  return true;
}

}  // namespace

Crowd::Crowd(const CrowdPlan& plan) : plan_(plan), members_(plan.connections) {
  for (Member& member : members_) {
    member.fd = connect_to(plan_.address, SOCK_STREAM, plan_.receive_bytes);
    ++open_;
    const std::string& text = plan_.at_once;
    if (!text.empty()) (void)::send(member.fd.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

bool Crowd::wait_turns(std::size_t turns, milliseconds limit) const {
  return wait_until([&] { return turns_.load() >= turns || open() == 0; }, limit);
}

bool Crowd::wait_all_closed(milliseconds limit) const {
  return wait_until([&] { return open() == 0; }, limit);
}

std::map<int, std::size_t> Crowd::first_answers() const {
  const std::lock_guard lock(mutex_);
  return answers_;
}

void Crowd::run(const std::stop_token& stop) {
  const auto pace = std::chrono::duration_cast<Clock::duration>(kRound) / members_.size();
  for (;;) {
    const auto begun = Clock::now();
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (stop.stop_requested()) return;
      std::this_thread::sleep_until(begun + i * pace);
      if (members_[i].fd) take_turn(members_[i]);
    }
    ++turns_;
  }
}

void Crowd::take_turn(Member& member) {
  if (!plan_.slowly.empty()) {
    const char byte = plan_.slowly[member.sent++ % plan_.slowly.size()];
    (void)::send(member.fd.get(), &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);  // an end is heard of below
  }
  plan_.sips ? sip(member) : hear(member);
}

void Crowd::hear(Member& member) {
  std::array<char, 65536> bytes;
  for (;;) {
    const ssize_t size = ::recv(member.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) return close(member);
    if (member.heard.size() < kStatusLine) member.heard.append(bytes.data(), static_cast<std::size_t>(size));
  }
}

// Its end is seen before it has read so far.
void Crowd::sip(Member& member) {
  pollfd one{member.fd.get(), POLLRDHUP, 0};
  if (::poll(&one, 1, 0) > 0) return close(member);
  char byte = 0;
  if (::recv(member.fd.get(), &byte, 1, MSG_DONTWAIT) == 1 && member.heard.size() < kStatusLine) member.heard += byte;
}

void Crowd::close(Member& member) {
  const int status = member.heard.size() < kStatusLine ? 0 : std::stoi(member.heard.substr(9, 3));
  {
    const std::lock_guard lock(mutex_);
    ++answers_[status];
  }
  member.fd.reset();
  --open_;
}

}  // namespace test
