#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "small_vocabularies.h"
#include "text/python_json.h"

namespace minicpm {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

ChatMessage message(std::string role, std::string content) {
  ChatMessage m;
  m.role = std::move(role);
  m.content = std::move(content);
  return m;
}

std::string render(ChatFamily family, const std::vector<ChatMessage>& messages,
                   const ChatTemplateOptions& options = {}) {
  return join(apply_chat_template(family, messages, options));
}

const ChatFamily kAllFamilies[] = {ChatFamily::kQwen3,    ChatFamily::kQwen2,    ChatFamily::kLlama3,
                                   ChatFamily::kMiniCpm2, ChatFamily::kMiniCpm4, ChatFamily::kOmni26Tts,
                                   ChatFamily::kOmni45};

TEST(ChatTemplateTest, Qwen2HasADefaultSystemMessage) {
  EXPECT_EQ(render(ChatFamily::kQwen2, {message("user", "Hi")}),
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(render(ChatFamily::kQwen2, {message("system", "S"), message("user", "Hi")}),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplateTest, MiniCpm4HasNone) {
  ChatTemplateOptions options;
  options.add_generation_prompt = false;
  EXPECT_EQ(render(ChatFamily::kMiniCpm4, {message("user", "Hi")}, options), "<|im_start|>user\nHi<|im_end|>\n");
}

TEST(ChatTemplateTest, Qwen3ToolCalls) {
  ChatMessage call = message("assistant", "");
  call.tool_calls =
      Json::parse(R"([{"type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": "\u00e9"}}},
                                    {"name": "g", "arguments": "{\"x\":2}"}])");
  const std::string text =
      render(ChatFamily::kQwen3, {message("user", "q"), call, message("tool", "1"), message("tool", "2")});
  EXPECT_THAT(text,
              HasSubstr("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": \"\u00e9\"}}\n</tool_call>\n"
                        "<tool_call>\n{\"name\": \"g\", \"arguments\": {\"x\":2}}\n</tool_call><|im_end|>\n"));
  EXPECT_THAT(text, HasSubstr("<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n"
                              "</tool_response><|im_end|>\n<|im_start|>assistant\n"));
}

TEST(ChatTemplateTest, TextsOfMessagesAreNeverControlPieces) {
  ChatMessage assistant = message("assistant", "<think>EVIL1</think>EVIL2");
  assistant.tool_calls = Json::parse(R"([{"name": "EVIL3", "arguments": {"EVIL4": "EVIL5"}}])");
  ChatMessage thoughtful = message("assistant", "EVIL6");
  thoughtful.reasoning_content = "EVIL7";
  ChatTemplateOptions options;
  options.tools = Json::parse(R"([{"name": "EVIL8"}])");
  const std::vector<ChatMessage> full = {message("system", "EVIL9"), message("user", "EVIL0"), assistant,
                                         message("tool", "EVIL10"), thoughtful};
  for (const ChatFamily family : kAllFamilies) {
    const bool tools = family == ChatFamily::kQwen3 || family == ChatFamily::kOmni45;
    const std::vector<ChatMessage> plain = {message("user", "EVIL a"), message("assistant", "EVIL b"),
                                            message("user", "EVIL c")};
    bool found = false;
    for (const PromptPiece& piece : apply_chat_template(family, tools ? full : plain, options)) {
      EXPECT_FALSE(piece.text.empty());
      if (piece.control) {
        EXPECT_EQ(piece.text.find("EVIL"), std::string::npos) << piece.text;
      }
      found = found || piece.text.find("EVIL") != std::string::npos;
    }
    EXPECT_TRUE(found);
  }
}

TEST(ChatTemplateTest, RolesAreNotControlPiecesWhereTheyAreFree) {
  for (const ChatFamily family : {ChatFamily::kQwen2, ChatFamily::kLlama3, ChatFamily::kMiniCpm4}) {
    for (const PromptPiece& piece : apply_chat_template(family, {message("<|im_end|>", "x")}, {})) {
      if (piece.control) {
        EXPECT_EQ(piece.text.find("<|im_start|><|im_end|>"), std::string::npos);
      }
    }
  }
}

TEST(ChatTemplateTest, ContentPiecesKeepTheirKind) {
  ChatMessage user;
  user.role = "user";
  user.content_pieces = {{"<image><unk></image>", true}, {"\n<image> what? ", false}};
  for (const ChatFamily family : kAllFamilies) {
    SCOPED_TRACE(static_cast<int>(family));
    std::string control, typed;
    for (const PromptPiece& piece : apply_chat_template(family, {user}, {}))
      (piece.control ? control : typed) += piece.text;
    EXPECT_THAT(control, HasSubstr("<image><unk></image>"));
    EXPECT_THAT(typed, HasSubstr(family == ChatFamily::kLlama3 ? "\n<image> what?" : "\n<image> what? "));
  }
}

TEST(ChatTemplateTest, Llama3TrimsAcrossPieces) {
  ChatMessage user;
  user.role = "user";
  user.content_pieces = {{" \u3000", false}, {"\x1f x ", true}, {"\u2003\n", false}, {"", false}};
  EXPECT_THAT(render(ChatFamily::kLlama3, {user}), HasSubstr("<|end_header_id|>\n\nx<|eot_id|>"));
}

TEST(ChatTemplateTest, MiniCpm2ImageMark) {
  ChatTemplateOptions options;
  EXPECT_EQ(render(ChatFamily::kMiniCpm2, {message("user", "a")}, options), "<用户>(<image>./</image>)a<AI>");
  EXPECT_EQ(render(ChatFamily::kMiniCpm2, {message("user", "(<image>./</image>)a")}, options),
            "<用户>(<image>./</image>)a<AI>");
  options.add_image_mark = false;
  EXPECT_EQ(render(ChatFamily::kMiniCpm2, {message("user", "a")}, options), "<用户>a<AI>");
}

TEST(ChatTemplateTest, RefusedRequests) {
  for (const ChatFamily family : kAllFamilies)
    EXPECT_EQ(error_of([&] { apply_chat_template(family, {}, {}); }).first, ErrorCode::kInvalidRequest);
  const auto refused = [](ChatFamily family, const ChatMessage& m) {
    const auto [code, text] = error_of([&] { apply_chat_template(family, {message("user", "q"), m}, {}); });
    EXPECT_EQ(code, ErrorCode::kInvalidRequest);
    return text;
  };
  EXPECT_THAT(refused(ChatFamily::kQwen3, message("developer", "x")), HasSubstr("the role \"developer\""));
  EXPECT_THAT(refused(ChatFamily::kMiniCpm2, message("system", "x")), HasSubstr("the role \"system\""));
  ChatMessage call = message("assistant", "");
  for (const char* json : {R"([{"name": "f"}])", R"([{"arguments": {}}])", R"([{"name": 3, "arguments": {}}])", "[1]",
                           R"([{"function": null}])"}) {
    call.tool_calls = Json::parse(json);
    EXPECT_THAT(refused(ChatFamily::kQwen3, call), HasSubstr("tool_calls[0] needs a name and arguments")) << json;
  }
}

TEST(PythonJsonTest, LooksLikeJsonDumps) {
  const auto written = [](const char* text) { return to_python_json(Json::parse(text)); };
  EXPECT_EQ(written(R"({"b":[1,-2,true,false,null],"a":{}})"), R"({"b": [1, -2, true, false, null], "a": {}})");
  EXPECT_EQ(written(R"(["\u00e9\"\\/\b\f\n\r\t\u0001\u007f", "<&>'"])"),
            "[\"\u00e9\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\", \"<&>'\"]");
  EXPECT_EQ(written("18446744073709551615"), "18446744073709551615");
  EXPECT_EQ(written("[]"), "[]");
}

// The right-hand sides are Python's repr of the numbers.
TEST(PythonJsonTest, Floats) {
  const std::pair<double, const char*> cases[] = {{1.0, "1.0"},
                                                  {0.1, "0.1"},
                                                  {-0.0, "-0.0"},
                                                  {1e15, "1000000000000000.0"},
                                                  {1e16, "1e+16"},
                                                  {123456789012345680.0, "1.2345678901234568e+17"},
                                                  {0.0001, "0.0001"},
                                                  {0.00001, "1e-05"},
                                                  {1.5e-7, "1.5e-07"},
                                                  {1e100, "1e+100"},
                                                  {2.5e300, "2.5e+300"},
                                                  {5e-324, "5e-324"},
                                                  {3.141592653589793, "3.141592653589793"}};
  for (const auto& [value, expected] : cases)
    EXPECT_EQ(to_python_json(Json(value)), expected);
}

TEST(PythonJsonTest, DeepNestingIsRefused) {
  Json json;
  for (int i = 0; i < 200; ++i)
    json = Json::array({json});
  EXPECT_EQ(error_of([&] { to_python_json(json); }).first, ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace minicpm
