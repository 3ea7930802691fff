// What the tests of the APIs share: a server with pico, pictures it knows, and questions in OpenAI's words.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/client.h"
#include "server/server.h"

namespace minicpm::server {

/// A file of assets/pico.
std::string asset(const std::string& name);
std::string data_url(const std::string& bytes, const std::string& type);

/// A picture of one shape on white, as BMP, and what pico says of it when asked "What do you see?".
struct KnownPicture {
  std::string bytes, answer;
};
std::vector<KnownPicture> known_pictures();

/// {"type": "image_url", ...} for a picture of assets/pico.
Json image_part(const std::string& bytes);
Json text_part(const std::string& text);
/// A greedy question to pico with content parts, or a string.
Json openai_question(const Json& content);
/// The text of an answer that is not streamed, and of one that is.
std::string openai_text(const Reply& reply);
std::string openai_streamed_text(const Reply& reply);

/// A server with pico on any port, with its log. Settings may be changed before start().
class ApiTest : public ::testing::Test {
 protected:
  ApiTest();
  ~ApiTest() override;
  int start();
  std::string log();

  ServerOptions options;
  std::vector<ServedModel> models;  // pico, unless others are put there
  std::unique_ptr<Server> server;

 private:
  std::mutex mutex_;
  std::string log_;
};

}  // namespace minicpm::server
