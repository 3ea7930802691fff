#include "server/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace minicpm::server {
namespace {

constexpr int kPatienceMs = 10'000;  // while another process writes

}  // namespace

Database::Database(const std::filesystem::path& file) : file_(file) {
  // SQLite gives its other files the rights of this one.
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) fail(ErrorCode::kIo, "{}: cannot open the database: {}", file.string(), std::strerror(errno));
  ::close(fd);
  if (sqlite3_open_v2(file.c_str(), &handle_, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) {
    const std::string text = handle_ == nullptr ? "out of memory" : sqlite3_errmsg(handle_);
    sqlite3_close_v2(handle_);
    fail(ErrorCode::kIo, "{}: cannot open the database: {}", file.string(), text);
  }
  try {
    sqlite3_busy_timeout(handle_, kPatienceMs);
    // What is deleted is overwritten, so that a deleted conversation does not stay on the disk.
    run("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON");
  } catch (...) {
    sqlite3_close_v2(handle_);
    throw;
  }
}

Database::~Database() {
  sqlite3_close_v2(handle_);
}

void Database::run(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail_now();
}

void Database::fail_now() const {
  const int code = sqlite3_errcode(handle_);
  const bool bad = code == SQLITE_NOTADB || code == SQLITE_CORRUPT;
  fail(bad ? ErrorCode::kBadFile : ErrorCode::kIo, "{}: {}", file_.string(), sqlite3_errmsg(handle_));
}

Transaction::Transaction(Database& database) : database_(database), lock_(database.mutex_) {
  database.run("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  if (open_) sqlite3_exec(database_.handle_, "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_.run("COMMIT");
  open_ = false;
}

Statement::Statement(Database& database, std::string_view sql) : database_(database) {
  check(sqlite3_prepare_v2(database.handle_, sql.data(), static_cast<int>(sql.size()), &handle_, nullptr));
}

Statement::~Statement() {
  sqlite3_finalize(handle_);
}

void Statement::check(int code) const {
  if (code != SQLITE_OK) database_.fail_now();
}

void Statement::bind(int place, int64_t value) {
  check(sqlite3_bind_int64(handle_, place, value));
}

void Statement::bind(int place, std::string_view value) {
  check(sqlite3_bind_text64(handle_, place, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

bool Statement::next() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_.fail_now();
  return false;
}

int64_t Statement::run() {
  while (next()) {
  }
  return sqlite3_changes64(database_.handle_);
}

int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(handle_, column);
}

std::string Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return text == nullptr ? std::string()
                         : std::string(text, static_cast<size_t>(sqlite3_column_bytes(handle_, column)));
}

}  // namespace minicpm::server
