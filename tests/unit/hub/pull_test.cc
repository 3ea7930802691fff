#include "hub/pull.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <set>

#include "hub/blob_download.h"
#include "hub/repository.h"
#include "support/fake_hub.h"

namespace minicpm::hub {
namespace {

namespace fs = std::filesystem;
using minicpm::testing::FakeHub;
using minicpm::testing::FakeReply;
using minicpm::testing::FakeRequest;
using minicpm::testing::http_reply;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const HubName kName = *parse_hub_name("someone/small");

std::string content_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i)
    text[i] = static_cast<char>((i * 2654435761u) >> 13);
  return text;
}

class PullTest : public ::testing::Test {
 protected:
  PullTest() : hub("someone/small") {
    std::string form = (fs::temp_directory_path() / "minicpm-hub-XXXXXX").string();
    folder = mkdtemp(form.data());
    settings.endpoint = hub.url();
    settings.cache = folder / "hub";
    settings.first_pause = std::chrono::milliseconds(1);
    settings.longest_pause = std::chrono::milliseconds(5);
    settings.times.stall = std::chrono::milliseconds(500);
    hub.files = {{"config.json", "{\"a\": 1}"},
                 {"model.safetensors", pattern(300'000), true},
                 {"assets/voice/a.wav", pattern(20'000), true},
                 {"modeling.py", "import os"},
                 {"README.md", "words"}};
  }
  ~PullTest() override { fs::remove_all(folder); }

  fs::path repository() const { return settings.cache / "models--someone--small"; }
  fs::path blob(size_t file) const { return repository() / "blobs" / hub.files[file].hash(); }
  fs::path snapshot() const { return repository() / "snapshots" / hub.commit; }

  /// The sentence of the error, which must have that code.
  std::string error_of(ErrorCode code) {
    try {
      pull(kName, settings);
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }

  /// Targets with "/resolve/" that the hub was asked for.
  size_t asked_files() {
    size_t count = 0;
    for (const FakeRequest& request : hub.server().requests())
      count += request.target.find("/resolve/") != std::string::npos;
    return count;
  }

  FakeHub hub;
  fs::path folder;
  HubSettings settings;
};

TEST(ContentHash, KnownValues) {
  ContentHash sha(ContentHash::Kind::kSha256, 3);
  sha.add("abc");
  EXPECT_EQ(sha.finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  ContentHash git(ContentHash::Kind::kGitBlob, 6);
  git.add("hel");
  git.add("lo\n");
  EXPECT_EQ(git.finish(), "ce013625030ba8dba906f756967f9e9ca394464a");  // `echo hello | git hash-object --stdin`
}

TEST_F(PullTest, MakesTheLayoutOfTheHubsLibraries) {
  std::vector<int64_t> seen;
  const PullResult result =
      pull(kName, settings, {.on_progress = [&](const PullProgress& state) { seen.push_back(state.done_bytes); }});
  EXPECT_EQ(result.commit, hub.commit);
  EXPECT_EQ(result.files, 3u);
  EXPECT_EQ(result.fetched_bytes, 320'008);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back(), 320'008);
  EXPECT_EQ(content_of(repository() / "refs/main"), hub.commit);
  for (const size_t i : {0, 1, 2})
    EXPECT_EQ(content_of(snapshot() / hub.files[i].path), hub.files[i].content);
  EXPECT_EQ(fs::read_symlink(snapshot() / "config.json"), "../../blobs/" + hub.files[0].hash());
  EXPECT_EQ(fs::read_symlink(snapshot() / "assets/voice/a.wav"), "../../../../blobs/" + hub.files[2].hash());
  EXPECT_THAT(snapshot_files(snapshot()), ElementsAre("assets/voice/a.wav", "config.json", "model.safetensors"));
  size_t blobs = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(repository() / "blobs"))
    ++blobs;
  EXPECT_EQ(blobs, 3u);  // nothing incomplete is left

  const PullResult again = pull(kName, settings);
  EXPECT_EQ(again.fetched_bytes, 0);
  EXPECT_EQ(asked_files(), 3u);
}

TEST_F(PullTest, TheTokenStaysWithTheHub) {
  settings.token = "hf_secret";
  pull(kName, settings);
  for (const FakeRequest& request : hub.server().requests())
    EXPECT_EQ(request.headers.at("authorization"), "Bearer hf_secret") << request.target;
  ASSERT_EQ(hub.cdn().requests().size(), 2u);
  for (const FakeRequest& request : hub.cdn().requests())
    EXPECT_FALSE(request.headers.contains("authorization"));
}

TEST_F(PullTest, ACutConnectionGoesOnWhereItWas) {
  size_t cut = 0;
  hub.cdn_hook = [&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (request.target != "/" + hub.files[1].hash() || cut == 3) return std::nullopt;
    FakeReply reply = file_reply(request, hub.files[1].content);
    reply.bytes.resize(reply.bytes.find("\r\n\r\n") + 4 + 50'000);
    ++cut;
    return reply;
  };
  pull(kName, settings);
  EXPECT_EQ(content_of(snapshot() / "model.safetensors"), hub.files[1].content);
  std::multiset<std::string> ranges;
  for (const FakeRequest& request : hub.cdn().requests()) {
    if (request.headers.contains("range")) ranges.insert(request.headers.at("range"));
  }
  EXPECT_THAT(ranges, ElementsAre("bytes=100000-", "bytes=150000-", "bytes=50000-"));
}

TEST_F(PullTest, GoesOnBehindAnEarlierRun) {
  fs::create_directories(blob(1).parent_path());
  std::ofstream(fs::path(blob(1)).concat(".incomplete")) << hub.files[1].content.substr(0, 123'456);
  const PullResult result = pull(kName, settings);
  EXPECT_EQ(result.fetched_bytes, 320'008 - 123'456);
  EXPECT_EQ(content_of(blob(1)), hub.files[1].content);
}

TEST_F(PullTest, ADamagedBeginningIsFetchedAnew) {
  fs::create_directories(blob(1).parent_path());
  std::ofstream(fs::path(blob(1)).concat(".incomplete")) << std::string(1000, 'x');
  pull(kName, settings);
  EXPECT_EQ(content_of(blob(1)), hub.files[1].content);
}

TEST_F(PullTest, AServerWithoutRangesSendsAllAgain) {
  fs::create_directories(blob(1).parent_path());
  std::ofstream(fs::path(blob(1)).concat(".incomplete")) << std::string(1000, 'x');
  hub.cdn_hook = [&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (request.target != "/" + hub.files[1].hash()) return std::nullopt;
    return http_reply(200, hub.files[1].content);
  };
  pull(kName, settings);
  EXPECT_EQ(content_of(blob(1)), hub.files[1].content);
  EXPECT_EQ(asked_files(), 3u);
}

TEST_F(PullTest, AWrongContentIsNotKept) {
  hub.cdn_hook = [&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (request.target != "/" + hub.files[1].hash()) return std::nullopt;
    return http_reply(200, std::string(300'000, 'x'));
  };
  EXPECT_THAT(error_of(ErrorCode::kBadFile), AllOf(HasSubstr("model.safetensors"), HasSubstr("hash")));
  EXPECT_FALSE(fs::exists(blob(1)));
  EXPECT_FALSE(fs::exists(fs::path(blob(1)).concat(".incomplete")));
  EXPECT_FALSE(fs::exists(repository() / "refs/main"));
}

TEST_F(PullTest, MoreThanWasNamedIsRefused) {
  hub.cdn_hook = [&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (request.target != "/" + hub.files[1].hash()) return std::nullopt;
    return http_reply(200, std::string(900'000, 'x'));
  };
  EXPECT_THAT(error_of(ErrorCode::kBadFile), HasSubstr("more than its 300000 bytes"));
}

TEST_F(PullTest, AnotherEtagThanTheListsIsRefused) {
  hub.hook = [&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (request.target != hub.resolve_path("model.safetensors")) return std::nullopt;
    return http_reply(200, hub.files[1].content, "X-Linked-Etag: \"" + std::string(64, 'a') + "\"\r\n");
  };
  EXPECT_THAT(error_of(ErrorCode::kBadFile), HasSubstr("another content"));
}

TEST_F(PullTest, AWrongRangeIsRefused) {
  fs::create_directories(blob(1).parent_path());
  std::ofstream(fs::path(blob(1)).concat(".incomplete")) << hub.files[1].content.substr(0, 100);
  hub.cdn_hook = [&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (request.target != "/" + hub.files[1].hash()) return std::nullopt;
    return http_reply(206, hub.files[1].content, "Content-Range: bytes 0-299999/300000\r\n");
  };
  EXPECT_THAT(error_of(ErrorCode::kNetwork), HasSubstr("another part"));
}

TEST_F(PullTest, PassingFailuresAreTriedAgain) {
  std::map<std::string, int> failures;
  const auto fail_twice = [&](const FakeRequest& request) -> std::optional<FakeReply> {
    const int before = failures[request.target]++;
    if (before == 0) return http_reply(429, "", "Retry-After: 0\r\n");
    if (before == 1) return http_reply(503, "");
    return std::nullopt;
  };
  hub.hook = hub.cdn_hook = fail_twice;
  pull(kName, settings);
  EXPECT_EQ(content_of(blob(1)), hub.files[1].content);
}

TEST_F(PullTest, GivesUpWhenTheFailureDoesNotPass) {
  hub.hook = [](const FakeRequest&) { return http_reply(500, "oops"); };
  EXPECT_THAT(error_of(ErrorCode::kNetwork), HasSubstr("answers 500"));
  EXPECT_EQ(hub.server().requests().size(), static_cast<size_t>(settings.attempts));
}

TEST_F(PullTest, AServerThatFallsSilentIsAskedAgain) {
  bool silent = true;
  hub.cdn_hook = [&](const FakeRequest& request) -> std::optional<FakeReply> {
    if (request.target != "/" + hub.files[1].hash() || !std::exchange(silent, false)) return std::nullopt;
    FakeReply reply = file_reply(request, hub.files[1].content);
    reply.bytes.resize(reply.bytes.find("\r\n\r\n") + 4 + 1000);
    reply.hold = true;
    return reply;
  };
  pull(kName, settings);
  EXPECT_EQ(content_of(blob(1)), hub.files[1].content);
}

TEST_F(PullTest, RefusalsAndAbsenceAreNamed) {
  const auto answered = [&](int status, const std::string& lines, ErrorCode code) {
    hub.hook = [=](const FakeRequest&) { return http_reply(status, "", lines); };
    return error_of(code);
  };
  EXPECT_THAT(answered(404, "X-Error-Code: RepoNotFound\r\n", ErrorCode::kNotFound), HasSubstr("no such model"));
  EXPECT_THAT(answered(404, "X-Error-Code: RevisionNotFound\r\n", ErrorCode::kNotFound), HasSubstr("no revision main"));
  EXPECT_THAT(answered(401, "X-Error-Code: RepoNotFound\r\n", ErrorCode::kNotFound), HasSubstr("set HF_TOKEN"));
  settings.token = "hf_secret";
  EXPECT_THAT(
      answered(403, "X-Error-Code: GatedRepo\r\n", ErrorCode::kRefused),
      AllOf(HasSubstr("accept its conditions at " + hub.url() + "/someone/small"), Not(HasSubstr("hf_secret"))));
  EXPECT_THAT(answered(401, "", ErrorCode::kRefused), AllOf(HasSubstr("401"), Not(HasSubstr("hf_secret"))));
  EXPECT_FALSE(fs::exists(repository()));
}

TEST_F(PullTest, NobodyThere) {
  settings.endpoint = "http://127.0.0.1:1";
  settings.attempts = 2;
  EXPECT_THAT(error_of(ErrorCode::kNetwork), HasSubstr("127.0.0.1:1"));
  settings.offline = true;
  EXPECT_THAT(error_of(ErrorCode::kNetwork), HasSubstr("HF_HUB_OFFLINE"));
}

TEST_F(PullTest, RedirectsEndAndStayInTheirProtocol) {
  hub.hook = [&](const FakeRequest& request) {
    return http_reply(302, "", "Location: " + hub.url() + request.target + "\r\n");
  };
  EXPECT_THAT(error_of(ErrorCode::kNetwork), HasSubstr("more than 10 times"));
  hub.hook = [](const FakeRequest&) { return http_reply(302, "", "Location: file:///etc/passwd\r\n"); };
  EXPECT_THAT(error_of(ErrorCode::kNetwork), HasSubstr("refused"));
}

TEST_F(PullTest, HostileListsAreRefusedBeforeAnythingIsWritten) {
  const auto refused = [&](const std::function<void(Json&)>& change) {
    Json list = hub.list();
    change(list);
    hub.hook = [text = list.dump()](const FakeRequest&) { return http_reply(200, text); };
    EXPECT_THAT(error_of(ErrorCode::kNetwork), Not(HasSubstr("\n")));
    EXPECT_FALSE(fs::exists(settings.cache));
  };
  for (const char* path : {"../config.json", "/etc/passwd", "a/../../b.json", "a//b.json", "./config.json", "",
                           "a\\b.json", "a\nb.json", "..", "a/"}) {
    refused([&](Json& list) { list["siblings"][0]["rfilename"] = path; });
  }
  refused([](Json& list) { list["siblings"][0]["rfilename"] = std::string(300, 'a'); });
  refused([](Json& list) { list["siblings"][0]["rfilename"] = 7; });
  refused([](Json& list) { list["siblings"][1]["rfilename"] = "config.json"; });
  refused([](Json& list) { list["siblings"][0]["blobId"] = "../../../x"; });
  refused([](Json& list) { list["siblings"][1]["lfs"]["sha256"] = std::string(64, '/'); });
  refused([](Json& list) { list["siblings"][1]["lfs"]["sha256"] = std::string(40, 'a'); });
  refused([](Json& list) { list["siblings"][0]["size"] = -1; });
  refused([](Json& list) { list["siblings"][0].erase("size"); });
  refused([](Json& list) { list["siblings"][1]["lfs"]["size"] = uint64_t{1} << 62; });
  refused([](Json& list) { list["sha"] = "main"; });
  refused([](Json& list) { list["siblings"] = 3; });
  refused([](Json& list) { list = Json::array(); });
  hub.hook = [](const FakeRequest&) { return http_reply(200, "<html>"); };
  EXPECT_THAT(error_of(ErrorCode::kNetwork), HasSubstr("not valid JSON"));
}

TEST_F(PullTest, AFullDiskIsSeenBeforehand) {
  Json list = hub.list();
  list["siblings"][1]["lfs"]["size"] = uint64_t{1} << 44;
  hub.hook = [text = list.dump()](const FakeRequest&) { return http_reply(200, text); };
  EXPECT_THAT(error_of(ErrorCode::kIo), HasSubstr("the disk has room"));
  EXPECT_EQ(asked_files(), 0u);
}

TEST_F(PullTest, ACancelledPullEnds) {
  std::atomic<bool> cancel{false};
  hub.cdn_hook = [&](const FakeRequest& request) -> std::optional<FakeReply> {
    FakeReply reply = file_reply(request, hub.files[1].content);
    reply.bytes.resize(reply.bytes.find("\r\n\r\n") + 4 + 1000);
    reply.hold = true;
    cancel = true;
    return reply;
  };
  settings.times.stall = std::chrono::seconds(30);
  EXPECT_THROW(pull(kName, settings, {.cancel = &cancel}), Error);
  EXPECT_FALSE(fs::exists(repository() / "refs/main"));
}

TEST_F(PullTest, WaitsForAnotherPullOfTheSameContent) {
  const fs::path locks = settings.cache / ".locks/models--someone--small";
  fs::create_directories(locks);
  fs::create_directories(blob(1).parent_path());
  const fs::path path = locks / (hub.files[1].hash() + ".lock");
  const int other = ::open(path.c_str(), O_CREAT | O_RDWR, 0644);
  ASSERT_EQ(::flock(other, LOCK_EX), 0);
  std::jthread waiting([&] { pull(kName, settings); });
  // The other pull ends once this one has asked for all that is not locked.
  while (asked_files() < 2)
    std::this_thread::yield();
  EXPECT_FALSE(fs::exists(repository() / "refs/main"));
  std::ofstream(blob(1)) << hub.files[1].content;
  ::close(other);
  waiting.join();
  EXPECT_EQ(asked_files(), 2u);
  EXPECT_EQ(content_of(snapshot() / "model.safetensors"), hub.files[1].content);
}

TEST_F(PullTest, OneGgufModelWithItsProjector) {
  hub.files = {{"small-Q4_K_M.gguf", "GGUF four", true},
               {"small-Q8_0.gguf", "GGUF eight", true},
               {"mmproj-model-f16.gguf", "GGUF eyes", true},
               {"big/small-F16-00001-of-00002.gguf", "GGUF one", true},
               {"big/small-F16-00002-of-00002.gguf", "GGUF two", true}};
  pull(*parse_hub_name("someone/small:q8_0"), settings);
  EXPECT_THAT(snapshot_files(snapshot()), ElementsAre("mmproj-model-f16.gguf", "small-Q8_0.gguf"));
  pull(kName, settings);
  EXPECT_THAT(snapshot_files(snapshot()), ElementsAre("mmproj-model-f16.gguf", "small-Q4_K_M.gguf", "small-Q8_0.gguf"));
  pull(*parse_hub_name("someone/small:F16"), settings);
  EXPECT_EQ(snapshot_files(snapshot()).size(), 5u);
  EXPECT_THROW(pull(*parse_hub_name("someone/small:Q2_K"), settings), Error);
}

TEST(Repository, ARepositoryWithoutAModelIsNamed) {
  const Repository repository{std::string(40, 'a'), {{"pytorch_model.bin", 3, std::string(64, 'a')}}};
  try {
    needed_files(repository, kName);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("someone/small"));
  }
}

}  // namespace
}  // namespace minicpm::hub
