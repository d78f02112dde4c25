// Hides the secrets in a URL. Works on URLs as people write them, not on RFC 3986: a password may contain a raw `/`,
// `?` or
// `@`. In doubt it hides more. Pure function; any thread. It does not find a secret in a path, as in some webhooks.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "sluice/sinks.h"
#include "text/ascii.h"

namespace sluice {

namespace {

constexpr std::string_view kHidden = "***";

bool is_alnum(char c) { return is_digit(c) || is_letter(c); }
bool is_in_name(char c) { return is_alnum(c) || c == '_' || c == '-' || c == '.' || c == '%' || c == '[' || c == ']'; }

// Percent signs undone, in lower case, letters and digits alone: `X-Amz-Security-Token` is xamzsecuritytoken.
std::string plain_name(std::string_view name) {
  std::string plain;
  for (std::size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    if (c == '%' && name.size() - i > 2 && hex_value(name[i + 1]) >= 0 && hex_value(name[i + 2]) >= 0) {
      c = static_cast<char>(hex_value(name[i + 1]) * 16 + hex_value(name[i + 2]));
      i += 2;
    }
    if (is_alnum(c)) plain += lower(c);
  }
  return plain;
}

// True if a value of this name is a secret; the name of a file with a secret is not.
bool is_secret(std::string_view written) {
  const std::string name = plain_name(written);
  if (name.ends_with("file") || name.ends_with("path") || name.ends_with("dir")) return false;
  constexpr std::array<std::string_view, 13> kParts{"passw",    "passphrase", "passcode", "pwd",       "secret",
                                                    "token",    "credential", "apikey",   "accesskey", "signature",
                                                    "authoriz", "bearer",     "username"};
  constexpr std::array<std::string_view, 5> kEnds{"pass", "key", "auth", "user", "jwt"};
  constexpr std::array<std::string_view, 5> kWhole{"sig", "login", "session", "sid", "cookie"};
  return std::ranges::any_of(kParts, [&](std::string_view part) { return name.find(part) != std::string::npos; }) ||
         std::ranges::any_of(kEnds, [&](std::string_view end) { return name.ends_with(end); }) ||
         std::ranges::find(kWhole, name) != kWhole.end();
}

// True for HOST or HOST:PORT, or several with commas between them: no part of a password.
bool is_hosts(std::string_view text) {
  while (true) {
    const std::size_t comma = std::min(text.find(','), text.size());
    std::string_view host = text.substr(0, comma);
    const std::size_t bracket = host.starts_with('[') ? host.find(']') : std::string_view::npos;
    if (bracket != std::string_view::npos) host.remove_prefix(bracket + 1);
    const std::size_t colon = std::min(host.find(':'), host.size());
    const std::string_view port = host.substr(std::min(colon + 1, host.size()));
    const bool named = std::ranges::all_of(host.substr(0, colon),
                                           [](char c) { return is_alnum(c) || c == '.' || c == '-' || c == '_'; });
    if (!named || !std::ranges::all_of(port, is_digit)) return false;
    if (comma == text.size()) return true;
    text.remove_prefix(comma + 1);
  }
}

// True for a sink whose URL names a file; a path may contain any character.
bool is_path(std::string_view url) {
  constexpr std::array<std::string_view, 6> kSchemes{"file:", "sqlite:", "stdout:", "null:", "exec:", "run:"};
  return std::ranges::any_of(kSchemes, [&](std::string_view scheme) { return url.starts_with(scheme); });
}

// Appends text; hides the user of a URL within it, percent-encoded or not (`?proxy=http://ann:x@h`).
void put_text(std::string& out, std::string_view text) {
  for (const std::string_view slashes : {"//", "%2F%2F", "%2f%2f"}) {
    const std::size_t begin = text.find(slashes);
    const std::size_t raw = text.rfind('@');
    const std::size_t encoded = text.rfind("%40");
    const std::size_t at = raw == std::string_view::npos       ? encoded
                           : encoded == std::string_view::npos ? raw
                                                               : std::max(raw, encoded);
    if (begin == std::string_view::npos || at == std::string_view::npos || at < begin + slashes.size()) continue;
    out.append(text.substr(0, begin + slashes.size())).append(kHidden).append(text.substr(at));
    return;
  }
  out += text;
}

// Appends the rest of a URL and hides the values of secret names anywhere in it: in a query, after a `#` or a `;`, in
// an argument (`?arg=--token=x`). A value ends at `&`; a part after it without a `=` counts as more of the value.
void put_values(std::string& out, std::string_view rest) {
  bool hid = false;  // the previous parameter
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view parameter = rest.substr(0, end);
    std::size_t secret = std::string_view::npos;  // where the secret value begins
    for (std::size_t equals = parameter.find('='); equals != std::string_view::npos && secret == std::string_view::npos;
         equals = parameter.find('=', equals + 1)) {
      std::size_t begin = equals;
      while (begin > 0 && is_in_name(parameter[begin - 1])) --begin;
      if (is_secret(parameter.substr(begin, equals - begin))) secret = equals + 1;
    }
    const bool goes_on = hid && parameter.find('=') == std::string_view::npos && !parameter.empty();
    hid = secret != std::string_view::npos || goes_on;
    if (goes_on) {
      out += kHidden;
    } else {
      put_text(out, parameter.substr(0, secret));
      if (hid) out += kHidden;
    }
    if (end == rest.size()) return;
    out += '&';
    rest.remove_prefix(end + 1);
  }
}

}  // namespace

std::string redacted(std::string_view url) {
  constexpr auto kNone = std::string_view::npos;
  std::string out;
  const std::size_t slashes = url.find("//");
  const std::size_t question = std::min(url.find_first_of("?#"), url.size());
  const bool has_authority = slashes != kNone && slashes < question;
  const std::size_t begin = has_authority ? slashes + 2 : 0;
  const auto authority_from = [&](std::size_t from) {
    return url.substr(from, std::min(url.find_first_of("/?#", from), url.size()) - from);
  };

  std::size_t from = begin;  // the end of the hidden part
  if (is_path(url)) {
    const std::size_t at = has_authority ? authority_from(begin).rfind('@') : kNone;
    if (at != kNone) from = begin + at + 1;
    const std::size_t values = std::max(question, from);
    out.append(url.substr(0, begin)).append(from > begin ? "***@" : "").append(url.substr(from, values - from));
    put_values(out, url.substr(values));
    return out;
  }
  if (const std::size_t at = url.substr(0, question).rfind('@'); at != kNone && at >= begin) from = at + 1;
  // The rest is not a host: the password contains a `?` or a `#`, or there is no host.
  const bool has_host = has_authority || from > begin;
  if (has_host && !is_hosts(authority_from(from))) {
    const std::size_t at = url.rfind('@');
    from = at != kNone && at >= from ? at + 1 : from + authority_from(from).size();
  }
  out.append(url.substr(0, begin));
  if (from > begin) out.append(kHidden).append(url[from - 1] == '@' ? "@" : "");
  put_values(out, url.substr(from));
  return out;
}

}  // namespace sluice
