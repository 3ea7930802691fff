#include "train/torch/sound_batch.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace minicpm::train {
namespace {

struct Piece {
  const MelFrames* mel;
  int64_t frames = 0;       // mel frames that are encoded, silence behind the sound included
  int64_t rows = 0;         // encoder frames that attend to each other
  int64_t own = 0;          // of these, the sound's
  int64_t first_frame = 0;  // in the packed frames
  int64_t first_row = 0;    // of its pooled rows

  /// Silence in front and behind, and an even length.
  int64_t padded() const { return (frames + 3) / 2 * 2; }
};

/// One media item of a sample.
struct Item {
  size_t first_piece = 0, pieces = 0;
  const MediaItem* media;
  int64_t text_start = 0;              // of its sample in the batch
  const std::vector<int32_t>* spoken;  // null: not known
};

/// As AudioEncoder::forward encodes pieces that belong together: a shorter one sees silence behind its end.
Piece make_piece(const AudioConfig& config, const MelFrames& mel, int64_t longest) {
  Piece piece{&mel};
  const int64_t chunk = config.chunk_frames();
  piece.own = AudioConfig::encoder_frames(mel.frames);
  const int64_t visible = std::min(AudioConfig::encoder_frames(longest), mel.frames);
  piece.rows = chunk > 0 ? std::min(visible, (piece.own + chunk - 1) / chunk * chunk) : visible;
  piece.frames = std::min(longest, 2 * piece.rows + 2);
  return piece;
}

void collect(const AudioConfig& config, std::span<const EncodedSample* const> samples, int64_t length,
             std::vector<Item>& items, std::vector<Piece>& pieces) {
  for (size_t s = 0; s < samples.size(); ++s) {
    size_t number = 0;  // of the sound in its sample
    for (const auto& media : samples[s]->input.media) {
      if (!media->is_sound()) continue;
      const auto& spoken = samples[s]->spoken;
      const std::vector<int32_t>* words = number < spoken.size() && !spoken[number].empty() ? &spoken[number] : nullptr;
      ++number;
      items.push_back({pieces.size(), 0, media.get(), static_cast<int64_t>(s) * length, words});
      int64_t longest = 0;
      for (const MelFrames& mel : media->sounds)
        longest = std::max(longest, mel.frames);
      for (const MelFrames& mel : media->sounds) {
        if (mel.frames == 0) continue;
        pieces.push_back(make_piece(config, mel, longest));
        ++items.back().pieces;
      }
    }
  }
}

/// The mel frames of one piece between their neighbours, behind `to`; returns the end.
float* write_windows(const Piece& piece, int64_t bins, float* to) {
  const auto& mel = *piece.mel;
  for (int64_t p = 0; p < piece.padded(); ++p) {
    for (int64_t frame = p - 2; frame <= p; ++frame, to += bins) {
      if (frame >= 0 && frame < mel.frames) std::copy_n(mel.values.begin() + frame * bins, bins, to);
    }
  }
  return to;
}

/// Pieces of equal lengths stand next to each other, so that they are attended to in one product.
void pack_pieces(const AudioConfig& config, std::vector<Piece>& pieces, SoundBatch& batch, at::ScalarType type) {
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, {}, [&](size_t i) { return pieces[i].rows; });
  int64_t padded = 0;
  for (const Piece& piece : pieces)
    padded += piece.padded();
  const Tensor windows = at::zeros({padded, 3 * config.mel_bins}), inside = at::zeros({padded, 1});
  std::vector<int64_t> frames, positions;
  float* next = windows.data_ptr<float>();
  int64_t at = 0;
  for (size_t i : order) {
    Piece& piece = pieces[i];
    next = write_windows(piece, config.mel_bins, next);
    std::fill_n(inside.data_ptr<float>() + at + 1, piece.frames, 1.0f);
    piece.first_frame = static_cast<int64_t>(frames.size());
    for (int64_t t = 0; t < piece.rows; ++t) {
      frames.push_back(at / 2 + t);
      positions.push_back(std::min(t, config.max_positions - 1));
    }
    at += piece.padded();
    const Run run{1, piece.first_frame, piece.rows, piece.first_frame, piece.rows};
    if (!batch.runs.empty() && batch.runs.back().q_len == run.q_len) {
      ++batch.runs.back().count;
    } else {
      batch.runs.push_back(run);
    }
  }
  batch.windows = windows.to(type);
  batch.inside = inside.to(type);
  batch.frames = at::tensor(frames, at::kLong);
  batch.positions = at::tensor(positions, at::kLong);
}

void pool_pieces(const AudioConfig& config, std::vector<Piece>& pieces, SoundBatch& batch) {
  std::vector<int64_t> kept;
  for (Piece& piece : pieces) {
    piece.first_row = static_cast<int64_t>(kept.size()) / config.pool_step;
    for (int64_t t = 0; t < config.rows(piece.own) * config.pool_step; ++t)
      kept.push_back(piece.first_frame + t);
  }
  batch.kept = at::tensor(kept, at::kLong);
}

int64_t rows_of(const AudioConfig& config, const Item& item, const std::vector<Piece>& pieces) {
  int64_t rows = 0;
  for (size_t i = 0; i < item.pieces; ++i)
    rows += config.rows(pieces[item.first_piece + i].own);
  return rows;
}

/// An item's rows are consecutive; they fill its places one after another, and what is left over is not used.
void place_rows(const AudioConfig& config, const std::vector<Item>& items, const std::vector<Piece>& pieces,
                SoundBatch& batch) {
  std::vector<int64_t> heard, places;
  for (const Item& item : items) {
    int64_t row = pieces[item.first_piece].first_row;
    const int64_t end = row + rows_of(config, item, pieces);
    for (size_t g = 0; g < item.media->spans.size(); ++g) {
      for (int64_t i = 0; i < item.media->span_rows[g]; ++i) {
        if (row == end) fail(ErrorCode::kInternal, "a sound has fewer rows than places");
        heard.push_back(row++);
        places.push_back(item.text_start + item.media->spans[g] + i);
      }
    }
  }
  batch.heard = at::tensor(heard, at::kLong);
  batch.places = at::tensor(places, at::kLong);
}

void add_spoken(const AudioConfig& config, const std::vector<Item>& items, const std::vector<Piece>& pieces,
                SoundBatch& batch) {
  int64_t longest = 0;
  std::vector<int64_t> tokens, first_rows;
  for (const Item& item : items) {
    if (item.spoken == nullptr) continue;
    first_rows.push_back(pieces[item.first_piece].first_row);
    batch.spoken_row_counts.push_back(rows_of(config, item, pieces));
    batch.spoken_lengths.push_back(static_cast<int64_t>(item.spoken->size()));
    tokens.insert(tokens.end(), item.spoken->begin(), item.spoken->end());
    longest = std::max(longest, batch.spoken_row_counts.back());
  }
  if (first_rows.empty()) return;
  const auto count = static_cast<int64_t>(first_rows.size());
  batch.spoken_rows = at::empty({count, longest}, at::kLong);
  int64_t* next = batch.spoken_rows.data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t t = 0; t < longest; ++t)
      *next++ = first_rows[i] + (t < batch.spoken_row_counts[i] ? t : 0);
  }
  batch.spoken_tokens = at::tensor(tokens, at::kLong);
}

}  // namespace

SoundBatch make_sound_batch(const AudioConfig& config, std::span<const EncodedSample* const> samples, int64_t length,
                            at::ScalarType type) {
  SoundBatch batch;
  std::vector<Item> items;
  std::vector<Piece> pieces;
  collect(config, samples, length, items, pieces);
  if (pieces.empty()) return batch;
  pack_pieces(config, pieces, batch, type);
  pool_pieces(config, pieces, batch);
  place_rows(config, items, pieces, batch);
  add_spoken(config, items, pieces, batch);
  return batch;
}

}  // namespace minicpm::train
