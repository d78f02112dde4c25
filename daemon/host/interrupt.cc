// One flag, set by the handler.
#include "host/interrupt.h"

#include <csignal>
#include <initializer_list>

namespace sluiced::host {

namespace {

volatile std::sig_atomic_t heard = 0;

}  // namespace

void catch_interrupts() noexcept {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    if (::sigaction(number, nullptr, &before) != 0 || before.sa_handler == SIG_IGN) continue;
    struct sigaction action {};
    action.sa_handler = [](int) {
      heard = 1;
      for (const int any : {SIGINT, SIGTERM, SIGHUP}) std::signal(any, SIG_DFL);  // the second one ends the process
    };
    action.sa_flags = SA_RESTART;
    ::sigemptyset(&action.sa_mask);
    static_cast<void>(::sigaction(number, &action, nullptr));
  }
}

bool interrupted() noexcept { return heard != 0; }

}  // namespace sluiced::host
