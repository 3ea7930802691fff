// The page that browsers get, and what it asks the server.
#include "server/web_page.h"

#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "base/error.h"
#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kBrowser[] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// What a policy says of an inline text.
std::string policy_hash(const std::string& text) {
  unsigned char digest[SHA256_DIGEST_LENGTH], base64[64];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  EVP_EncodeBlock(base64, digest, sizeof digest);
  return "'sha256-" + std::string(reinterpret_cast<char*>(base64)) + "'";
}

std::string between(const std::string& text, const std::string& open, const std::string& close) {
  const size_t begin = text.find(open) + open.size();
  return text.substr(begin, text.find(close, begin) - begin);
}

class WebPageTest : public ApiTest {
 protected:
  Reply ask_as(const HeaderList& headers, const char* method = "GET") { return ask(port_, method, "/", {}, headers); }
  const int port_ = start();
};

TEST_F(WebPageTest, BrowsersGetThePageOthersALine) {
  const Reply page = ask_as({{"Accept", kBrowser}});
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.headers.at("content-type"), "text/html; charset=utf-8");
  EXPECT_THAT(page.body, StartsWith("<!doctype html>"));
  EXPECT_EQ(page.headers.count("content-encoding"), 0u);
  for (const HeaderList& headers :
       {HeaderList{}, HeaderList{{"Accept", "*/*"}}, HeaderList{{"Accept", "text/html;q=0"}}})
    EXPECT_EQ(ask_as(headers).body, "minicpm is running\n");
}

TEST_F(WebPageTest, ComesCompressedWhereItMay) {
  const Reply plain = ask_as({{"Accept", "text/html"}, {"Accept-Encoding", "br, gzip;q=0"}});
  EXPECT_EQ(plain.headers.count("content-encoding"), 0u);
  const Reply packed = ask_as({{"Accept", "text/html"}, {"Accept-Encoding", "br;q=1, GZIP;q=0.5"}});
  EXPECT_EQ(packed.headers.at("content-encoding"), "gzip");
  EXPECT_EQ(packed.headers.at("vary"), "Accept, Accept-Encoding");
  EXPECT_LT(packed.body.size(), 1'000'000u);
  EXPECT_EQ(unpack_gzip(packed.body), plain.body);
  EXPECT_NE(packed.headers.at("etag"), plain.headers.at("etag"));
}

TEST_F(WebPageTest, IsNotSentAgain) {
  const Reply page = ask_as({{"Accept", "text/html"}});
  const std::string tag = page.headers.at("etag");
  EXPECT_EQ(page.headers.at("cache-control"), "no-cache");
  for (const std::string& known : {tag, "\"other\", W/" + tag}) {
    Client client(port_);
    client.send(request_text("GET", "/", {}, {{"Accept", "text/html"}, {"If-None-Match", known}}));
    const Reply again = client.receive(true);  // 304 has no body, as an answer to HEAD
    EXPECT_EQ(again.status, 304) << known;
    EXPECT_EQ(again.headers.at("etag"), tag);
    EXPECT_EQ(again.headers.count("content-length"), 0u);
  }
  EXPECT_EQ(ask_as({{"Accept", "text/html"}, {"If-None-Match", "\"other\""}}).status, 200);
  EXPECT_EQ(ask(port_, "GET", "/health").headers.at("cache-control"), "no-store");
}

TEST_F(WebPageTest, MayDoNothingButItsWork) {
  const Reply page = ask_as({{"Accept", "text/html"}});
  const std::string policy = page.headers.at("content-security-policy");
  EXPECT_THAT(policy, StartsWith("default-src 'none'; "));
  EXPECT_THAT(policy, HasSubstr("script-src 'self' " +
                                policy_hash(between(page.body, "<script type=\"module\">", "</script>"))));
  EXPECT_THAT(policy, HasSubstr("style-src " + policy_hash(between(page.body, "<style>", "</style>"))));
  EXPECT_THAT(policy, HasSubstr("connect-src 'self'; "));
  EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  EXPECT_EQ(page.headers.at("x-frame-options"), "DENY");
  EXPECT_EQ(page.headers.at("referrer-policy"), "same-origin");
  EXPECT_EQ(page.headers.at("x-content-type-options"), "nosniff");
  EXPECT_THAT(page.headers.at("permissions-policy"), StartsWith("camera=(self), microphone=(self), "));
}

TEST_F(WebPageTest, ScriptsThatOnlySomeNeedHaveAddressesOfTheirOwn) {
  ASSERT_FALSE(packed_web_scripts().empty());
  size_t packed_bytes = packed_web_page().size();
  for (const WebScript& script : packed_web_scripts()) {
    const std::string path = "/page/" + std::string(script.name);
    packed_bytes += script.packed.size();
    const Reply packed = ask(port_, "GET", path, {}, {{"Accept-Encoding", "gzip"}});
    EXPECT_EQ(packed.status, 200) << path;
    EXPECT_EQ(packed.headers.at("content-encoding"), "gzip");
    EXPECT_EQ(packed.headers.at("content-type"), "text/javascript; charset=utf-8");
    EXPECT_EQ(packed.headers.at("content-security-policy"), "default-src 'none'; script-src 'self'");
    EXPECT_EQ(packed.body, script.packed);
    const Reply plain = get(port_, path);
    EXPECT_EQ(plain.body, unpack_gzip(script.packed));
    Client client(port_);
    client.send(request_text("GET", path, {}, {{"If-None-Match", plain.headers.at("etag")}}));
    EXPECT_EQ(client.receive(true).status, 304);
  }
  EXPECT_LT(packed_bytes, 1'000'000u);
  for (const char* path : {"/page/", "/page/none.js", "/page/../index.html"})
    EXPECT_EQ(get(port_, path).status, 404) << path;
}

TEST_F(WebPageTest, HoldsAllThatItNeeds) {
  const std::string page = unpack_gzip(packed_web_page());
  for (const char* outside : {"src=\"http", "src=\"/", "href=\"http", "href=\"/"})
    EXPECT_EQ(page.find(outside), std::string::npos) << outside;
  const std::string style = between(page, "<style>", "</style>");
  for (const char* outside : {"@import", "url("})
    EXPECT_EQ(style.find(outside), std::string::npos) << outside;
}

TEST_F(WebPageTest, NeedsNoKeyButItsQuestionsDo) {
  options.access.api_keys = {"a-key-for-this-test"};
  server.reset();
  const int port = start();
  EXPECT_EQ(ask(port, "GET", "/", {}, {{"Accept", "text/html"}}).status, 200);
  EXPECT_EQ(get(port, "/page/call.js").status, 200);
  EXPECT_EQ(get(port, "/props").status, 401);
}

TEST_F(WebPageTest, PropsTellWhatAModelCan) {
  const Json props = get(port_, "/props").json();
  EXPECT_EQ(props["model_alias"], "pico");
  EXPECT_EQ(props["modalities"], Json::parse(R"({"vision": true, "audio": false})"));
  EXPECT_EQ(props["limits"]["file_bytes"], 32 << 20);
  ASSERT_EQ(props["models"].size(), 1u);
  const Json& pico = props["models"][0];
  EXPECT_EQ(pico["id"], "pico");
  EXPECT_EQ(pico["title"], "MiniCPM-V 4.5");
  EXPECT_TRUE(pico["thinking"].get<bool>() && pico["packed_video"].get<bool>());
  EXPECT_EQ(pico["voices"], Json::array());
  EXPECT_EQ(pico["defaults"]["sampling"]["temperature"].dump(), "0.7");
  EXPECT_EQ(pico["defaults"]["beams"]["num_beams"], 3);
  EXPECT_FALSE(pico["defaults"]["beams"].contains("temperature"));
  EXPECT_EQ(props["default_generation_settings"]["params"], pico["defaults"]["sampling"]);
}

TEST(GzipTest, BrokenFilesAreRefused) {
  const std::string whole(packed_web_page());
  EXPECT_GT(unpack_gzip(whole).size(), whole.size());
  for (size_t cut = 0; cut < whole.size(); cut += whole.size() / 50)
    EXPECT_THROW(unpack_gzip(whole.substr(0, cut)), Error) << cut;
  std::string large = whole;
  large.back() = '\x7f';  // says that it holds two gigabytes
  EXPECT_THROW(unpack_gzip(large), Error);
  std::string named = whole;
  named[3] = '\x08';  // a file name follows
  EXPECT_THROW(unpack_gzip(named), Error);
}

}  // namespace
}  // namespace minicpm::server
