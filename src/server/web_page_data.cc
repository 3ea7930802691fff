// The bytes of the page. MINICPM_WEB_DIST is the folder of its files, set by src/CMakeLists.txt.
#include <cstddef>

#include "server/web_page.h"

// clang-format off
#define MINICPM_EMBED(symbol, file)                    \
  asm(".pushsection .rodata\n"                         \
      ".balign 16\n"                                   \
      ".global " #symbol "_begin\n"                    \
      ".global " #symbol "_end\n"                      \
      #symbol "_begin:\n"                              \
      ".incbin \"" MINICPM_WEB_DIST "/" file "\"\n"    \
      #symbol "_end:\n"                                \
      ".byte 0\n"                                      \
      ".popsection\n");                                \
  extern "C" {                                         \
  extern const char symbol##_begin[], symbol##_end[];  \
  }
// clang-format on

MINICPM_EMBED(minicpm_web_page, "index.html.gz")
MINICPM_EMBED(minicpm_web_call, "call.js.gz")
MINICPM_EMBED(minicpm_web_pdf, "pdf.js.gz")
MINICPM_EMBED(minicpm_web_pdf_worker, "pdf-worker.js.gz")
MINICPM_EMBED(minicpm_web_jbig2, "jbig2_nowasm_fallback.js.gz")
MINICPM_EMBED(minicpm_web_openjpeg, "openjpeg_nowasm_fallback.js.gz")

namespace minicpm::server {
namespace {

std::string_view bytes(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

}  // namespace

std::string_view packed_web_page() {
  return bytes(minicpm_web_page_begin, minicpm_web_page_end);
}

std::vector<WebScript> packed_web_scripts() {
  return {{"call.js", bytes(minicpm_web_call_begin, minicpm_web_call_end)},
          {"pdf.js", bytes(minicpm_web_pdf_begin, minicpm_web_pdf_end)},
          {"pdf-worker.js", bytes(minicpm_web_pdf_worker_begin, minicpm_web_pdf_worker_end)},
          {"jbig2_nowasm_fallback.js", bytes(minicpm_web_jbig2_begin, minicpm_web_jbig2_end)},
          {"openjpeg_nowasm_fallback.js", bytes(minicpm_web_openjpeg_begin, minicpm_web_openjpeg_end)}};
}

}  // namespace minicpm::server
