// The page's bytes. MINICPM_WEB_PAGE is the file's path, set by src/CMakeLists.txt.
#include <cstddef>

#include "server/web_page.h"

// clang-format off
asm(R"(
  .pushsection .rodata
  .balign 16
  .global minicpm_web_page_begin
  .global minicpm_web_page_end
minicpm_web_page_begin:
  .incbin ")" MINICPM_WEB_PAGE R"("
minicpm_web_page_end:
  .byte 0
  .popsection
)");
// clang-format on

extern "C" {
extern const char minicpm_web_page_begin[], minicpm_web_page_end[];
}

namespace minicpm::server {

std::string_view packed_web_page() {
  return {minicpm_web_page_begin, static_cast<size_t>(minicpm_web_page_end - minicpm_web_page_begin)};
}

}  // namespace minicpm::server
