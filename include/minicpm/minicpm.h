// The public interface of libminicpm: load a model, ask it, get the answer.
//
//   auto engine = minicpm::Engine::load({.model = "MiniCPM-V-4_5", .mmproj = ""}, {});
//   minicpm::ChatRequest request;
//   request.messages = {{"user", {minicpm::ContentPart::from_text("Hello")}}};
//   request.sampling = engine->default_sampling(/*thinking=*/false, /*sample=*/true);
//   std::puts(engine->chat(request).text.c_str());
//
// Errors are thrown as minicpm::Error with a code and one sentence. The library never prints, aborts or exits; set a log
// sink (minicpm::set_log_sink) to see its notes.
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "engine/chat.h"
#include "media/image.h"
