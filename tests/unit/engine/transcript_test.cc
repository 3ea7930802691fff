#include "engine/transcript.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace minicpm {
namespace {

const Transcript kTranscript = {"talk.wav",
                                3725.5,
                                {{0, 1.25, "Hello.", false},
                                 {1.25, 3, "", false},
                                 {3, 3661.002, "A --> B\n\nC", false},
                                 {3661.002, 3725.5, "end", true}}};

TEST(Transcript, Text) {
  EXPECT_EQ(transcript_text(kTranscript), "Hello.\nA --> B\n\nC\nend\n");
}

TEST(Transcript, Subtitles) {
  EXPECT_EQ(transcript_srt(kTranscript),
            "1\n00:00:00,000 --> 00:00:01,250\nHello.\n\n"
            "2\n00:00:03,000 --> 01:01:01,002\nA -> B\nC\n\n"
            "3\n01:01:01,002 --> 01:02:05,500\nend\n");
  EXPECT_EQ(transcript_vtt(kTranscript),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nHello.\n\n"
            "00:00:03.000 --> 01:01:01.002\nA -> B\nC\n\n"
            "01:01:01.002 --> 01:02:05.500\nend\n");
  EXPECT_EQ(transcript_srt({}), "");
  EXPECT_EQ(transcript_vtt({}), "WEBVTT\n");
}

TEST(Transcript, AsJson) {
  const Json json = transcript_json(kTranscript);
  EXPECT_EQ(json.at("file"), "talk.wav");
  EXPECT_EQ(json.at("segments").size(), 4u);
  EXPECT_EQ(json.at("segments")[3].at("cut_short"), true);
  EXPECT_FALSE(json.at("segments")[0].contains("cut_short"));
}

TEST(Transcript, Instructions) {
  EXPECT_NE(transcript_instruction("en"), transcript_instruction("zh"));
  EXPECT_THROW(transcript_instruction("fr"), Error);
}

}  // namespace
}  // namespace minicpm
