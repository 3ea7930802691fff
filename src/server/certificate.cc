#include "server/certificate.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/file_map.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxPemBytes = 1u << 20;
constexpr long kDay = 24 * 3600;
constexpr long kLifetime = 825 * kDay;  // the longest that Apple's systems take
constexpr long kRenewal = 30 * kDay;
constexpr long kBackdated = 3600;  // for clients whose clock is late

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Memory = std::unique_ptr<BIO, Freed<BIO_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;

void check(bool good, const char* what) {
  if (!good) fail(ErrorCode::kInternal, "OpenSSL could not {}", what);
}

bool is_address(const std::string& name) {
  boost::system::error_code ec;
  boost::asio::ip::make_address(name, ec);
  return !ec;
}

bool is_host_name(const std::string& name) {
  constexpr size_t kLongest = 253;
  return !name.empty() && name.size() <= kLongest && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
  });
}

/// As extensions write them: "DNS:localhost,IP:127.0.0.1".
std::string alternative_names(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    const bool address = is_address(name);
    if (!address && !is_host_name(name)) fail(ErrorCode::kInvalidRequest, "\"{}\" is no host name", name);
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", address ? "IP" : "DNS", name);
  }
  return text;
}

std::string pem_of(const auto& write) {
  const Memory memory(BIO_new(BIO_s_mem()));
  check(memory != nullptr && write(memory.get()) == 1, "write PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

/// Written beside and renamed; never readable by others.
void write_key(const fs::path& path, const std::string& pem) {
  const fs::path beside = path.string() + fmt::format(".{}", getpid());
  unlink(beside.c_str());
  const int file = open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) fail(ErrorCode::kIo, "{}: {}", beside.string(), std::strerror(errno));
  const bool whole = write(file, pem.data(), pem.size()) == static_cast<ssize_t>(pem.size()) && fsync(file) == 0;
  close(file);
  if (whole && rename(beside.c_str(), path.c_str()) == 0) return;
  const int error = errno;
  unlink(beside.c_str());
  fail(ErrorCode::kIo, "{}: {}", path.string(), std::strerror(error));
}

Key read_key(const fs::path& path) {
  struct stat status = {};
  if (stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    fail(ErrorCode::kRefused, "{}: other users can read or write it; `chmod 600` it", path.string());
  }
  const std::string pem = read_file(path, kMaxPemBytes);
  const Memory memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Key key(PEM_read_bio_PrivateKey(memory.get(), nullptr, nullptr, const_cast<char*>("")));
  if (key == nullptr) fail(ErrorCode::kBadFile, "{}: holds no private key in PEM form", path.string());
  return key;
}

Key make_key(const fs::path& path) {
  Key key(EVP_EC_gen("P-256"));
  check(key != nullptr, "make a key");
  write_key(path, pem_of([&](BIO* memory) {
              return PEM_write_bio_PrivateKey(memory, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
            }));
  return key;
}

void add_extension(X509* certificate, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  check(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1, "write a certificate");
}

Certificate make_certificate(EVP_PKEY* key, const std::vector<std::string>& names) {
  Certificate certificate(X509_new());
  check(certificate != nullptr, "make a certificate");
  X509* x509 = certificate.get();
  X509_set_version(x509, X509_VERSION_3);
  std::array<unsigned char, 16> serial;
  check(RAND_bytes(serial.data(), static_cast<int>(serial.size())) == 1, "draw a number");
  serial[0] &= 0x7F;
  const std::unique_ptr<BIGNUM, Freed<BN_free>> number(BN_bin2bn(serial.data(), serial.size(), nullptr));
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(x509));
  X509_gmtime_adj(X509_getm_notBefore(x509), -kBackdated);
  X509_gmtime_adj(X509_getm_notAfter(x509), kLifetime);
  X509_set_pubkey(x509, key);
  X509_NAME* subject = X509_get_subject_name(x509);
  const auto* common_name = reinterpret_cast<const unsigned char*>("minicpm");
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, common_name, -1, -1, 0);
  X509_set_issuer_name(x509, subject);
  add_extension(x509, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(x509, NID_key_usage, "critical,digitalSignature");
  add_extension(x509, NID_ext_key_usage, "serverAuth");
  add_extension(x509, NID_subject_key_identifier, "hash");
  add_extension(x509, NID_subject_alt_name, alternative_names(names));
  check(X509_sign(x509, key, EVP_sha256()) > 0, "sign a certificate");
  return certificate;
}

/// Null if there is none that would do.
Certificate read_certificate(const fs::path& path, const EVP_PKEY* key, const std::vector<std::string>& names) {
  if (!fs::exists(path)) return nullptr;
  const std::string pem = read_file(path, kMaxPemBytes);
  const Memory memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Certificate certificate(PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr || X509_check_private_key(certificate.get(), key) != 1) return nullptr;
  int days = 0, seconds = 0;
  ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate.get()));
  if (days * kDay + seconds < kRenewal) return nullptr;
  const bool all = std::ranges::all_of(names, [&](const std::string& name) {
    if (is_address(name)) return X509_check_ip_asc(certificate.get(), name.c_str(), 0) == 1;
    return X509_check_host(certificate.get(), name.data(), name.size(), 0, nullptr) == 1;
  });
  return all ? std::move(certificate) : nullptr;
}

std::string fingerprint_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  check(X509_digest(certificate, EVP_sha256(), digest.data(), &size) == 1, "digest a certificate");
  std::string text;
  for (unsigned i = 0; i < size; ++i)
    text += fmt::format("{}{:02X}", i == 0 ? "" : ":", digest[i]);
  return text;
}

}  // namespace

SelfSigned self_signed_certificate(const fs::path& folder, const std::vector<std::string>& names) {
  alternative_names(names);
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (ec) fail(ErrorCode::kIo, "{}: {}", folder.string(), ec.message());
  SelfSigned result{folder / "cert.pem", folder / "key.pem", {}};
  const Key key = fs::exists(result.key) ? read_key(result.key) : make_key(result.key);
  Certificate certificate = read_certificate(result.certificate, key.get(), names);
  if (certificate == nullptr) {
    certificate = make_certificate(key.get(), names);
    write_file_atomically(result.certificate,
                          pem_of([&](BIO* memory) { return PEM_write_bio_X509(memory, certificate.get()); }));
  }
  result.fingerprint = fingerprint_of(certificate.get());
  return result;
}

std::vector<std::string> names_of_this_machine() {
  std::set<std::string> names = {"localhost", "127.0.0.1", "::1"};
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) == 0 && is_host_name(host)) names.insert(host);
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {names.begin(), names.end()};
  const std::unique_ptr<ifaddrs, Freed<freeifaddrs>> owner(list);
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    const int family = one->ifa_addr != nullptr ? one->ifa_addr->sa_family : AF_UNSPEC;
    if (family != AF_INET && family != AF_INET6) continue;
    char text[NI_MAXHOST] = {};
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    if (getnameinfo(one->ifa_addr, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
    const std::string name = text;
    if (name.find('%') == std::string::npos) names.insert(name);  // link-local addresses change with the interface
  }
  return {names.begin(), names.end()};
}

}  // namespace minicpm::server
