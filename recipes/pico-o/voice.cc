#include "pico-o/voice.h"

#include <dlfcn.h>
#include <espeak-ng/speak_lib.h>

#include <cstdlib>
#include <mutex>

#include "base/error.h"
#include "media/rate_converter.h"

namespace minicpm::pico_o {
namespace {

constexpr const char* kLibrary = "libespeak-ng.so.1";
constexpr int kRate = 16000;

constexpr std::string_view kAccents[] = {"en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbcwmd"};
constexpr std::string_view kVariants[] = {"",    "+f1", "+f3", "+f4", "+f5", "+m1",
                                          "+m2", "+m3", "+m4", "+m6", "+m7", "+m8"};
constexpr std::string_view kHeldOut[] = {"+f2", "+m5"};
// Each has few common factors with 16000 left, which keeps the rate converter's tables small.
constexpr int kFrom[] = {20000, 21000, 22050, 23000, 24000};

/// The library keeps the phase of its oscillators from call to call, whatever is called to begin anew. Only a fresh
/// copy of it gives the same sound for the same text, so it is loaded for each one; that takes half a millisecond.
class FreshLibrary {
 public:
  FreshLibrary() : handle_(dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) fail(ErrorCode::kNotFound, "{}: not installed (Debian package libespeak-ng1)", kLibrary);
  }
  ~FreshLibrary() { dlclose(handle_); }
  FreshLibrary(const FreshLibrary&) = delete;
  FreshLibrary& operator=(const FreshLibrary&) = delete;

  template <typename Fn>
  Fn* function(const char* name) const {
    void* address = dlsym(handle_, name);
    if (address == nullptr) fail(ErrorCode::kNotFound, "{}: has no function {}", kLibrary, name);
    return reinterpret_cast<Fn*>(address);
  }

 private:
  void* handle_;
};

thread_local std::vector<float>* receiver = nullptr;

int receive(short* samples, int count, espeak_EVENT*) {
  for (int i = 0; samples != nullptr && i < count; ++i)
    receiver->push_back(static_cast<float>(samples[i]) / 32768.0f);
  return 0;
}

std::vector<float> synthesize(const std::string& text, const Voice& voice) {
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  const FreshLibrary library;
#define PICO_O_FIND(name) auto* const name##_fn = library.function<decltype(name)>(#name)
  PICO_O_FIND(espeak_Initialize);
  PICO_O_FIND(espeak_SetSynthCallback);
  PICO_O_FIND(espeak_SetVoiceByName);
  PICO_O_FIND(espeak_SetParameter);
  PICO_O_FIND(espeak_Synth);
  PICO_O_FIND(espeak_Terminate);
#undef PICO_O_FIND
  std::vector<float> samples;
  receiver = &samples;
  if (espeak_Initialize_fn(AUDIO_OUTPUT_SYNCHRONOUS, 0, nullptr, espeakINITIALIZE_DONT_EXIT) <= 0) {
    fail(ErrorCode::kNotFound, "eSpeak NG finds no data (Debian package espeak-ng-data)");
  }
  std::srand(1);  // breath is made of rand()
  espeak_SetSynthCallback_fn(receive);
  const bool known = espeak_SetVoiceByName_fn(voice.name.c_str()) == EE_OK;
  if (known) {
    espeak_SetParameter_fn(espeakRATE, voice.rate, 0);
    espeak_SetParameter_fn(espeakPITCH, voice.pitch, 0);
    espeak_SetParameter_fn(espeakRANGE, voice.range, 0);
    espeak_Synth_fn(text.c_str(), text.size() + 1, 0, POS_CHARACTER, 0, espeakCHARS_UTF8, nullptr, nullptr);
  }
  espeak_Terminate_fn();
  receiver = nullptr;
  if (!known) fail(ErrorCode::kNotFound, "eSpeak NG has no voice {}", voice.name);
  return samples;
}

}  // namespace

Voice draw_voice(pico::Random& random, bool held_out, float difficulty) {
  Voice voice;
  voice.name = std::string(random.pick(kAccents));
  voice.name += held_out ? random.pick(kHeldOut) : random.pick(kVariants);
  const auto around = [&](int middle, float reach) {
    return middle + static_cast<int>(reach * (0.3f + 0.7f * difficulty) * random.uniform(-1, 1));
  };
  voice.rate = around(165, 50);
  voice.pitch = around(50, 30);
  voice.range = around(50, 30);
  voice.from = difficulty > 0 ? random.pick(kFrom) : 22050;
  return voice;
}

std::vector<float> say(std::string_view text, const Voice& voice) {
  std::vector<float> samples = synthesize(std::string(text), voice);
  samples.resize(samples.size() + 200);  // silence that drives the last samples out of the filter
  return RateConverter(voice.from, kRate).convert(samples);
}

}  // namespace minicpm::pico_o
