// A certificate that the server makes for itself.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace minicpm::server {

struct SelfSigned {
  std::filesystem::path certificate, key;  // PEM files
  std::string fingerprint;                 // SHA-256 of the certificate: "AB:CD:..."
};

/// The certificate in `folder` (cert.pem, key.pem), valid for all `names`: host names and addresses. It is made where
/// there is none, and made anew with the same key where it lacks a name or ends within 30 days. EC P-256; the key's
/// file can be read by its owner alone. Throws Error invalid_request for names that are none, bad_file, io, and refused
/// for a key that others can read.
SelfSigned self_signed_certificate(const std::filesystem::path& folder, const std::vector<std::string>& names);

/// What this machine is called: localhost, its loopback addresses, its name, and the addresses of its interfaces.
std::vector<std::string> names_of_this_machine();

}  // namespace minicpm::server
