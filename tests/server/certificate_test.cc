#include "server/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/file_map.h"
#include "server/transport.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;

class CertificateTest : public ::testing::Test {
 protected:
  CertificateTest() {
    std::string pattern = fs::temp_directory_path() / "minicpm-cert-XXXXXX";
    folder = fs::path(mkdtemp(pattern.data())) / "deep" / "tls";
  }
  ~CertificateTest() override { fs::remove_all(folder.parent_path().parent_path()); }
  static std::string text(const fs::path& file) { return read_file(file, 1 << 20); }

  fs::path folder;
};

TEST_F(CertificateTest, IsMadeOnceAndKept) {
  const auto first = self_signed_certificate(folder, {"localhost", "127.0.0.1", "::1"});
  EXPECT_THAT(first.fingerprint, ::testing::MatchesRegex("([0-9A-F][0-9A-F]:){31}[0-9A-F][0-9A-F]"));
  struct stat status = {};
  ASSERT_EQ(stat(first.key.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_NE(make_tls_context(first.certificate.string(), first.key.string()), nullptr);
  const std::string key = text(first.key), certificate = text(first.certificate);

  EXPECT_EQ(self_signed_certificate(folder, {"localhost"}).fingerprint, first.fingerprint);
  EXPECT_EQ(text(first.certificate), certificate);
  // Another name: another certificate of the same key.
  const auto other = self_signed_certificate(folder, {"localhost", "studio.example"});
  EXPECT_NE(other.fingerprint, first.fingerprint);
  EXPECT_EQ(text(first.key), key);
  EXPECT_NE(make_tls_context(other.certificate.string(), other.key.string()), nullptr);
}

TEST_F(CertificateTest, DamagedFilesAndOpenKeysAreNoticed) {
  const auto made = self_signed_certificate(folder, {"localhost"});
  write_file_atomically(made.certificate, "no certificate");
  const auto again = self_signed_certificate(folder, {"localhost"});
  EXPECT_NE(again.fingerprint, made.fingerprint);
  chmod(made.key.c_str(), 0644);
  EXPECT_THROW(self_signed_certificate(folder, {"localhost"}), Error);
  chmod(made.key.c_str(), 0600);
  write_file_atomically(made.key, "no key");
  chmod(made.key.c_str(), 0600);
  EXPECT_THROW(self_signed_certificate(folder, {"localhost"}), Error);
  EXPECT_THROW(self_signed_certificate(folder, {"localhost,DNS:example.org"}), Error);
  EXPECT_THROW(self_signed_certificate(folder, {""}), Error);
}

TEST_F(CertificateTest, KnowsThisMachine) {
  const auto names = names_of_this_machine();
  for (const char* name : {"localhost", "127.0.0.1", "::1"})
    EXPECT_THAT(names, ::testing::Contains(name));
  self_signed_certificate(folder, names);
}

}  // namespace
}  // namespace minicpm::server
