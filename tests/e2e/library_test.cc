// Includes nothing but the public header, and links nothing but libminicpm: what an embedding program does.
#include <minicpm/minicpm.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    const auto engine = minicpm::Engine::load({.model = argv[1], .mmproj = ""}, {});
    minicpm::ChatRequest request;
    request.messages = {{"user", {minicpm::ContentPart::from_text("Hello")}}};
    request.sampling = engine->default_sampling(/*thinking=*/false, /*sample=*/true);
    request.sampling.max_tokens = 4;
    return engine->chat(request).tokens.empty() ? 1 : 0;
  } catch (const minicpm::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
