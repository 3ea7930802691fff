# Warnings, sanitizers and numerics, for every target.
add_compile_options(-Wall -Wextra -Wpedantic -Wno-missing-field-initializers -fno-math-errno -fno-trapping-math)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  add_compile_options(-Wno-restrict)  # g++ 12 warns of impossible overlaps where a literal and a string are joined
endif()
if(MINICPM_WERROR)
  add_compile_options(-Werror)
endif()
if(MINICPM_SANITIZE)
  add_compile_options(-fsanitize=${MINICPM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${MINICPM_SANITIZE})
endif()
