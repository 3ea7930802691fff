// URLs of strangers: what they may reach, judged by a trap that must not be reached.
#include "hub/public_fetch.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "support/fake_hub.h"

namespace minicpm::hub {
namespace {

using namespace std::chrono_literals;
using minicpm::testing::FakeReply;
using minicpm::testing::FakeRequest;
using minicpm::testing::FakeServer;
using minicpm::testing::http_reply;
using ::testing::HasSubstr;

bool is_public(const char* text) {
  uint8_t bytes[16];
  if (inet_pton(AF_INET, text, bytes) == 1) return is_public_address(std::span(bytes, 4));
  if (inet_pton(AF_INET6, text, bytes) == 1) return is_public_address(bytes);
  throw std::runtime_error(text);
}

TEST(PublicAddressTest, OnlyThePublicInternetIsPublic) {
  for (const char* text :
       {"8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1",
        "11.0.0.1", "223.255.255.254", "198.17.255.255", "198.20.0.1", "2606:4700::1", "2a00:1450::1", "2003::1"}) {
    EXPECT_TRUE(is_public(text)) << text;
  }
  for (const char* text :
       {"0.0.0.0",       "127.0.0.1",      "127.255.255.255",  "10.0.0.1",       "10.255.255.255",   "172.16.0.1",
        "172.31.9.9",    "192.168.0.1",    "169.254.169.254",  "100.64.0.1",     "100.100.100.200",  "192.0.0.192",
        "192.0.2.1",     "198.18.0.1",     "198.19.255.255",   "198.51.100.1",   "203.0.113.1",      "224.0.0.1",
        "239.1.1.1",     "240.0.0.1",      "255.255.255.255",  "168.63.129.16",  "192.88.99.1",      "::",
        "::1",           "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8",      "64:ff9b::8.8.8.8", "64:ff9b:1::1",
        "100::1",        "2001::1",        "2001:db8::1",      "2002:7f00:1::1", "3fff::1",          "fc00::1",
        "fd00:ec2::254", "fe80::1",        "fec0::1",          "ff02::1"}) {
    EXPECT_FALSE(is_public(text)) << text;
  }
  EXPECT_FALSE(is_public_address(std::vector<uint8_t>{8, 8, 8}));
}

/// A server that nobody may reach, and one that may be reached as "good.example".
class PublicFetchTest : public ::testing::Test {
 protected:
  PublicFetchTest()
      : trap_([](const FakeRequest&) { return FakeReply{http_reply(200, "secret")}; }),
        good_([this](const FakeRequest& request) { return answer_(request); }, INADDR_LOOPBACK + 1) {}

  /// Options under which 127.0.0.1 is forbidden and 127.0.0.2 stands for the internet.
  FetchOptions options() const {
    FetchOptions options;
    options.ports = {80, 443, trap_.port(), good_.port()};
    options.time = 5s;
    options.allowed = [](std::span<const uint8_t> address) {
      return address.size() == 4 && address[0] == 127 && address[3] == 2;
    };
    options.known_names = {"good.example:" + std::to_string(good_.port()) + ":127.0.0.2",
                           "inside.example:" + std::to_string(trap_.port()) + ":127.0.0.1"};
    return options;
  }
  std::string good(const std::string& path) const {
    return "http://good.example:" + std::to_string(good_.port()) + path;
  }
  std::string trap(const std::string& host) const {
    return "http://" + host + ":" + std::to_string(trap_.port()) + "/";
  }

  static Error failure(const std::string& url, const FetchOptions& options, const std::atomic<bool>* cancel = nullptr) {
    try {
      fetch_public(url, options, cancel);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << url << " was fetched";
    return Error(ErrorCode::kInternal, "");
  }

  std::function<FakeReply(const FakeRequest&)> answer_ = [](const FakeRequest&) {
    return FakeReply{http_reply(200, "a picture")};
  };
  FakeServer trap_, good_;
};

TEST_F(PublicFetchTest, FetchesAndFollowsRedirects) {
  EXPECT_EQ(fetch_public(good("/x.png"), options()), "a picture");
  answer_ = [&](const FakeRequest& request) {
    const int left = std::atoi(request.target.c_str() + 1);
    return FakeReply{left == 0 ? http_reply(200, "the end")
                               : http_reply(302, "", "Location: /" + std::to_string(left - 1) + "\r\n")};
  };
  EXPECT_EQ(fetch_public(good("/3"), options()), "the end");
  EXPECT_THAT(failure(good("/4"), options()).what(), HasSubstr("more than 3 times"));
}

TEST_F(PublicFetchTest, InsideAddressesAreNeverReached) {
  const FetchOptions strict{.time = 5s, .ports = options().ports, .known_names = {}};
  for (const char* host :
       {"127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "0.0.0.0", "[::]", "169.254.169.254", "127.0.0.2"}) {
    EXPECT_EQ(failure(trap(host), strict).code(), ErrorCode::kRefused) << host;
  }
  EXPECT_EQ(failure(trap("inside.example"), options()).code(), ErrorCode::kRefused);
  EXPECT_TRUE(trap_.requests().empty());
}

TEST_F(PublicFetchTest, RedirectsInsideAreNotFollowed) {
  for (const std::string& target : {trap("127.0.0.1"), trap("inside.example"), std::string("file:///etc/passwd"),
                                    std::string("gopher://127.0.0.1/"), std::string("ftp://good.example/"),
                                    std::string("//127.0.0.1:") + std::to_string(trap_.port())}) {
    answer_ = [&](const FakeRequest&) { return FakeReply{http_reply(302, "", "Location: " + target + "\r\n")}; };
    const Error error = failure(good("/"), options());
    EXPECT_TRUE(error.code() == ErrorCode::kRefused || error.code() == ErrorCode::kNetwork) << target;
    EXPECT_THAT(error.what(), ::testing::Not(HasSubstr("secret")));
  }
  EXPECT_TRUE(trap_.requests().empty());
}

TEST_F(PublicFetchTest, ANameThatChangesItsMindIsJudgedAtEachConnection) {
  // Allowed when it is asked first, and forbidden the second time, as with a name that is bound anew.
  FetchOptions changing = options();
  int asked = 0;
  changing.allowed = [&](std::span<const uint8_t>) { return ++asked == 1; };
  answer_ = [&](const FakeRequest&) { return FakeReply{http_reply(302, "", "Location: /again\r\n")}; };
  EXPECT_EQ(failure(good("/"), changing).code(), ErrorCode::kRefused);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(good_.requests().size(), 1u);
}

TEST_F(PublicFetchTest, OtherUrlsAreRefused) {
  const std::string port = std::to_string(good_.port());
  for (const std::string& url :
       {std::string("file:///etc/passwd"), std::string("gopher://good.example/"), std::string("ftp://good.example/"),
        std::string("http://"), std::string("nothing"), std::string("/etc/passwd"), std::string(),
        "http://user@good.example:" + port + "/", "http://user:pass@good.example:" + port + "/",
        "http://good.example:" + port + "\\@127.0.0.1/", "http://good.example:" + port + "/a b",
        "http://good.example:" + port + "/\r\nX: y", std::string("http://good.example:22/"),
        std::string("http://good.example:8080/"), "http://good.example:" + port + "/" + std::string(9000, 'a')}) {
    EXPECT_EQ(failure(url, options()).code(), ErrorCode::kRefused) << url.substr(0, 100);
  }
  EXPECT_TRUE(good_.requests().empty());
}

TEST_F(PublicFetchTest, SizeTimeAndStatusAreLimited) {
  FetchOptions small = options();
  small.limit_bytes = 8;
  EXPECT_EQ(failure(good("/"), small).code(), ErrorCode::kUnsupported);
  small.limit_bytes = 9;
  EXPECT_EQ(fetch_public(good("/"), small), "a picture");

  answer_ = [](const FakeRequest&) { return FakeReply{http_reply(404, "no")}; };
  EXPECT_THAT(failure(good("/"), options()).what(), HasSubstr("status 404"));

  answer_ = [](const FakeRequest&) { return FakeReply{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", true}; };
  FetchOptions quick = options();
  quick.time = 300ms;
  EXPECT_EQ(failure(good("/"), quick).code(), ErrorCode::kTimeout);
}

TEST_F(PublicFetchTest, CancellingEndsItAtOnce) {
  std::atomic<bool> cancel{false};
  answer_ = [&](const FakeRequest&) {
    cancel = true;
    return FakeReply{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", true};
  };
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(failure(good("/"), options(), &cancel).code(), ErrorCode::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

TEST_F(PublicFetchTest, TheEnvironmentsProxyIsNotAsked) {
  setenv("http_proxy", trap("127.0.0.1").c_str(), 1);
  EXPECT_EQ(fetch_public(good("/"), options()), "a picture");
  unsetenv("http_proxy");
  EXPECT_TRUE(trap_.requests().empty());
}

}  // namespace
}  // namespace minicpm::hub
