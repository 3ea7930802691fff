// The parts of a live session from loaded models.
#pragma once

#include "engine/omni_session.h"

namespace minicpm {

struct OmniPartsOptions {
  BackendOptions backend;  // of the towers, which work beside the language model
  Precision precision = Precision::kFast;
  SpeechOptions speech;
  std::string detector = "auto";  // as make_voice_detector takes it; "off": none
};

/// `processor` is that of the engine's model; both and `speech` outlive the session. Without `speech` answers are text
/// only. Throws Error invalid_request for models that do not hear, unsupported for detectors that are not there.
OmniParts make_omni_parts(Engine& engine, const Processor& processor, SpeechMaker* speech,
                          const OmniPartsOptions& options);

}  // namespace minicpm
