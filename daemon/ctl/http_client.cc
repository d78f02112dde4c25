// See the header.
#include "ctl/http_client.h"

#include <curl/curl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include "sluice/version.h"

namespace sluicectl {

namespace {

// Larger than any page of a sluiced with 1024 workers.
constexpr std::size_t kMaxAnswerBytes = std::size_t{8} << 20U;

struct FreeList {
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

void add(HeaderList& list, const std::string& line) {
  curl_slist* const longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  static_cast<void>(list.release());
  list.reset(longer);
}

std::string url_of(const Address& address, std::string_view target) {
  std::string url = "http://";
  if (!address.path.empty()) {
    url += "localhost";
  } else {
    const bool is_v6 = address.host.find(':') != std::string::npos;
    url += is_v6 ? "[" + address.host + "]" : address.host;
    url += ":" + std::to_string(address.port);
  }
  return url.append(target);
}

}  // namespace

std::optional<Address> parse_address(std::string_view text) {
  auto parsed = sluiced::flags::parse_address(text);
  auto* const address = std::get_if<sluiced::flags::Address>(&parsed);
  if (address == nullptr) return std::nullopt;
  return Address{{std::move(*address)}, std::string(text)};
}

std::optional<Url> parse_url(std::string_view text) {
  std::string target = "/v1/events";
  constexpr std::string_view kScheme = "http://";
  if (text.starts_with(kScheme)) {
    text.remove_prefix(kScheme.size());
    const std::size_t slash = std::min(text.find('/'), text.size());
    if (slash + 1 < text.size()) target = text.substr(slash);
    text = text.substr(0, slash);
  }
  const bool clean = std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7F; });
  std::optional<Address> address = parse_address(text);
  if (!address && text.find("://") == std::string_view::npos) address = parse_address(std::string(text) + ":80");
  if (!address || !clean) return std::nullopt;
  return Url{*std::move(address), std::move(target)};
}

struct HttpClient::Transfer {
  CURL* const handle = curl_easy_init();
  std::string body;           // of the answer so far
  bool is_sent = false;       // the head of the request has left, at least in part
  bool is_too_large = false;  // the answer

  Transfer() {
    if (handle == nullptr) throw std::bad_alloc();
  }
  ~Transfer() { curl_easy_cleanup(handle); }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  template <class Value>
  void set(CURLoption option, Value value) {
    const CURLcode code = curl_easy_setopt(handle, option, value);
    if (code == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
    if (code != CURLE_OK) throw std::system_error(ENOTSUP, std::generic_category(), curl_easy_strerror(code));
  }

  // Callbacks of libcurl, on our thread, inside curl_easy_perform().
  static std::size_t take_body(const char* bytes, std::size_t /*one*/, std::size_t size, void* self) noexcept {
    auto& transfer = *static_cast<Transfer*>(self);
    transfer.is_too_large = size > kMaxAnswerBytes - transfer.body.size();
    if (transfer.is_too_large) return 0;  // ends the transfer
    try {
      transfer.body.append(bytes, size);
    } catch (const std::bad_alloc&) {
      return 0;
    }
    return size;
  }
  static int trace(CURL* /*handle*/, curl_infotype kind, char* /*data*/, std::size_t /*size*/, void* self) noexcept {
    if (kind == CURLINFO_HEADER_OUT) static_cast<Transfer*>(self)->is_sent = true;
    return 0;
  }
  // libcurl repeats a request by itself, on a new connection, if a kept one breaks before the first byte of an answer.
  // That request may have been taken, so the new connection is refused.
  static curl_socket_t open_socket(void* self, curlsocktype /*purpose*/, curl_sockaddr* address) noexcept {
    if (static_cast<Transfer*>(self)->is_sent) return CURL_SOCKET_BAD;
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }
};

HttpClient::HttpClient(Address address, std::chrono::milliseconds limit)
    : address_(std::move(address)), limit_(limit), transfer_(std::make_unique<Transfer>()) {}

HttpClient::~HttpClient() = default;

HttpClient::Result HttpClient::ask(std::string_view method, std::string_view target, std::string_view content_type,
                                   std::string_view body, Answer& answer) {
  Transfer& transfer = *transfer_;
  curl_easy_reset(transfer.handle);  // the connection stays
  transfer.body.clear();
  transfer.is_sent = false;
  transfer.is_too_large = false;

  HeaderList headers;
  add(headers, "Expect:");  // no pause before a large body
  add(headers, content_type.empty() ? "Content-Type:" : "Content-Type: " + std::string(content_type));
  if (!field_.empty()) add(headers, field_);
  if (!address_.path.empty()) transfer.set(CURLOPT_UNIX_SOCKET_PATH, address_.path.c_str());
  transfer.set(CURLOPT_URL, url_of(address_, target).c_str());
  transfer.set(CURLOPT_PATH_AS_IS, 1L);
  transfer.set(CURLOPT_PROTOCOLS_STR, "http");
  transfer.set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  transfer.set(CURLOPT_PROXY, "");  // whatever the environment says
  transfer.set(CURLOPT_NOSIGNAL, 1L);
  transfer.set(CURLOPT_HTTPHEADER, headers.get());
  transfer.set(CURLOPT_USERAGENT, ("sluicectl/" + std::string(sluice::version())).c_str());
  transfer.set(CURLOPT_TCP_NODELAY, 1L);  // a body behind its head does not wait for an acknowledgement
  transfer.set(CURLOPT_UPLOAD_BUFFERSIZE, 1L << 20U);
  transfer.set(CURLOPT_TIMEOUT_MS, static_cast<long>(limit_.count()));
  transfer.set(CURLOPT_WRITEFUNCTION, &Transfer::take_body);
  transfer.set(CURLOPT_WRITEDATA, &transfer);
  transfer.set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::open_socket);
  transfer.set(CURLOPT_OPENSOCKETDATA, &transfer);
  transfer.set(CURLOPT_DEBUGFUNCTION, &Transfer::trace);
  transfer.set(CURLOPT_DEBUGDATA, &transfer);
  transfer.set(CURLOPT_VERBOSE, 1L);
  if (method != "GET") {
    transfer.set(CURLOPT_POST, 1L);
    transfer.set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    transfer.set(CURLOPT_POSTFIELDS, body.data());
    transfer.set(CURLOPT_CUSTOMREQUEST, std::string(method).c_str());
  }

  const CURLcode code = curl_easy_perform(transfer.handle);
  if (code == CURLE_OK) {
    long status = 0;
    curl_off_t retry_after = 0;
    curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(transfer.handle, CURLINFO_RETRY_AFTER, &retry_after);
    answer = {.status = static_cast<int>(status), .body = std::move(transfer.body), .retry_after = {}};
    if (retry_after > 0) answer.retry_after = std::chrono::seconds(retry_after);
    return Result::answered;
  }
  long os_error = 0;
  curl_easy_getinfo(transfer.handle, CURLINFO_OS_ERRNO, &os_error);
  std::string why = curl_easy_strerror(code);
  if (code == CURLE_COULDNT_CONNECT && os_error != 0) why = std::generic_category().message(static_cast<int>(os_error));
  if (code == CURLE_OPERATION_TIMEDOUT) why = "no answer in time";
  if (transfer.is_too_large) why = "its answer is larger than 8 MiB";
  if (transfer.is_sent && code == CURLE_COULDNT_CONNECT) why = "closed without an answer";
  error_ = (transfer.is_sent ? "read from " : "connect to ") + address_.shown + ": " + why;
  return transfer.is_sent ? Result::no_answer : Result::no_connection;
}

}  // namespace sluicectl
