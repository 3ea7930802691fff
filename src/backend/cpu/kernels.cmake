# Kernel files that are compiled for one instruction set each, added to the target minicpm_backend. No -ffast-math:
# results must not depend on it.
set(isa_common_options -fno-math-errno -fno-trapping-math -ffp-contract=fast)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 takes the "undefined" operand inside its own AVX-512 intrinsics for an uninitialised variable.
  list(APPEND isa_common_options -Wno-maybe-uninitialized -Wno-uninitialized)
endif()

if(MINICPM_SANITIZE MATCHES "undefined")
  # Instrumenting unrolled intrinsics takes g++ minutes a file; the address sanitizer stays.
  list(APPEND isa_common_options -fno-sanitize=undefined)
endif()

function(minicpm_isa name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/kernels/isa_${name}.cc
       ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/kernels/isa_linear_${name}.cc)
  target_sources(minicpm_backend PRIVATE ${sources})
  set_property(SOURCE ${sources} APPEND PROPERTY COMPILE_OPTIONS ${isa_common_options} ${ARGN})
endfunction()

minicpm_isa(scalar)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  minicpm_isa(avx2 -mavx2 -mfma -mf16c)
  minicpm_isa(avx_vnni -mavx2 -mfma -mf16c -mavxvnni)
  minicpm_isa(avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c)
  minicpm_isa(avx512_bf16 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512bf16 -mfma -mf16c)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  minicpm_isa(neon)
  minicpm_isa(neon_dot -march=armv8.2-a+dotprod)
endif()
