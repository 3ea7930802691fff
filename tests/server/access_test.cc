// Keys, hosts, origins, exposure, the log, and TLS.
#include "server/access.h"

#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "server/api_support.h"

namespace minicpm::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using AccessTest = ApiTest;

TEST_F(AccessTest, KeysAreNeededForAllButHealth) {
  options.access.api_keys = {"first-secret-key", "second-secret-key"};
  const int port = start();
  const auto status = [&](const HeaderList& headers, const char* path = "/v1/models") {
    return ask(port, "GET", path, {}, headers).status;
  };
  EXPECT_EQ(status({}), 401);
  EXPECT_EQ(status({{"Authorization", "Bearer wrong"}}), 401);
  EXPECT_EQ(status({{"Authorization", "Bearer first-secret-ke"}}), 401);
  EXPECT_EQ(status({{"Authorization", "Bearer first-secret-key2"}}), 401);
  EXPECT_EQ(status({{"Authorization", "Basic first-secret-key"}}), 401);
  EXPECT_EQ(status({{"Authorization", "first-secret-key"}}), 401);
  EXPECT_EQ(status({{"Authorization", "Bearer first-secret-key"}}), 200);
  EXPECT_EQ(status({{"authorization", "bearer second-secret-key"}}), 200);
  EXPECT_EQ(status({{"x-api-key", "second-secret-key"}}), 200);
  EXPECT_EQ(status({{"X-Api-Key", "wrong"}, {"Authorization", "Bearer first-secret-key"}}), 401);
  EXPECT_EQ(status({}, "/metrics"), 401);
  EXPECT_EQ(status({}, "/nothing"), 401);
  EXPECT_EQ(status({}, "/health"), 200);
  const Reply refused = get(port, "/v1/models");
  EXPECT_EQ(refused.json()["error"]["type"], "authentication_error");
  EXPECT_EQ(refused.headers.at("www-authenticate"), "Bearer");
  EXPECT_THAT(log(), Not(HasSubstr("secret")));
}

TEST_F(AccessTest, ABodyIsNotReadWithoutAKey) {
  options.access.api_keys = {"first-secret-key"};
  Client client(start());
  client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000000\r\n\r\n");
  EXPECT_EQ(client.receive().status, 401);
}

TEST_F(AccessTest, OnLoopbackTheHostMustBeThisMachine) {
  options.access.allowed_hosts = {"Proxy.Example"};
  const int port = start();
  const auto status = [&](const std::string& host) { return ask(port, "GET", "/health", {}, {{"Host", host}}).status; };
  for (const std::string host : {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "127.1.2.3", "[::1]:8080",
                                 "proxy.example", "proxy.example:443"})
    EXPECT_EQ(status(host), 200) << host;
  for (const std::string host : {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
                                 "127.evil", "[::2]", "x", "evil.example:127"})
    EXPECT_EQ(status(host), 421) << host;
}

TEST_F(AccessTest, PagesOfOtherSitesAreRefusedUnlessAllowed) {
  options.access.cors_origins = {"https://good.example"};
  const int port = start();
  const auto ask_from = [&](const std::string& origin) {
    return ask(port, "GET", "/v1/models", {}, {{"Host", "localhost:1"}, {"Origin", origin}});
  };
  EXPECT_EQ(ask_from("http://localhost:1").status, 200);  // a page of this server
  EXPECT_EQ(ask_from("https://evil.example").status, 403);
  EXPECT_EQ(ask_from("https://good.example.evil").status, 403);
  EXPECT_EQ(ask_from("null").status, 403);
  const Reply good = ask_from("https://good.example");
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(good.headers.at("access-control-allow-origin"), "https://good.example");
  const HeaderList question = {{"Origin", "https://good.example"},
                               {"Access-Control-Request-Method", "POST"},
                               {"Access-Control-Request-Headers", "content-type, x-stainless-os"}};
  const Reply preflight = ask(port, "OPTIONS", "/v1/chat/completions", {}, question);
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.headers.at("access-control-allow-headers"), "content-type, x-stainless-os");
  EXPECT_EQ(ask(port, "OPTIONS", "/v1/models", {}, {{"Origin", "https://evil.example"}}).status, 403);
}

TEST_F(AccessTest, OtherMachinesNeedAKeyOrLeave) {
  ServerOptions open;
  open.http.host = "0.0.0.0";
  EXPECT_THROW(check_exposure(open), Error);
  open.insecure = true;
  check_exposure(open);
  open.insecure = false;
  open.access.api_keys = {"short"};
  EXPECT_THROW(check_exposure(open), Error);
  open.access.api_keys = {"long enough"};
  check_exposure(open);
  for (const char* host : {"127.0.0.1", "localhost", "::1", "127.8.9.10"}) {
    ServerOptions closed;
    closed.http.host = host;
    check_exposure(closed);
  }
}

TEST_F(AccessTest, TheLogHoldsNoPrompts) {
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    options.log_format = format;
    options.access.api_keys = {"canary-key-1"};
    const int port = start();
    Json body = openai_question("canary-prompt");
    body["max_tokens"] = 1;
    const HeaderList key = {{"Authorization", "Bearer canary-key-1"}};
    const Reply reply = ask(port, "POST", "/v1/chat/completions?secret=canary-query", body.dump(), key);
    EXPECT_EQ(reply.status, 200);
    ask(port, "GET", "/broken\"path", {}, key);
    server.reset();
    EXPECT_THAT(log(), Not(HasSubstr("canary")));
    EXPECT_THAT(log(), HasSubstr(reply.headers.at("x-request-id")));
    EXPECT_THAT(log(), HasSubstr("/broken?path"));
  }
}

// ---- TLS -----------------------------------------------------------------------------------------------------------

/// A certificate that signs itself, and its key, as PEM files.
void write_certificate(const std::filesystem::path& certificate, const std::filesystem::path& key) {
  EVP_PKEY* pair = EVP_EC_gen("P-256");
  X509* x509 = X509_new();
  X509_set_version(x509, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509), 0);
  X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
  X509_set_pubkey(x509, pair);
  X509_NAME* name = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(x509, name);
  X509_sign(x509, pair, EVP_sha256());
  FILE* file = std::fopen(certificate.c_str(), "w");
  PEM_write_X509(file, x509);
  std::fclose(file);
  file = std::fopen(key.c_str(), "w");
  PEM_write_PrivateKey(file, pair, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(x509);
  EVP_PKEY_free(pair);
}

/// What a server says through TLS, with at most that version; empty if it does not want it.
std::string ask_through_tls(int port, int version) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_security_level(context, 0);  // or the client itself would refuse the old versions
  SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context, version);
  BIO* bio = BIO_new_ssl_connect(context);
  BIO_set_conn_hostname(bio, ("127.0.0.1:" + std::to_string(port)).c_str());
  std::string text;
  if (BIO_do_connect(bio) == 1) {
    const std::string request = request_text("GET", "/health", {}, {{"Connection", "close"}});
    BIO_write(bio, request.data(), static_cast<int>(request.size()));
    char buffer[4096];
    for (int count; (count = BIO_read(bio, buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<size_t>(count));
  }
  BIO_free_all(bio);
  SSL_CTX_free(context);
  return text;
}

TEST_F(AccessTest, SpeaksTls12AndLater) {
  const auto folder = std::filesystem::temp_directory_path() / ("minicpm-tls-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  write_certificate(folder / "cert.pem", folder / "key.pem");
  options.http.tls_certificate = folder / "cert.pem";
  options.http.tls_key = folder / "key.pem";
  const int port = start();
  EXPECT_TRUE(server->url().starts_with("https://127.0.0.1:"));
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION})
    EXPECT_THAT(ask_through_tls(port, version), HasSubstr("{\"status\":\"ok\"}"));
  EXPECT_EQ(ask_through_tls(port, TLS1_1_VERSION), "");
  Client plain(port);
  plain.send(request_text("GET", "/health"));
  EXPECT_TRUE(plain.closes());
  std::ofstream(folder / "key.pem") << "no key";
  server.reset();
  EXPECT_THROW(start(), Error);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace minicpm::server
