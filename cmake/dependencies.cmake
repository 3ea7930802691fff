# Every third-party library of the build. Reasons stand in packages.txt, next to the Debian package names, and for the
# optional ones at the end in packages-train.txt.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2 REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(GIF REQUIRED)
find_package(Boost 1.81 REQUIRED)  # headers only: Asio and Beast
find_package(OpenSSL 3 REQUIRED)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.35)  # RETURNING
find_package(CURL 7.85 REQUIRED)  # CURLOPT_PROTOCOLS_STR
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp libwebpdemux)
pkg_check_modules(EXIF REQUIRED IMPORTED_TARGET libexif)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(FFMPEG REQUIRED IMPORTED_TARGET libavformat libavcodec libswscale libswresample libavutil)
pkg_check_modules(KISSFFT REQUIRED IMPORTED_TARGET kissfft-float)
pkg_check_modules(EDIT REQUIRED IMPORTED_TARGET libedit)

if(MINICPM_MPI)
  find_package(MPI COMPONENTS C QUIET)
endif()
# Optional: microphones and cameras, loudspeakers, voice detection and echo cancelling of live sessions.
pkg_check_modules(AVDEVICE IMPORTED_TARGET libavdevice)
pkg_check_modules(ALSA IMPORTED_TARGET alsa)
pkg_check_modules(WEBRTC_AUDIO IMPORTED_TARGET webrtc-audio-processing)
pkg_check_modules(PANGOCAIRO IMPORTED_TARGET pangocairo)  # optional: pico's training data
pkg_check_modules(ESPEAK espeak-ng)  # optional: pico-o's, headers only; the library is loaded when it speaks

# Training. libtorch sets compile flags of its own for all targets, which must not reach the others.
option(MINICPM_TORCH "Build the training library if libtorch is found" ON)
if(MINICPM_TORCH)
  set(flags "${CMAKE_CXX_FLAGS}")
  find_package(Torch QUIET)
  set(CMAKE_CXX_FLAGS "${flags}")
endif()
