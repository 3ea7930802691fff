// Pictures, videos and sounds that a user names: opened at once, so that a wrong path is told before a large model is
// loaded, and decoded when the model is known.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "cli/options.h"
#include "engine/chat.h"
#include "engine/video_parts.h"
#include "media/sound.h"

namespace minicpm::cli {

/// A picture, a video or a sound as it goes into a message, and the name the user gave it.
struct NamedMedia {
  std::string file;
  MediaFile::Kind kind = MediaFile::Kind::kImage;
  std::vector<ContentPart> parts;

  size_t frames() const;
};

struct OpenedMedia {
  std::string file;
  std::shared_ptr<const Image> image;  // of a picture
  std::shared_ptr<VideoReader> video;  // of a video
  std::shared_ptr<Sound> sound;        // of a sound
};

/// Reads a picture or a sound, or opens a video; "-" is standard input. Throws Error not_found, io, bad_file,
/// unsupported.
OpenedMedia open_media(MediaFile::Kind kind, const std::string& file, const Options& options);

/// A picture or a sound becomes one part, a video as many as the model's version has for it. Shows how far it is on a
/// terminal. Throws Error invalid_request for a model that cannot see, and as VideoReader::frames.
NamedMedia decode_media(const OpenedMedia& media, const Options& options, const Engine& engine,
                        const std::atomic<bool>* cancel = nullptr);

/// The user's wishes for videos. Throws Error invalid_request for values out of range.
VideoSampling video_sampling(const Options& options);

/// Tokens that the videos' frames take at most, in the published models; 0 without videos.
int64_t video_tokens(const std::vector<OpenedMedia>& media, const Options& options);

/// What a message holds: pictures and videos, the text, then sounds, as the official examples have them.
std::vector<ContentPart> message_content(const std::vector<NamedMedia>& media, const std::string& text);

/// "2 pictures, 1 video".
std::string media_count(const std::vector<NamedMedia>& media);

}  // namespace minicpm::cli
