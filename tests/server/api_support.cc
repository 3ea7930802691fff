#include "server/api_support.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/file_map.h"

namespace minicpm::server {
namespace {

const std::filesystem::path kSource = MINICPM_SOURCE_DIR;
constexpr int kSide = 168;  // pixels of a drawn picture

using Rgb = std::array<uint8_t, 3>;

enum class Kind { kSquare, kCircle, kDiamond };

bool covers(Kind kind, int x, int y) {
  const double dx = std::abs(x + 0.5 - kSide / 2.0), dy = std::abs(y + 0.5 - kSide / 2.0), radius = kSide * 0.36;
  if (kind == Kind::kSquare) return dx < radius * 0.86 && dy < radius * 0.86;
  if (kind == Kind::kCircle) return dx * dx + dy * dy < radius * radius;
  return dx + dy < radius;
}

void append_little(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i)
    out += static_cast<char>(value >> (8 * i) & 0xFF);
}

std::string bmp(Kind kind, const Rgb& rgb) {
  constexpr uint32_t kBytes = kSide * kSide * 3;  // rows are multiples of four bytes
  std::string out = "BM";
  append_little(out, 54 + kBytes, 4);
  append_little(out, 0, 4);
  append_little(out, 54, 4);
  append_little(out, 40, 4);
  append_little(out, kSide, 4);
  append_little(out, kSide, 4);
  append_little(out, 1, 2);
  append_little(out, 24, 2);
  out.append(24, '\0');
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      for (int c = 2; c >= 0; --c)
        out += static_cast<char>(covers(kind, x, y) ? rgb[static_cast<size_t>(c)] : 255);
    }
  }
  return out;
}

}  // namespace

std::string asset(const std::string& name) {
  return read_file(kSource / "assets/pico" / name, 16u << 20);
}

std::string data_url(const std::string& bytes, const std::string& type) {
  return "data:" + type + ";base64," + encode_base64(bytes);
}

std::vector<KnownPicture> known_pictures() {
  const std::pair<const char*, Rgb> colors[] = {{"red", {220, 30, 36}},    {"green", {38, 166, 64}},
                                                {"blue", {26, 77, 217}},   {"purple", {128, 38, 166}},
                                                {"pink", {255, 128, 191}}, {"black", {26, 26, 26}}};
  const std::pair<const char*, Kind> kinds[] = {
      {"square", Kind::kSquare}, {"circle", Kind::kCircle}, {"diamond", Kind::kDiamond}};
  std::vector<KnownPicture> pictures;
  for (const auto& [color, rgb] : colors) {
    for (const auto& [kind, shape] : kinds)
      pictures.push_back({bmp(shape, rgb), std::string("a ") + color + " " + kind});
  }
  return pictures;
}

Json image_part(const std::string& bytes) {
  return {{"type", "image_url"}, {"image_url", {{"url", data_url(bytes, "image/png")}}}};
}

Json text_part(const std::string& text) {
  return {{"type", "text"}, {"text", text}};
}

Json openai_question(const Json& content) {
  return {{"model", "pico"},
          {"messages", Json::array({{{"role", "user"}, {"content", content}}})},
          {"temperature", 0},
          {"max_tokens", 64}};
}

std::string openai_text(const Reply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  if (reply.status != 200) return {};
  return reply.json()["choices"][0]["message"]["content"].get<std::string>();
}

std::string openai_streamed_text(const Reply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  const Events events = events_of(reply.body);
  EXPECT_TRUE(events.done && reply.complete) << reply.body;
  std::string text;
  for (const Json& event : events.data) {
    for (const Json& choice : event.at("choices"))
      text += choice.at("delta").value("content", "");
  }
  return text;
}

ApiTest::ApiTest() {
  setenv("MINICPM_MODELS", (kSource / "models").c_str(), 1);
  options.http.port = 0;
  options.version = "1.2.3";
  options.log_format = LogFormat::kText;
  options.log = [this](std::string_view line) {
    const std::scoped_lock lock(mutex_);
    log_ += std::string(line) + "\n";
  };
}

ApiTest::~ApiTest() {
  server.reset();
}

int ApiTest::start() {
  if (models.empty()) {
    EngineOptions engine;
    engine.backend.num_threads = 1;
    models.push_back(load_served_model({"pico", ""}, engine));
  }
  server = std::make_unique<Server>(options, std::move(models));
  server->start();
  return server->port();
}

std::string ApiTest::log() {
  const std::scoped_lock lock(mutex_);
  return log_;
}

}  // namespace minicpm::server
