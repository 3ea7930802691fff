// Training data in a file of the user's.
#pragma once

#include <filesystem>
#include <string>

#include "engine/video_parts.h"
#include "media/image.h"
#include "train/record_file.h"
#include "train/sample.h"
#include "train/sample_json.h"

namespace minicpm {

struct DatasetOptions {
  std::filesystem::path media_root;  // of relative paths; empty: the folder of the file
  DecodeOptions decode;
  VideoSampling video;                // of video files
  bool temporal = true;               // VersionRow::temporal: whether frames may be packed
  std::optional<SliceConfig> slices;  // the model's: lets frames of video files shrink early, which saves memory
};

/// A JSON array or JSON lines of conversations, in the forms of train/sample_json.h (docs/training-data.md). Pictures
/// and sounds are read when a sample is asked for; only the places of the records are held.
class JsonDataset : public SampleSource {
 public:
  /// Throws Error as RecordFile::open.
  static std::unique_ptr<JsonDataset> open(const std::filesystem::path& file, const DatasetOptions& options = {});

  int64_t size() const override { return records_.size(); }
  /// Throws Error as parse_record, as load_image for its pictures and read_sound for its sounds; every message begins
  /// with the origin.
  TrainingSample sample(int64_t index) const override;
  /// "data.jsonl:17".
  std::string origin(int64_t index) const { return records_.origin(index); }

 private:
  JsonDataset(RecordFile records, DatasetOptions options);
  TrainingSample load(const std::vector<RecordMessage>& messages) const;
  std::shared_ptr<const Image> load_picture(const Json& source) const;
  std::shared_ptr<const Image> load_picture_url(const std::string& url) const;
  ContentPart load_sound(const Json& source) const;
  std::vector<ContentPart> load_video(const Json& source) const;
  std::vector<ContentPart> load_frames(const Json& frames, double fps, std::optional<int64_t> pack) const;
  std::filesystem::path resolve(const std::string& path) const;

  RecordFile records_;
  DatasetOptions options_;
};

}  // namespace minicpm
