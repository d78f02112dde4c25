// CloudEvents: what is an event, and that binary mode reads as the same event in the JSON format. The examples are
// those of the specification, version 1.0.2, and are cited as: [spec] spec.md, [json] formats/json-format.md, [http]
// bindings/http-protocol-binding.md, all of https://github.com/cloudevents/spec.
#include "http/cloud_events.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "http/json_check.h"
#include "support/json_members.h"
#include "support/json_texts.h"

namespace {

using sluiced::http::Budget;
using sluiced::http::ChargedBytes;
using sluiced::http::check_cloud_batch;
using sluiced::http::check_cloud_event;
using sluiced::http::check_json;
using sluiced::http::CloudBatch;
using sluiced::http::CloudFault;
using sluiced::http::Field;
using test::Members;
using test::members_of;

constexpr std::size_t kLimit = std::size_t{256} << 10U;

std::string complaint(std::string_view text) {
  const CloudFault fault = check_cloud_event(text);
  return fault ? fault.detail : "an event";
}

// An event with the required attributes, and these members.
std::string event_with(const std::string& members) {
  return R"({"specversion":"1.0","id":"1","source":"/s","type":"t")" + (members.empty() ? "" : "," + members) + "}";
}

using Fields = std::vector<Field>;
const Fields kRequired = {{"ce-specversion", "1.0"}, {"ce-id", "1"}, {"ce-source", "/s"}, {"ce-type", "t"}};

Fields required_and(const Fields& more) {
  Fields fields = kRequired;
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

// A message in binary mode, as an event in the JSON format or as what is wrong with it.
struct Converted {
  int status = 0;
  std::string detail, text;
};
Converted convert(const Fields& fields, std::string_view content_type, std::string_view body,
                  std::size_t limit = kLimit, std::size_t room = std::size_t{16} << 20U) {
  Budget budget(room);
  ChargedBytes out(budget);
  CloudFault fault = put_attributes(fields, content_type, out);
  if (!fault) fault = put_data(content_type, body, limit, out);
  if (fault) return {fault.status, fault.detail, ""};
  Converted made{0, "", std::string(out.view())};
  CHECK_FALSE(check_json(made.text));
  CHECK(complaint(made.text) == "an event");
  return made;
}

Members members_of_binary(const Fields& fields, std::string_view content_type, std::string_view body) {
  const Converted made = convert(fields, content_type, body);
  REQUIRE_MESSAGE(made.status == 0, made.detail);
  return members_of(made.text);
}

// The value of one attribute whose field has this value; or what is wrong.
std::string decoded(std::string_view value) {
  const Converted made = convert(required_and({{"ce-x", value}}), "", "");
  return made.status == 0 ? members_of(made.text).at("x") : made.detail;
}

// Data of this type: the member that it becomes, and its value.
std::string data_of(std::string_view content_type, std::string_view body) {
  const Converted made = convert(kRequired, content_type, body);
  if (made.status != 0) return made.detail;
  Members members = members_of(made.text);
  CHECK(members.contains("datacontenttype") == !content_type.empty());
  if (!content_type.empty()) CHECK(members["datacontenttype"] == "text " + std::string(content_type));
  for (const char* name : {"data", "data_base64"}) {
    if (members.contains(name)) return std::string(name) + ": " + members[name];
  }
  return "no data";
}

// [json] 3.2: an event in both modes. The specification leaves the Base64 open; ours is of the bytes 0 to 4.
struct Example {
  const char* what;
  const char* structured;
  Fields fields;
  const char* content_type;
  std::string body;
};

Fields example_fields(std::string_view id) {
  return {{"ce-specversion", "1.0"},           {"ce-type", "com.example.someevent"},
          {"ce-source", "/mycontext"},         {"ce-id", id},
          {"ce-time", "2018-04-05T17:31:00Z"}, {"ce-comexampleextension1", "value"},
          {"ce-comexampleothervalue", "5"}};
}

std::vector<Example> examples() {
  return {
      {"binary data", R"({
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "id" : "A234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "datacontenttype" : "application/vnd.apache.thrift.binary",
    "data_base64" : "AAECAwQ="
})",
       example_fields("A234-1234-1234"), "application/vnd.apache.thrift.binary", std::string("\0\1\2\3\4", 5)},
      {"XML as a string", R"({
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "id" : "B234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "unsetextension": null,
    "datacontenttype" : "application/xml",
    "data" : "<much wow=\"xml\"/>"
})",
       example_fields("B234-1234-1234"), "application/xml", R"(<much wow="xml"/>)"},
      {"JSON", R"({
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "subject": null,
    "id" : "C234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "datacontenttype" : "application/json",
    "data" : {
        "appinfoA" : "abc",
        "appinfoB" : 123,
        "appinfoC" : true
    }
})",
       example_fields("C234-1234-1234"), "application/json",
       "{\n  \"appinfoA\" : \"abc\",\n  \"appinfoB\" : 123,\n  \"appinfoC\" : true\n}\n"},
      {"a string of JSON without a type", R"({
    "specversion" : "1.0",
    "type" : "com.example.someevent",
    "source" : "/mycontext",
    "subject": null,
    "id" : "D234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "data" : "I'm just a string"
})",
       example_fields("D234-1234-1234"), "application/json", R"("I'm just a string")"},
  };
}

// [json] 4.3, with the Base64 filled in as above.
constexpr std::string_view kBatchExample = R"([
  {
      "specversion" : "1.0",
      "type" : "com.example.someevent",
      "source" : "/mycontext/4",
      "id" : "B234-1234-1234",
      "time" : "2018-04-05T17:31:00Z",
      "comexampleextension1" : "value",
      "comexampleothervalue" : 5,
      "datacontenttype" : "application/vnd.apache.thrift.binary",
      "data_base64" : "AAECAwQ="
  },
  {
      "specversion" : "1.0",
      "type" : "com.example.someotherevent",
      "source" : "/mycontext/9",
      "id" : "C234-1234-1234",
      "time" : "2018-04-05T17:31:05Z",
      "comexampleextension1" : "value",
      "comexampleothervalue" : 5,
      "datacontenttype" : "application/json",
      "data" : {
          "appinfoA" : "abc",
          "appinfoB" : 123,
          "appinfoC" : true
      }
  }
])";

}  // namespace

TEST_CASE("cloud events: the examples of the specification are events") {
  for (const Example& example : examples()) {
    INFO(example.what);
    CHECK(complaint(example.structured) == "an event");
  }
  CHECK(complaint(R"({
    "specversion" : "1.0",
    "type" : "com.github.pull_request.opened",
    "source" : "https://github.com/cloudevents/spec/pull",
    "subject" : "123",
    "id" : "A234-1234-1234",
    "time" : "2018-04-05T17:31:00Z",
    "comexampleextension1" : "value",
    "comexampleothervalue" : 5,
    "datacontenttype" : "text/xml",
    "data" : "<much wow=\"xml\"/>"
})") == "an event");  // [spec] Example
  CHECK_FALSE(check_cloud_batch(kBatchExample));
  CHECK_FALSE(check_cloud_batch("[]"));
}

TEST_CASE("cloud events: the specification's examples say the same in binary mode as in the JSON format") {
  for (const Example& example : examples()) {
    INFO(example.what);
    Members wanted = members_of(example.structured);
    std::erase_if(wanted, [](const auto& member) { return member.second == "null"; });  // unset, so there is no field
    wanted["comexampleothervalue"] = "text 5";                                          // a field is text
    wanted["datacontenttype"] = std::string("text ") + example.content_type;            // explicit in binary mode
    CHECK(members_of_binary(example.fields, example.content_type, example.body) == wanted);
  }
}

TEST_CASE("cloud events: the binding's example of binary mode is an event, its names in any case") {
  // [http] 3.1.4, with some data.
  const Members wanted = {{"specversion", "text 1.0"},
                          {"type", "text com.example.someevent"},
                          {"time", "text 2018-04-05T03:56:24Z"},
                          {"id", "text 1234-1234-1234"},
                          {"source", "text /mycontext/subcontext"},
                          {"datacontenttype", "text application/json; charset=utf-8"},
                          {"data", "object {\"a\":1}"}};
  Fields fields = {{"ce-specversion", "1.0"},
                   {"ce-type", "com.example.someevent"},
                   {"ce-time", "2018-04-05T03:56:24Z"},
                   {"ce-id", "1234-1234-1234"},
                   {"ce-source", "/mycontext/subcontext"}};
  CHECK(members_of_binary(fields, "application/json; charset=utf-8", "{\"a\": 1}") == wanted);
  fields[0].name = "CE-SpecVersion";
  fields[4].name = "Ce-SOURCE";
  CHECK(members_of_binary(fields, "application/json; charset=utf-8", "{\"a\": 1}") == wanted);
  for (const char* name : {"ce-id", "CE-ID", "Ce-x", "ce-"}) CHECK(sluiced::http::is_cloud_event_field(name));
  for (const char* name : {"", "c", "ce", "cf-ray", "x-ce-id", "ceid"})
    CHECK_FALSE(sluiced::http::is_cloud_event_field(name));
}

TEST_CASE("cloud events: a field's value is unquoted, then percent-decoded once, and must be UTF-8") {
  CHECK(decoded("Euro%20%E2%82%AC%20%F0%9F%98%80") == "text Euro € 😀");  // [http] 3.1.3.2
  CHECK(decoded("Euro%20%e2%82%ac%20%f0%9f%98%80") == "text Euro € 😀");
  CHECK(decoded("%41%2d%7e") == "text A-~");  // needlessly encoded
  CHECK(decoded("%2541") == "text %41");      // one round
  CHECK(decoded("a+b, c=d; (e)") == "text a+b, c=d; (e)");
  CHECK(decoded("") == "text ");
  CHECK(decoded("\"two words\"") == "text two words");  // as before 1.0.1
  CHECK(decoded(R"("a \"b\" \\ \c%20d")") == R"(text a "b" \ c d)");
  CHECK(decoded("\"\"") == "text ");
  CHECK(decoded(R"(say "hi")") == R"(text say "hi")");
  CHECK(decoded(R"(a\b)") == R"(text a\b)");
  CHECK(decoded("%22%5C%0A%1F%7F") == "text \"\\\n\x1f\x7f");
  CHECK(convert(required_and({{"ce-x", "%00"}}), "", "").text.ends_with(R"(,"x":"\u0000"})"));

  for (const char* value : {"%C0%A0", "%ED%A0%80", "%F4%90%80%80", "%E2%82", "%FF", "%80", "50%ab", "caf\xc3\xa9%ff"}) {
    CAPTURE(value);
    CHECK(decoded(value) == "the attribute x is not percent-encoded UTF-8");
  }
}

TEST_CASE("cloud events: a field's value that is written as text is taken as text") {
  // As the SDKs for Go, Java and JavaScript write them.
  for (const std::string value : {"100%", "50% off", "%", "%%", "a%", "%4", "%4g", "%g4", "% 41", "%-1", "caf\xc3\xa9",
                                  "Z\xc3\xbcrich", "\"a", R"("a\")", R"("a" b)", R"("a""b")"}) {
    CAPTURE(value);
    CHECK(decoded(value) == "text " + value);
  }
  CHECK(decoded("caf\xc3\xa9%20%E2%82%AC 5%") == "text caf\xc3\xa9 € 5%");
  CHECK(decoded("%25%32%35") == "text %25");  // one round
  CHECK(decoded("%2%35") == "text %25");      // and no escape out of what is decoded
  CHECK(decoded("a\tb") == "text a\tb");
  // Node sends what is not ASCII in ISO 8859-1.
  CHECK(decoded("caf\xe9 \xff%20%C3%A9") == "text caf\xc3\xa9 \xc3\xbf \xc3\xa9");
}

TEST_CASE("cloud events: what lacks a required attribute is refused by its name, in each mode") {
  const Members whole = {{"specversion", "1.0"}, {"id", "1"}, {"source", "/s"}, {"type", "t"}};
  for (const auto& [lacking, ignored] : whole) {
    CAPTURE(lacking);
    for (const bool empty : {false, true}) {
      std::string text = R"({"subject":"s")";
      Fields fields = {{"ce-subject", "s"}};
      std::vector<std::string> names;
      names.reserve(whole.size());
      for (const auto& [name, value] : whole) {
        if (name == lacking && !empty) continue;
        const std::string_view said = name == lacking ? "" : std::string_view(value);
        text.append(",\"").append(name).append("\":\"").append(said).append("\"");
        fields.push_back({names.emplace_back("ce-" + name), said});
      }
      const std::string wanted = "the attribute " + lacking + (empty ? " is empty" : " is missing");
      CHECK(complaint(text + "}") == wanted);
      const Converted made = convert(fields, "text/plain", "x");
      CHECK(made.status == 400);
      CHECK(made.detail == wanted);
    }
  }
  CHECK(complaint("{}") == "the attribute specversion is missing");
  CHECK(complaint(R"({"specversion":"1.0","id":null,"source":"/","type":"t"})") == "the attribute id is missing");
  CHECK(complaint(R"({"specversion":"1.0","data":{"id":"1"},"source":"/","type":"t"})") ==
        "the attribute id is missing");
  CHECK(convert({{"ce-id", "1"}}, "", "").detail == "the attribute specversion is missing");
}

TEST_CASE("cloud events: another version of the specification is refused") {
  for (const char* version : {"0.3", "1.1", "1", "1.00", " 1.0", "2.0"}) {
    CAPTURE(version);
    CHECK(complaint(std::string(R"({"id":"1","source":"/s","type":"t","specversion":")") + version + "\"}") ==
          "the attribute specversion is not 1.0");
    CHECK(convert({{"ce-id", "1"}, {"ce-source", "/"}, {"ce-type", "t"}, {"ce-specversion", version}}, "", "").detail ==
          "the attribute specversion is not 1.0");
  }
  CHECK(complaint(R"({"id":"1","source":"/s","type":"t","specversion":1.0})") ==
        "the attribute specversion is not a string");
}

TEST_CASE("cloud events: attributes are strings, integers of 32 bits and booleans, and null is none") {
  for (const char* value : {"\"\"", "\"text\"", R"("\ud800 \u0000")", "true", "false", "null", "0", "-0", "5",
                            "2147483647", "-2147483648"}) {
    CAPTURE(value);
    CHECK(complaint(event_with("\"x\":" + std::string(value))) == "an event");
  }
  for (const char* value : {"2147483648", "-2147483649", "1.0", "1e2", "123456789012345678901234567890", "-1E5"}) {
    CAPTURE(value);
    CHECK(complaint(event_with("\"x\":" + std::string(value))) == "the attribute x is not an integer of 32 bits");
  }
  for (const char* value : {"{}", "[]", "[1]", R"({"a":1})"}) {
    CAPTURE(value);
    CHECK(complaint(event_with("\"x\":" + std::string(value))) ==
          "the attribute x is an object or a list: attributes are strings, integers and booleans");
  }
  for (const char* name : {"subject", "time", "dataschema", "datacontenttype"}) {
    CAPTURE(name);
    const std::string member = std::string("\"") + name + "\":";
    const std::string the_attribute = std::string("the attribute ") + name;
    CHECK(complaint(event_with(member + "\"x\"")) == "an event");
    CHECK(complaint(event_with(member + "null")) == "an event");
    CHECK(complaint(event_with(member + "1")) == the_attribute + " is not a string");
    CHECK(complaint(event_with(member + "[]")) == the_attribute + " is not a string");
    CHECK(complaint(event_with(member + "\"\"")) == the_attribute + " is empty");
  }
}

TEST_CASE("cloud events: an attribute's name is lower-case letters and digits") {
  for (const char* name : {"a", "0", "a0z9", "abcdefghijklmnopqrstuvwxyz0123456789", "\\u0061bc"}) {
    CAPTURE(name);
    CHECK(complaint(event_with("\"" + std::string(name) + "\":1")) == "an event");
  }
  for (const char* name : {"", "A", "aB", "a_b", "a-b", "a b", "a.b", "é", "data_base65", "\\u0041", "a\\b", "a\\f",
                           "a\\n", "a\\r", "a\\t", "a\\/", "a\\\"b"}) {
    CAPTURE(name);
    const std::string said = complaint(event_with("\"" + std::string(name) + "\":1"));
    CHECK(said.find("is not the name of an attribute") != std::string::npos);
    CHECK_FALSE(check_json("\"" + said + "\""));  // stands in an answer as it is
  }
  for (const char* name :
       {"ce-", "ce-a-b", "ce-a_b", "ce-data", "ce-data_base64", "ce-a.b", "ce-a|b", "ce-\\u0061", "ce-\\"}) {
    CAPTURE(name);
    const Converted made = convert(required_and({{name, "x"}}), "", "");
    CHECK(made.status == 400);
    CHECK(made.detail.find("is not the name of an attribute") != std::string::npos);
    CHECK_FALSE(check_json("\"" + made.detail + "\""));
  }
  CHECK(convert(required_and({{"ce-datacontenttype", "text/plain"}}), "text/plain", "").detail ==
        "the datacontenttype is the Content-Type, not a field of its own");
  const std::string said = complaint(event_with("\"" + std::string(100'000, 'X') + "\":1"));
  CHECK(said.size() < 200);
}

TEST_CASE("cloud events: a name that is written with escapes is what it means") {
  CHECK(
      complaint(R"({"\u0069d":"1","sour\u0063e":"/s","t\u0079pe":"t","s\u0070ecversion":"1\u002e0","d\u0061ta":1})") ==
      "an event");
  // Not i, for which its last byte alone would stand.
  CHECK(complaint(event_with(R"("\u0169":1)")) ==
        "'?u0169' is not the name of an attribute: lower-case letters and "
        "digits, not data");
  CHECK(complaint(event_with(R"("\u0049":1)")).starts_with("'?u0049' is not the name"));
  CHECK(complaint(event_with(R"("a\nb":1)")).starts_with("'a?nb' is not the name"));
  CHECK(complaint(event_with(R"("\u0000":1)")).starts_with("'?u0000' is not the name"));
}

TEST_CASE("cloud events: a member that is there twice is refused, however its name is written") {
  CHECK(complaint(event_with(R"("x":1,"x":1)")) == "the member x is there twice");
  CHECK(complaint(event_with(R"("x":null,"y":1,"x":1)")) == "the member x is there twice");
  CHECK(complaint(event_with(R"("id":"1")")) == "the member id is there twice");
  CHECK(complaint(event_with(R"("\u0069\u0064":"1")")) == "the member id is there twice");
  CHECK(complaint(event_with(R"("xy":1,"\u0078y":2,"x\u0079":3)")).ends_with(" is there twice"));
  CHECK(complaint(event_with(R"("data":1,"data":1)")) == "the member data is there twice");
  CHECK(complaint(event_with(R"("data_base64":"","data_base64":null)")) == "the member data_base64 is there twice");
  CHECK(convert(required_and({{"ce-X", "1"}, {"ce-x", "1"}}), "", "").detail == "the member x is there twice");
  // Names that only begin alike are none, nor what data holds.
  CHECK(complaint(event_with(R"("x":1,"xx":1,"x1":1,"\u0078\u0032":1)")) == "an event");
  CHECK(complaint(event_with(R"("data":{"x":1,"x":2})")) == "an event");
}

TEST_CASE("cloud events: names with escapes mean what they say") {
  CHECK(complaint(R"({"spec\u0076ersion":"1\u002e0","\u0069d":"1","source":"\/s","t\u0079pe":"t","d\u0061ta":{}})") ==
        "an event");
  CHECK(complaint(event_with(R"("d\u0061ta":{},"data_\u0062ase64":"")")) ==
        "an event has data or data_base64, not both");
}

TEST_CASE("cloud events: data may be any value, data_base64 is Base64, and there is one of them") {
  for (const test::JsonText& good : test::json_texts()) {
    INFO(good.what);
    const bool fits = good.what.find("1024 deep") == std::string::npos;
    CHECK((complaint(event_with("\"data\":" + good.text)) == "an event") == fits);
  }
  for (const test::JsonText& bad : test::no_json_texts()) {
    if (bad.text.find("1,") != std::string::npos || bad.text.ends_with("]"))
      continue;  // may make sense with what follows
    INFO(bad.what);
    CHECK(complaint(event_with("\"data\":" + bad.text)) != "an event");
  }
  for (const char* value : {"", "AA==", "AAE=", "AAEC", "+/+/", "AAEC\\/w==", "\\u0041A==", "zzzz"}) {
    CAPTURE(value);
    CHECK(complaint(event_with("\"data_base64\":\"" + std::string(value) + "\"")) == "an event");
  }
  for (const char* value : {"A", "AA", "AAA", "AA=", "A===", "====", "=", "AA==AA==", "AA=A", "AAEC=", "-_-_",
                            "AA ==", "AAEC\\n", "\\n", "AAE\\u00e9", "é===", "... base64 encoded string ..."}) {
    CAPTURE(value);
    CHECK(complaint(event_with("\"data_base64\":\"" + std::string(value) + "\"")) ==
          "data_base64 is not a string in Base64");
  }
  for (const char* value : {"1", "true", "[]", "{}"})
    CHECK(complaint(event_with("\"data_base64\":" + std::string(value))) == "data_base64 is not a string in Base64");
  CHECK(complaint(event_with(R"("data":1,"data_base64":"AAEC")")) == "an event has data or data_base64, not both");
  CHECK(complaint(event_with(R"("data_base64":"","data":null)")) == "an event has data or data_base64, not both");
  CHECK(complaint(event_with(R"("data":1,"data_base64":null)")) == "an event");
}

TEST_CASE("cloud events: only an object is an event, only a list is a batch") {
  for (const char* text : {"null", "1", "\"{}\"", "[]", "[{}]"}) {
    CAPTURE(text);
    CHECK(complaint(text) == "an event is a JSON object");
  }
  for (const char* text : {"null", "1", "\"[]\"", "{}"}) {
    CAPTURE(text);
    CHECK(check_cloud_batch(text).detail == "a batch is a JSON array");
  }
  CHECK(complaint("{\"id\":") == "the text ends early");
  CHECK(check_cloud_batch("[{}").detail == "the text ends early");
  CHECK(check_cloud_batch("[{},]").status == 400);
  CHECK(complaint(" \n" + event_with("") + "\r\n\t ") == "an event");
}

TEST_CASE("cloud events: a batch gives back its elements to the letter") {
  const auto elements = [](std::string_view text) {
    REQUIRE_FALSE(check_cloud_batch(text));
    std::vector<std::string> found;
    for (CloudBatch batch(text); const auto element = batch.next();) found.emplace_back(*element);
    return found;
  };
  using Strings = std::vector<std::string>;
  CHECK(elements("[]").empty());
  CHECK(elements(" [ \n ] ").empty());
  CHECK(elements("[1]") == Strings{"1"});
  CHECK(elements(" [ {} , [ ],\"a,]\\\"[\\\\\" ,null, -1.5e+30 ,true] ") ==
        Strings{"{}", "[ ]", "\"a,]\\\"[\\\\\"", "null", "-1.5e+30", "true"});
  CHECK(elements("[{\"a\":[1,{\"b\":\"}\"}]},{ }\n]") == Strings{"{\"a\":[1,{\"b\":\"}\"}]}", "{ }"});

  const Strings both = elements(kBatchExample);
  REQUIRE(both.size() == 2);
  CHECK(members_of(both[0]).at("data_base64") == "text AAECAwQ=");
  CHECK(members_of(both[1]).at("id") == "text C234-1234-1234");
  for (const std::string& event : both) CHECK_FALSE(sluiced::http::check_batched_event(event));

  std::string all;
  Strings wanted;
  for (const test::JsonText& good : test::json_texts()) {
    if (good.what.find("1024 deep") != std::string::npos || good.what == "space around a value") continue;
    wanted.push_back(good.text);
    if (const std::size_t at = good.text.find_first_not_of(" \t\r\n"); at != 0) wanted.back().erase(0, at);
    wanted.back().erase(wanted.back().find_last_not_of(" \t\r\n") + 1);
    all += (all.empty() ? "[" : ",") + good.text;
  }
  CHECK(elements(all + "]") == wanted);
}

TEST_CASE("cloud events: the type of binary mode's data says whether it is kept as JSON, text or bytes") {
  CHECK(data_of("application/json", "{\"a\": [1, 2]}") == "data: object {\"a\":[1,2]}");
  CHECK(data_of("Application/JSON ;charset=UTF-8", "1e2") == "data: real 1e2");
  CHECK(data_of("text/json", " null ") == "data: null");
  CHECK(data_of("application/vnd.a.b+json", "\"x\"") == "data: text x");
  CHECK(data_of("application/geo+JSON", "true") == "data: true");
  CHECK(data_of("", "[1]") == "data: array [1]");  // [json] 3.1.1: no type is JSON
  CHECK(data_of("", "not json") == "data_base64: text bm90IGpzb24=");

  CHECK(data_of("text/plain", "tä\"x\\t\n\r\t") == "data: text tä\"x\\t\n\r\t");
  CHECK(data_of("TEXT/html", "<p>") == "data: text <p>");
  CHECK(data_of("text/plain; charset=utf-8", "ä") == "data: text ä");
  CHECK(data_of("text/plain;charset=\"UTF-8\"", "ä") == "data: text ä");
  CHECK(data_of("text/plain; format=flowed; Charset=us-ascii", "a") == "data: text a");
  CHECK(data_of("image/svg+xml", "<svg/>") == "data: text <svg/>");
  CHECK(data_of("application/x-www-form-urlencoded; charset=utf-8", "a=b") == "data: text a=b");

  CHECK(data_of("text/plain", "caf\xe9") == "data_base64: text Y2Fm6Q==");
  CHECK(data_of("text/plain; charset=iso-8859-1", "ascii") == "data_base64: text YXNjaWk=");
  CHECK(data_of("text/plain; a=b;CHARSET=\"latin1\"", "ascii") == "data_base64: text YXNjaWk=");
  CHECK(data_of("application/octet-stream", "text") == "data_base64: text dGV4dA==");
  CHECK(data_of("application/x-ndjson", "1\n2\n") == "data_base64: text MQoyCg==");
  CHECK(data_of("application/jsonish", "1") == "data_base64: text MQ==");
  CHECK(data_of("json", "1") == "data_base64: text MQ==");
  CHECK(data_of("text", "1") == "data_base64: text MQ==");
  CHECK(data_of("application/cloudevents+avro", "\x02") == "data_base64: text Ag==");

  CHECK(data_of("application/json", "{") == "the data: the text ends early");
  CHECK(data_of("application/json", "\"\xff\"") == "the data: invalid UTF-8");
  CHECK(data_of("application/json", "\xef\xbb\xbf{}") == "data: object {}");
  CHECK(convert(kRequired, "text/\xff", "x").detail == "the Content-Type is not UTF-8");
  CHECK(convert(required_and({{"ce-x", "1"}}), "a/b;c=\"d\\e\"", "").status == 0);
}

TEST_CASE("cloud events: without a body there is no data, whatever its type") {
  for (const char* type : {"", "application/json", "text/plain", "application/octet-stream"})
    CHECK(data_of(type, "") == "no data");
}

TEST_CASE("cloud events: JSON stays as it came, also what other readers would change") {
  const std::string data = "{\"n\":123456789012345678901234567890, \"n\":1e999,\n\"s\":\"\\ud800\\/\"}";
  const Converted made = convert(kRequired, "application/json", data);
  CHECK(made.text.ends_with(",\"datacontenttype\":\"application/json\",\"data\":" + data + "}"));
}

TEST_CASE("cloud events: data in binary mode may be nested as deep as the event can hold") {
  const auto nested = [](std::size_t depth) { return test::times(depth, "[") + test::times(depth, "]"); };
  CHECK(convert(kRequired, "application/json", nested(1023)).status == 0);
  CHECK(convert(kRequired, "application/json", nested(1024)).detail ==
        "the data: nesting deeper than 1024 at byte 1024");
  CHECK(data_of("", nested(1024)).starts_with("data_base64: "));
  CHECK(complaint(event_with("\"data\":" + nested(1023))) == "an event");
  CHECK(complaint(event_with("\"data\":" + nested(1024))) != "an event");
}

TEST_CASE("cloud events: every byte comes back, as text and as Base64 of every length") {
  std::string all;
  for (int byte = 1; byte < 0x80; ++byte) all += static_cast<char>(byte);
  CHECK(data_of("text/plain", all) == "data: text " + all);
  CHECK(convert(kRequired, "text/plain", std::string("\0", 1)).text.ends_with(R"(,"data":"\u0000"})"));
  for (int byte = 0x80; byte < 0x100; ++byte) all += static_cast<char>(byte);
  // RFC 4648, section 10.
  CHECK(data_of("a/b", "f") == "data_base64: text Zg==");
  CHECK(data_of("a/b", "fo") == "data_base64: text Zm8=");
  CHECK(data_of("a/b", "foo") == "data_base64: text Zm9v");
  CHECK(data_of("a/b", "foob") == "data_base64: text Zm9vYg==");
  CHECK(data_of("a/b", "fooba") == "data_base64: text Zm9vYmE=");
  CHECK(data_of("a/b", "foobar") == "data_base64: text Zm9vYmFy");
  CHECK(data_of("a/b", all.substr(0xf7)) == "data_base64: text +Pn6+/z9/v8=");
}

TEST_CASE("cloud events: what grows beyond the limit in the JSON format is 413, what finds no room 429") {
  const std::string zeros(3000, '\0');
  const std::size_t around =
      convert(kRequired, "a/b", "").text.size() + std::string_view(R"(,"data_base64":"")").size();
  CHECK(convert(kRequired, "a/b", zeros, around + 4000).text.size() == around + 4000);
  const Converted larger = convert(kRequired, "a/b", zeros, around + 3999);
  CHECK(larger.status == 413);
  CHECK(larger.detail == "in the JSON format this event is larger than " + std::to_string(around + 3999) + " bytes");
  CHECK(convert(kRequired, "text/plain", zeros, 15'000).status == 413);  // six bytes each
  CHECK(convert(kRequired, "text/plain", zeros, 20'000).status == 0);
  CHECK(convert(kRequired, "application/json", "\"" + std::string(3000, 'x') + "\"", 3000).status == 413);
  CHECK(convert(required_and({{"ce-x", std::string_view(zeros).substr(0, 0)}}), "", "", 10).status == 413);

  for (std::size_t room = 0; room < 9000; room += 100) {
    CAPTURE(room);
    const Converted made = convert(kRequired, "a/b", zeros, kLimit, room);
    CHECK(made.status == (room > around + 4000 ? 0 : 429));
  }
}

TEST_CASE("cloud events: an event has 1024 members and no more") {
  const auto many = [](std::size_t members, bool escaped) {
    std::string text = R"({"specversion":"1.0","id":"1","source":"/s","type":"t")";
    for (std::size_t i = 4; i < members; ++i)
      text += std::string(",\"") + (escaped ? "\\u0061" : "a") + std::to_string(i) + "\":true";
    return text + "}";
  };
  for (const bool escaped : {false, true}) {
    CHECK(complaint(many(1024, escaped)) == "an event");
    CHECK(complaint(many(1025, escaped)) == "an event has at most 1024 members");
    std::string doubled = many(1023, escaped);
    doubled.insert(doubled.size() - 1, ",\"a777\":1");
    CHECK(complaint(doubled).ends_with("is there twice"));
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // where costs are others
TEST_CASE(
    "cloud events: names that are written with escapes cost by their length, not by how often they are compared") {
  const auto event_of = [](const auto& written) {
    std::string text = R"({"specversion":"1.0","id":"1","source":"/s","type":"t")";
    for (int i = 0; i < 1000; ++i)
      text.append(",\"").append(written(std::string(100, 'a') + std::to_string(1000 + i))).append("\":1");
    return text + "}";
  };
  const std::string plain = event_of([](const std::string& name) { return name; });
  const std::string escaped = event_of([](const std::string& name) {
    std::string text;
    for (const char c : name) text.append("\\u00").append(c == 'a' ? "61" : std::string("3") + c);
    return text;
  });
  const auto cost_of = [](const std::string& text) {  // of this thread's time, the least of a few
    std::int64_t least = INT64_MAX;
    for (int i = 0; i < 5; ++i) {
      const auto now = [] {
        timespec at{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
        return std::int64_t{at.tv_sec} * 1'000'000'000 + at.tv_nsec;
      };
      const std::int64_t begun = now();
      CHECK(complaint(text) == "an event");
      least = std::min(least, now() - begun);
    }
    return least;
  };
  const std::int64_t of_plain = cost_of(plain);
  const std::int64_t of_escaped = cost_of(escaped);
  MESSAGE("plain ", of_plain / 1000, " us, escaped ", of_escaped / 1000, " us");
  CHECK(of_escaped <= 25 * of_plain);  // they are six times as long
}
#endif

TEST_CASE("cloud events: whatever binary mode is given, it is refused or read back attribute by attribute") {
  constexpr std::uint32_t seed = 20180405;
  CAPTURE(seed);
  std::mt19937 dice(seed);
  const auto below = [&dice](std::size_t n) { return static_cast<std::size_t>(dice() % n); };
  const auto encoded = [&](std::string_view plain) {
    std::string text;
    for (const char c : plain) {
      const bool must = c <= ' ' || c > '~' || c == '"' || c == '%';
      if (must || below(4) == 0) {
        text += '%';
        text += (below(2) == 0 ? "0123456789abcdef" : "0123456789ABCDEF")[static_cast<unsigned char>(c) >> 4U];
        text += "0123456789ABCDEF"[static_cast<unsigned char>(c) & 15U];
      } else {
        text += c;
      }
    }
    return text;
  };
  const std::vector<std::string> pieces = {"a", "\"", "\\",   "%", " ",     "\n", "é",
                                           "€", "😀", "\x7f", "/", "u0041", "{",  "]"};
  const std::vector<std::string> types = {"", "application/json", "text/plain", "a/b", "text/\"x\\\""};
  std::size_t taken = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto some_text = [&](std::size_t least) {
      std::string text;
      for (std::size_t size = least + below(6); size > 0; --size) text += pieces[below(pieces.size())];
      return text;
    };
    Members wanted = {{"specversion", "text 1.0"}};
    std::vector<std::pair<std::string, std::string>> fields = {{"ce-specversion", "1.0"}};
    for (const char* name : {"id", "source", "type", "xa", "xb", "subject"}) {
      const std::string value = some_text(1);
      wanted[name] = "text " + value;
      fields.emplace_back(std::string("ce-") + name, encoded(value));
    }
    const std::string& type = types[below(types.size())];
    if (!type.empty()) wanted["datacontenttype"] = "text " + type;
    std::string body = some_text(0);
    if (type == "text/plain" && !body.empty()) wanted["data"] = "text " + body;
    std::shuffle(fields.begin(), fields.end(), dice);

    // Sometimes a byte of it is another.
    const bool spoiled = below(4) == 0;
    if (spoiled) {
      auto& [name, value] = fields[below(fields.size())];
      std::string& text = below(3) == 0 ? name : value;
      if (text.size() > 3) text[3 + below(text.size() - 3)] = static_cast<char>(below(256));
    }
    Fields views;
    for (const auto& [name, value] : fields) views.push_back({name, value});
    const Converted made = convert(views, type, body);  // checks that it is an event, if it is anything
    if (made.status != 0) {
      CHECK_FALSE(check_json("\"" + made.detail + "\""));
      CHECK((spoiled || (type == "application/json" && made.detail.starts_with("the data: "))));
      continue;
    }
    ++taken;
    Members members = members_of(made.text);
    if (type != "text/plain") {
      members.erase("data");
      members.erase("data_base64");
    }
    if (!spoiled) CHECK(members == wanted);
  }
  CHECK(taken > 1500);
}
