// SQLite: a database file, statements and transactions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace minicpm::server {

/// One connection; whoever uses it holds the lock of a Transaction.
class Database {
 public:
  /// Opens or makes the file, which only its owner can read. Other processes may have it open, too (write-ahead log).
  /// Throws Error io, bad_file for a file that is no database.
  explicit Database(const std::filesystem::path& file);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// Statements without parameters and results. Throws Error io.
  void run(const char* sql);
  [[noreturn]] void fail_now() const;

 private:
  friend class Statement;
  friend class Transaction;
  std::filesystem::path file_;
  sqlite3* handle_ = nullptr;
  std::recursive_mutex mutex_;
};

/// All that happens while it lives happens at once or, without commit(), not at all; other threads and processes wait.
/// Throws Error io.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  std::unique_lock<std::recursive_mutex> lock_;
  bool open_ = true;
};

/// One statement and its rows. Throws Error io.
class Statement {
 public:
  Statement(Database& database, std::string_view sql);
  /// The arguments take the places of ?1, ?2, …
  template <typename... Args>
  Statement(Database& database, std::string_view sql, const Args&... args) : Statement(database, sql) {
    int place = 0;
    (bind(++place, args), ...);
  }
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  /// The next row; false at the end.
  bool next();
  /// To its end; the number of rows it changed.
  int64_t run();

  int64_t integer(int column) const;
  std::string text(int column) const;

 private:
  void bind(int place, int64_t value);
  void bind(int place, std::string_view value);
  void check(int code) const;

  Database& database_;
  sqlite3_stmt* handle_ = nullptr;
};

}  // namespace minicpm::server
