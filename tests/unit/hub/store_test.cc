#include "hub/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <numeric>

#include "base/error.h"
#include "hub/settings.h"
#include "io/model_files.h"

namespace minicpm::hub {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kOld(40, 'a'), kNew(40, 'b');

/// A cache in a folder of its own, which the environment names.
class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    std::string form = (fs::temp_directory_path() / "minicpm-store-XXXXXX").string();
    cache = mkdtemp(form.data());
    setenv("HF_HUB_CACHE", cache.c_str(), 1);
  }
  ~StoreTest() override {
    unsetenv("HF_HUB_CACHE");
    fs::remove_all(cache);
  }

  fs::path repository() const { return cache / "models--org--name"; }
  void add(const std::string& commit, const std::string& path, const std::string& content) {
    const std::string hash = std::to_string(std::hash<std::string>()(content));
    fs::create_directories(repository() / "blobs");
    std::ofstream(repository() / "blobs" / hash) << content;
    const fs::path link = repository() / "snapshots" / commit / path;
    fs::create_directories(link.parent_path());
    fs::create_symlink(fs::relative(repository() / "blobs" / hash, link.parent_path()), link);
  }
  void name_revision(const std::string& revision, const std::string& commit) {
    const fs::path ref = repository() / "refs" / revision;
    fs::create_directories(ref.parent_path());
    std::ofstream(ref) << commit;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const StoredModel& model : stored_models(cache))
      result.push_back(model.name.text());
    return result;
  }
  size_t blobs() const {
    std::error_code error;
    return static_cast<size_t>(std::distance(fs::directory_iterator(repository() / "blobs", error), {}));
  }
  void remove_model(const std::string& name) { remove(plan_removal(cache, *parse_hub_name(name))); }

  fs::path cache;
};

TEST(HubName, WhatIsOneAndWhatIsNot) {
  const HubName name = *parse_hub_name("openbmb/MiniCPM-V-4_5-gguf@v1.0:Q4_K_M");
  EXPECT_EQ(name.organisation, "openbmb");
  EXPECT_EQ(name.name, "MiniCPM-V-4_5-gguf");
  EXPECT_EQ(name.revision, "v1.0");
  EXPECT_EQ(name.format, "Q4_K_M");
  EXPECT_EQ(name.text(), "openbmb/MiniCPM-V-4_5-gguf@v1.0:Q4_K_M");
  EXPECT_EQ(name.folder_name(), "models--openbmb--MiniCPM-V-4_5-gguf");
  EXPECT_EQ(parse_hub_name("hf.co/a/b:Q8_0")->text(), "a/b:Q8_0");
  EXPECT_EQ(parse_hub_name("https://huggingface.co/a/b")->text(), "a/b");
  EXPECT_EQ(parse_hub_name("a/b@refs/pr/1")->revision, "refs/pr/1");
  for (const char* text :
       {"",       "a",    "a/",     "/a",    "a/b/c",   "../b",    "a/..", "a/b@", "a/b:",      "a/b@../x",
        "a/b@/x", "a/-b", "a--b/c", "a/b c", "a/b@x y", "a/b:x/y", "./b",  "~/b",  "a/b:..\\x", "a/b@x@y"}) {
    EXPECT_FALSE(parse_hub_name(text)) << text;
  }
  EXPECT_EQ(hub_name_of_folder("models--org--name")->id(), "org/name");
  EXPECT_FALSE(hub_name_of_folder("datasets--org--name"));
  EXPECT_FALSE(hub_name_of_folder("models--..--name"));
}

TEST_F(StoreTest, ListsWhatCanBeRun) {
  EXPECT_THAT(names(), IsEmpty());
  add(kNew, "config.json", "{}");
  add(kNew, "model.safetensors", "weights");
  add(kNew, "name-Q8_0.gguf", "GGUF eight");
  add(kNew, "name-F16-00001-of-00002.gguf", "GGUF one");
  add(kNew, "name-F16-00002-of-00002.gguf", "GGUF two");
  add(kNew, "mmproj-f16.gguf", "GGUF eyes");
  add(kOld, "config.json", "{}");
  add(kOld, "model.safetensors", "old weights");
  name_revision("main", kNew);
  fs::create_directories(cache / "datasets--org--name");
  fs::create_directories(cache / "models--org--empty");
  EXPECT_THAT(names(), ElementsAre("org/name@" + kOld, "org/name", "org/name:F16", "org/name:Q8_0"));
  const auto models = stored_models(cache);
  EXPECT_EQ(models[2].bytes, 8 + 8 + 9);  // both parts and the projector
  EXPECT_TRUE(models[2].gguf);
  EXPECT_GT(models[2].modified, 0);
}

TEST_F(StoreTest, NamesMeanFilesOfTheStore) {
  add(kNew, "name-Q8_0.gguf", "GGUF eight");
  add(kNew, "more/name-F16.gguf", "GGUF sixteen");
  add(kNew, "mmproj-f16.gguf", "GGUF eyes");
  add(kOld, "config.json", "{}");
  add(kOld, "model.safetensors", "old weights");
  name_revision("main", kNew);
  name_revision("v1", kOld);
  const fs::path snapshot = repository() / "snapshots" / kNew;
  EXPECT_EQ(model_path("org/name"), snapshot / "name-Q8_0.gguf");
  EXPECT_EQ(model_path("org/name:q8_0"), snapshot / "name-Q8_0.gguf");
  EXPECT_EQ(find_model_files("org/name:F16", "").gguf, snapshot / "more/name-F16.gguf");
  EXPECT_EQ(find_model_files("org/name:F16", "").mmproj, snapshot / "mmproj-f16.gguf");
  EXPECT_EQ(model_path("org/name@v1"), repository() / "snapshots" / kOld);
  EXPECT_EQ(model_path("org/name@" + kOld), repository() / "snapshots" / kOld);
  const auto message = [](const char* model) {
    try {
      find_model_files(model, "");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNotFound);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message("org/name:Q2_K"), HasSubstr("`minicpm pull org/name:Q2_K`"));
  EXPECT_THAT(message("org/other"), HasSubstr("`minicpm pull org/other`"));
  EXPECT_THAT(message("org/name@v2"), HasSubstr("`minicpm pull org/name@v2`"));
}

TEST_F(StoreTest, WhatOthersUseStays) {
  for (const std::string& commit : {kOld, kNew}) {
    add(commit, "config.json", "{}");
    add(commit, "model.safetensors", "weights of " + commit);
  }
  name_revision("main", kNew);
  name_revision("v1", kOld);
  EXPECT_EQ(blobs(), 3u);
  const Removal removal = plan_removal(cache, *parse_hub_name("org/name"));
  EXPECT_EQ(removal.bytes, 51);
  remove(removal);
  EXPECT_THAT(names(), ElementsAre("org/name@v1"));
  EXPECT_EQ(blobs(), 2u);
  EXPECT_FALSE(fs::exists(repository() / "refs/main"));
  remove_model("org/name@v1");
  EXPECT_FALSE(fs::exists(repository()));
  EXPECT_THROW(remove_model("org/name"), Error);
}

TEST_F(StoreTest, ACommitWithTwoNamesLosesOneOfThem) {
  add(kNew, "config.json", "{}");
  add(kNew, "model.safetensors", "weights");
  name_revision("main", kNew);
  name_revision("v1", kNew);
  remove_model("org/name");
  EXPECT_THAT(names(), ElementsAre("org/name@v1"));
  EXPECT_EQ(blobs(), 2u);
}

TEST_F(StoreTest, OneFormatOfSeveral) {
  add(kNew, "name-Q8_0.gguf", "GGUF eight");
  add(kNew, "name-Q4_K_M.gguf", "GGUF four");
  add(kNew, "mmproj-f16.gguf", "GGUF eyes");
  name_revision("main", kNew);
  remove_model("org/name:Q8_0");
  EXPECT_THAT(names(), ElementsAre("org/name:Q4_K_M"));
  EXPECT_EQ(blobs(), 2u);
  remove_model("org/name:Q4_K_M");
  EXPECT_FALSE(fs::exists(repository()));
}

TEST_F(StoreTest, AnInterruptedPullCanBeRemoved) {
  fs::create_directories(repository() / "blobs");
  std::ofstream(repository() / "blobs/abc.incomplete") << "begun";
  const Removal removal = plan_removal(cache, *parse_hub_name("org/name"));
  EXPECT_EQ(removal.bytes, 5);
  remove(removal);
  EXPECT_FALSE(fs::exists(repository()));
}

TEST(HubSettings, FromTheEnvironment) {
  std::string form = (fs::temp_directory_path() / "minicpm-home-XXXXXX").string();
  const fs::path home = mkdtemp(form.data());
  for (const char* name :
       {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE"})
    unsetenv(name);
  setenv("HF_HOME", home.c_str(), 1);
  std::ofstream(home / "token") << "hf_of_file\n";
  HubSettings settings = settings_from_environment();
  EXPECT_EQ(settings.endpoint, "https://huggingface.co");
  EXPECT_EQ(settings.token, "hf_of_file");
  EXPECT_EQ(settings.cache, home / "hub");
  EXPECT_FALSE(settings.offline);
  setenv("HF_ENDPOINT", "https://mirror.example/", 1);
  setenv("HF_TOKEN", " hf_of_variable ", 1);
  setenv("HF_HUB_OFFLINE", "1", 1);
  settings = settings_from_environment();
  EXPECT_EQ(settings.endpoint, "https://mirror.example");
  EXPECT_EQ(settings.token, "hf_of_variable");
  EXPECT_TRUE(settings.offline);
  setenv("HF_TOKEN", "a\r\nHost: b", 1);
  EXPECT_THROW(settings_from_environment(), Error);
  setenv("HF_TOKEN", "a", 1);
  setenv("HF_ENDPOINT", "ftp://mirror.example", 1);
  EXPECT_THROW(settings_from_environment(), Error);
  for (const char* name : {"HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME"})
    unsetenv(name);
  fs::remove_all(home);
}

}  // namespace
}  // namespace minicpm::hub
