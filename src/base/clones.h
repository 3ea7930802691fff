// A function compiled for several levels of x86-64, of which the processor's is taken when the program is loaded: for
// plain loops that the compiler turns into vector code. Levels, not processors, are named, so that no maker's
// processors get the baseline. Not under the thread sanitizer, which is not ready when the choice is made.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define MINICPM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MINICPM_CLONES
#endif
