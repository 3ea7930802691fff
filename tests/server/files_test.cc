// Files that clients leave, and batches that are answered from them.
#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "server/api_support.h"
#include "server/batch_runner.h"

namespace minicpm::server {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience(60);

class FilesTest : public ApiTest {
 protected:
  FilesTest() {
    std::string form = (fs::temp_directory_path() / "minicpm-files-XXXXXX").string();
    folder = mkdtemp(form.data());
    options.state.folder = folder / "state";
  }
  ~FilesTest() override {
    server.reset();
    fs::remove_all(folder);
  }

  Json upload(int port, const std::string& content, const std::string& name = "requests.jsonl") {
    const Reply reply = upload_form(port, {{"purpose", "batch"}}, content, name);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.json();
  }
  static Reply upload_form(int port, const HeaderList& fields, const std::string& content, const std::string& name) {
    std::string body;
    for (const auto& [key, value] : fields)
      body += "--mark\r\nContent-Disposition: form-data; name=\"" + key + "\"\r\n\r\n" + value + "\r\n";
    body += "--mark\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + name + "\"\r\n\r\n" + content +
            "\r\n--mark--\r\n";
    return ask(port, "POST", "/v1/files", body, {{"Content-Type", "multipart/form-data; boundary=mark"}});
  }
  Json create(int port, const Json& file) {
    const Reply reply = post(port, "/v1/batches", body_for(file));
    EXPECT_EQ(reply.status, 200) << reply.body;
    return reply.json();
  }
  static Json body_for(const Json& file) {
    return {{"input_file_id", file["id"]},
            {"endpoint", "/v1/chat/completions"},
            {"completion_window", "24h"},
            {"metadata", {{"night", "1"}}}};
  }
  /// Asks until the batch has the status, without sleeping.
  static Json wait_for(int port, const Json& batch, const std::string& status) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    Json now;
    do {
      now = get(port, "/v1/batches/" + batch["id"].get<std::string>()).json();
      if (now["status"] == status) return now;
      std::this_thread::yield();
    } while (!is_finished(now) && std::chrono::steady_clock::now() < end);
    ADD_FAILURE() << "not " << status << ": " << now;
    return now;
  }
  static std::string content(int port, const Json& id) {
    return get(port, "/v1/files/" + id.get<std::string>() + "/content").body;
  }

  fs::path folder;
};

std::string line(const std::string& id, const Json& body, const std::string& url = "/v1/chat/completions") {
  return Json{{"custom_id", id}, {"method", "POST"}, {"url", url}, {"body", body}}.dump() + "\n";
}

Json endless() {
  Json body = openai_question("Hello");
  body["min_tokens"] = body["max_tokens"] = 1'000'000;
  return body;
}

TEST_F(FilesTest, FilesComeBackAsTheyCame) {
  options.access.api_keys = {"first-key-1", "second-key-2"};
  const int port = start();
  const auto key = [](const char* text) { return std::pair<std::string, std::string>("x-api-key", text); };
  const std::string form =
      "--m\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nuser_data\r\n--m\r\nContent-Disposition: "
      "form-data; name=\"file\"; filename=\"a.bin\"\r\n\r\n";
  std::string bytes(3'000'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<char>(i * 2654435761u >> 13);
  const Reply made = ask(port, "POST", "/v1/files", form + bytes + "\r\n--m--\r\n",
                         {{"Content-Type", "multipart/form-data; boundary=m"}, key("first-key-1")});
  ASSERT_EQ(made.status, 200) << made.body;
  const Json file = made.json();
  EXPECT_EQ(file["filename"], "a.bin");
  EXPECT_EQ(file["bytes"], bytes.size());
  EXPECT_EQ(file["purpose"], "user_data");
  const std::string path = "/v1/files/" + file["id"].get<std::string>();
  EXPECT_EQ(ask(port, "GET", path, {}, {key("first-key-1")}).json(), file);
  EXPECT_EQ(ask(port, "GET", path + "/content", {}, {key("first-key-1")}).body, bytes);
  EXPECT_EQ(ask(port, "GET", "/v1/files?purpose=user_data", {}, {key("first-key-1")}).json()["data"],
            Json::array({file}));
  EXPECT_EQ(ask(port, "GET", "/v1/files?purpose=batch", {}, {key("first-key-1")}).json()["data"], Json::array());
  for (const std::string& other : {path, path + "/content"})
    EXPECT_EQ(ask(port, "GET", other, {}, {key("second-key-2")}).status, 404);
  EXPECT_EQ(ask(port, "DELETE", path, {}, {key("second-key-2")}).status, 404);
  EXPECT_EQ(ask(port, "GET", "/v1/files", {}, {key("second-key-2")}).json()["data"], Json::array());
  EXPECT_EQ(ask(port, "DELETE", path, {}, {key("first-key-1")}).json()["deleted"], true);
  EXPECT_EQ(ask(port, "GET", path, {}, {key("first-key-1")}).status, 404);
  EXPECT_TRUE(fs::is_empty(options.state.folder / "files"));
}

TEST_F(FilesTest, WhatIsWrongIsRefused) {
  options.state.limits.files = 2;
  options.state.limits.file_bytes = 100;
  const int port = start();
  EXPECT_EQ(upload_form(port, {}, "x", "a").status, 400);
  EXPECT_EQ(upload_form(port, {{"purpose", "fun"}}, "x", "a").status, 400);
  EXPECT_EQ(upload_form(port, {{"purpose", "batch"}, {"name", "b"}}, "x", "a").status, 400);
  EXPECT_EQ(upload_form(port, {{"purpose", "batch"}}, "", "a").status, 400);
  const Json file = upload(port, "x", "caf\xc3");  // a name that breaks off inside a character
  EXPECT_EQ(file["filename"], "caf");
  EXPECT_EQ(upload_form(port, {{"purpose", "batch"}}, std::string(100, 'x'), "a").status, 400);
  upload(port, "y");
  EXPECT_THAT(upload_form(port, {{"purpose", "batch"}}, "z", "a").body, HasSubstr("more than 2 files"));

  const auto refused = [&](const char* key, const char* value) {
    Json body = body_for(file);
    body[key] = parse_json(value, "test");
    const Reply reply = post(port, "/v1/batches", body);
    EXPECT_EQ(reply.status, 400) << value;
    EXPECT_THAT(reply.body, HasSubstr(key)) << value;
  };
  refused("input_file_id", "\"file-none\"");
  refused("input_file_id", "5");
  refused("endpoint", "\"/api/chat\"");
  refused("completion_window", "\"1h\"");
  refused("metadata", "[]");
  refused("output_expires_after", R"({"seconds": 5})");
  EXPECT_EQ(get(port, "/v1/batches/batch_none").status, 404);
  EXPECT_EQ(post(port, "/v1/batches/batch_none/cancel", Json::object()).status, 404);
}

TEST_F(FilesTest, ABatchIsAnswered) {
  const int port = start();
  Json wrong = openai_question("Hello");
  wrong["temprature"] = 1;
  const Json read = openai_question({image_part(asset("word.png")), text_part("Read the text.")});
  const Json file = upload(port, line("a", read) + line("b", wrong) + "\n" + line("c", read));
  const Json made = create(port, file);
  EXPECT_EQ(made["object"], "batch");
  EXPECT_EQ(made["metadata"]["night"], "1");
  const Json batch = wait_for(port, made, "completed");
  EXPECT_EQ(batch["request_counts"], (Json{{"total", 3}, {"completed", 2}, {"failed", 1}}));
  std::vector<std::string> ids;
  for (const Json& answer : lines_of(content(port, batch["output_file_id"]))) {
    ids.push_back(answer["custom_id"]);
    EXPECT_EQ(answer["response"]["body"]["choices"][0]["message"]["content"], "HAPPINESS");
  }
  EXPECT_THAT(ids, ::testing::UnorderedElementsAre("a", "c"));
  const auto errors = lines_of(content(port, batch["error_file_id"]));
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0]["custom_id"], "b");
  EXPECT_EQ(errors[0]["response"]["status_code"], 400);
  EXPECT_EQ(get(port, "/v1/batches").json()["data"], Json::array({batch}));
  EXPECT_EQ(post(port, "/v1/batches/" + batch["id"].get<std::string>() + "/cancel", Json::object()).status, 409);
  EXPECT_TRUE(fs::is_empty(options.state.folder / "batches"));
}

TEST_F(FilesTest, AFileThatIsWrongFailsByLine) {
  const int port = start();
  const auto failure = [&](const std::string& content) {
    const Json batch = wait_for(port, create(port, upload(port, content)), "failed");
    return batch["errors"]["data"][0]["message"].get<std::string>();
  };
  EXPECT_THAT(failure(line("a", openai_question("Hi")) + "{\n"), HasSubstr("the input file line 2"));
  EXPECT_THAT(failure(line("a", openai_question("Hi"), "/v1/completions")),
              HasSubstr("url must be /v1/chat/completions"));
}

TEST_F(FilesTest, ABatchIsCancelledAndKeepsWhatItHas) {
  const int port = start();
  const Json batch = create(port, upload(port, line("a", endless())));
  wait_for(port, batch, "in_progress");
  const std::string path = "/v1/batches/" + batch["id"].get<std::string>();
  EXPECT_EQ(post(port, path + "/cancel", Json::object()).json()["status"], "cancelling");
  const Json ended = wait_for(port, batch, "cancelled");
  EXPECT_TRUE(ended["output_file_id"].is_null());
  EXPECT_FALSE(ended["cancelled_at"].is_null());
}

// The server ends while a batch runs; the next one goes on with what is missing.
TEST_F(FilesTest, TheNextServerGoesOn) {
  int port = start();
  const Json batch = create(port, upload(port, line("a", openai_question("Hello")) + line("b", endless())));
  wait_for(port, batch, "in_progress");
  const fs::path answers = options.state.folder / "batches" / (batch["id"].get<std::string>() + ".answers");
  const auto end = std::chrono::steady_clock::now() + kPatience;
  std::error_code none;
  while ((!fs::exists(answers, none) || fs::file_size(answers, none) == 0) && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  server.reset();
  EXPECT_GT(fs::file_size(answers), 0u);
  std::ofstream(options.state.folder / "batches" / (batch["id"].get<std::string>() + ".requests"))
      << line("a", endless()) << line("b", openai_question("Hello"));  // "a" must not be asked again
  models.clear();
  port = start();
  const Json done = wait_for(port, batch, "completed");
  EXPECT_EQ(done["request_counts"], (Json{{"total", 2}, {"completed", 2}, {"failed", 0}}));
}

// What a batch keeps belongs to the key that left it.
TEST_F(FilesTest, AnswersBelongToTheKeyThatLeftTheBatch) {
  ServerState state(options.state);
  FileStore files(state);
  BatchStore batches(state);
  const std::string scope("\x00\xff key", 6);
  const Json file =
      files.add(scope, "a", "batch", [&](AtomicFile& out) { out.write(line("a", Json::object(), "/v1/responses")); });
  const Json made =
      batches.add(scope, {{"endpoint", "/v1/responses"}, {"status", "validating"}, {"in_progress_at", nullptr}},
                  files.content(file["id"].get<std::string>()));
  files.remove(scope, file["id"].get<std::string>());  // the batch keeps its requests
  std::atomic<int> asked{0};
  {
    BatchRunner runner(state, {.answer = [&](const HttpRequest& request, const std::atomic<bool>&) {
                         EXPECT_EQ(request.left_by, scope);
                         ++asked;
                         return std::optional(HttpResponse{.body = "{}"});
                       }});
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!is_finished(*batches.find(scope, made["id"].get<std::string>())) && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
  }
  EXPECT_EQ(asked, 1);
  const Json batch = *batches.find(scope, made["id"].get<std::string>());
  EXPECT_EQ(batch["status"], "completed");
  EXPECT_TRUE(files.find(scope, batch["output_file_id"].get<std::string>()));
  EXPECT_FALSE(files.find("", batch["output_file_id"].get<std::string>()));
  EXPECT_FALSE(batches.find("", made["id"].get<std::string>()));
}

}  // namespace
}  // namespace minicpm::server
