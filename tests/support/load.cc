// The epoll loop of the load.
#include "support/load.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <iterator>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "support/client.h"
#include "support/fd.h"

namespace test {
namespace {

constexpr std::size_t kMostOddities = 5;

struct Sent {
  std::size_t first = 0, count = 0;  // events of one request
};

struct Connection {
  Fd fd;
  std::string out;       // not taken by the kernel yet
  std::size_t done = 0;  // of `out`
  std::string in;
  std::deque<Sent> owed;  // requests whose answers are to come, in order
  bool closing = false;   // `Connection: close` was read: nothing more is sent
  bool wants_out = false;
  bool served = false;  // was answered
  bool reset = false;
};

// The value of a number header, or of a name in a JSON body.
std::size_t number_after(std::string_view text, std::string_view name) {
  const auto at = text.find(name);
  if (at == std::string_view::npos) return std::string_view::npos;
  std::size_t n = 0;
  for (std::size_t i = at + name.size(); i < text.size() && (text[i] == ' ' || (text[i] >= '0' && text[i] <= '9'));
       ++i) {
    if (text[i] != ' ') n = n * 10 + static_cast<std::size_t>(text[i] - '0');
  }
  return n;
}

}  // namespace

class Load::Loop {
 public:
  Loop(Load& load, LoadPlan plan) : load_(load), plan_(std::move(plan)), connections_(plan_.connections) {
    epoll_ = Fd(must(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
    load_.fates_.of.assign(plan_.most_events, Fate::unsent);
    next_ = plan_.first_event;
    end_ = plan_.padding == 0 ? "}" : fmt::format(R"(,"p":"{}"}})", std::string(plan_.padding, 'x'));
    for (std::size_t i = 0; i < connections_.size(); ++i) open(i);
  }

  void run() {
    std::array<epoll_event, 64> events;
    while (open_ > 0 && !load_.abandon_.load()) {
      const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 10);
      if (n == 0 && (load_.stop_.load() || all_sent())) close_idle();
      for (int i = 0; i < n; ++i) serve(events[static_cast<std::size_t>(i)]);
    }
    for (const Fate fate : load_.fates_.of) load_.fates_.unknown += fate == Fate::unknown ? 1 : 0;
  }

 private:
  [[nodiscard]] bool all_sent() const { return next_ >= plan_.most_events; }
  [[nodiscard]] bool may_send() const { return !all_sent() && !load_.stop_.load(std::memory_order_relaxed); }

  // A connection that nobody takes is not opened: the daemon is gone, or goes.
  void open(std::size_t index) {
    Connection& it = connections_[index];
    it = Connection{};
    if (!may_send()) return;
    try {
      it.fd = connect_to(plan_.address, SOCK_STREAM | SOCK_NONBLOCK, plan_.receive_bytes);
    } catch (const std::exception&) {
      return;
    }
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.u64 = index;
    must(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, it.fd.get(), &wanted), "epoll_ctl");
    ++open_;
    want_out(index, true);  // connected once it is writable
  }

  void want_out(std::size_t index, bool want) {
    Connection& it = connections_[index];
    if (it.wants_out == want) return;
    it.wants_out = want;
    epoll_event wanted{};
    wanted.events = want ? EPOLLIN | EPOLLOUT : EPOLLIN;
    wanted.data.u64 = index;
    must(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, it.fd.get(), &wanted), "epoll_ctl");
  }

  // Ended by the peer. One that never bore an answer is not tried again (a peer that only closes would hold us for
  // ever), and may end as it likes: a listener that closes resets those it has not accepted.
  void closed(std::size_t index) {
    Connection& it = connections_[index];
    const bool again = it.served;
    if (it.reset && it.served) ++load_.fates_.resets;
    --open_;
    it = Connection{};
    if (again) open(index);
  }

  void close_idle() {
    for (Connection& it : connections_) {
      if (!it.fd || !it.owed.empty()) continue;
      it = Connection{};
      --open_;
    }
  }

  void serve(const epoll_event& event) {
    const auto index = static_cast<std::size_t>(event.data.u64);
    Connection& it = connections_[index];
    if (!it.fd) return;
    if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0U && !receive(index)) return;
    if (!it.closing) fill(it);
    flush(index);
  }

  // False if the connection is no more.
  bool receive(std::size_t index) {
    Connection& it = connections_[index];
    std::array<char, 65536> bytes;
    const ssize_t n = ::recv(it.fd.get(), bytes.data(), bytes.size(), 0);
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) {
      it.reset = it.reset || (n < 0 && errno == ECONNRESET);
      closed(index);
      return false;
    }
    it.in.append(bytes.data(), static_cast<std::size_t>(n));
    read_answers(it);
    return true;
  }

  void read_answers(Connection& it) {
    std::size_t at = 0;
    while (const std::size_t size = read_answer(it, std::string_view(it.in).substr(at))) at += size;
    it.in.erase(0, at);
    load_.acknowledged_.store(load_.fates_.acknowledged, std::memory_order_relaxed);  // a progress, decides nothing
  }

  // The size of the answer that `text` begins with; 0 if it is not there as a whole.
  std::size_t read_answer(Connection& it, std::string_view text) {
    const auto head_size = text.find("\r\n\r\n");
    if (head_size == std::string_view::npos) return 0;
    const std::string_view head = text.substr(0, head_size + 2);
    const std::size_t length = number_after(head, "\r\nContent-Length:");
    if (length == std::string_view::npos) return odd(text.substr(0, head_size));
    if (text.size() < head_size + 4 + length) return 0;
    const int status = static_cast<int>(number_after(head, "HTTP/1.1"));
    if (it.owed.empty()) return odd(text.substr(0, head_size));
    const Sent sent = it.owed.front();
    it.owed.pop_front();
    ++load_.fates_.answers[status];
    it.served = true;
    if (status == 202 && number_after(text.substr(head_size + 4, length), "\"accepted\":") != sent.count) odd(text);
    decide(sent, status == 202 ? Fate::acknowledged : status == 500 ? Fate::unknown : Fate::refused);
    if (head.find("\r\nConnection: close\r\n") != std::string_view::npos) it.closing = true;
    return head_size + 4 + length;
  }

  // Whatever this is, nothing after it can be read.
  std::size_t odd(std::string_view text) {
    if (load_.fates_.oddities.size() < kMostOddities) load_.fates_.oddities.emplace_back(text.substr(0, 500));
    return 0;
  }

  void decide(Sent sent, Fate fate) {
    const auto first = load_.fates_.of.begin() + static_cast<std::ptrdiff_t>(sent.first);
    std::fill_n(first, sent.count, fate);
    switch (fate) {
      case Fate::acknowledged:
        load_.fates_.acknowledged += sent.count;
        break;
      case Fate::refused:
        load_.fates_.refused += sent.count;
        break;
      case Fate::unsent:
      case Fate::unknown:
        break;
    }
  }

  // As many requests as the mode keeps under way.
  void fill(Connection& it) {
    const std::size_t depth = plan_.mode == Mode::pipelined ? plan_.depth : 1;
    while (it.owed.size() < depth && may_send()) {
      Sent sent{next_, plan_.mode == Mode::ndjson ? std::min(plan_.batch, plan_.most_events - next_) : 1};
      next_ += sent.count;
      body_.clear();
      for (std::size_t k = sent.first; k < sent.first + sent.count; ++k) {
        fmt::format_to(std::back_inserter(body_), "{{\"k\":{}{}", k, end_);
        if (plan_.mode == Mode::ndjson) body_ += '\n';
      }
      it.out += post(plan_.mode == Mode::ndjson ? "application/x-ndjson" : "application/json", body_);
      it.owed.push_back(sent);
      decide(sent, Fate::unknown);
    }
  }

  void flush(std::size_t index) {
    Connection& it = connections_[index];
    while (it.done < it.out.size()) {
      const ssize_t n = ::send(it.fd.get(), it.out.data() + it.done, it.out.size() - it.done, MSG_NOSIGNAL);
      if (n < 0) {
        // An error is told once, here or to the reader; the reader goes on to the end of what has arrived.
        it.reset = it.reset || errno == ECONNRESET || errno == EPIPE;
        want_out(index, errno == EAGAIN);
        return;
      }
      it.done += static_cast<std::size_t>(n);
    }
    it.out.clear();
    it.done = 0;
    want_out(index, false);
  }

  Load& load_;
  const LoadPlan plan_;
  Fd epoll_;
  std::vector<Connection> connections_;
  std::size_t open_ = 0;
  std::size_t next_ = 0;  // the first event that was not sent
  std::string end_;       // of each payload
  std::string body_;
};

Load::Load(const LoadPlan& plan) {
  thread_ = std::jthread([this, plan] {
    try {
      Loop(*this, plan).run();
    } catch (const std::exception& error) {
      fates_.oddities.emplace_back(error.what());
    }
    ended_.store(true);
    ended_.notify_all();
  });
}

Load::~Load() { abandon_.store(true); }

bool Load::wait_acknowledged(std::size_t events, milliseconds limit) const {
  const auto until = Clock::now() + limit;
  while (acknowledged_.load() < events && !ended_.load()) {
    if (Clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));  // between looks; the count is what is waited for
  }
  return acknowledged_.load() >= events;
}

const Fates& Load::fates(milliseconds limit) {
  const auto until = Clock::now() + limit;
  while (!ended_.load()) {
    if (Clock::now() > until) throw std::runtime_error("the load found no end");
    std::this_thread::sleep_for(std::chrono::microseconds(100));  // as above
  }
  return fates_;
}

}  // namespace test
