// A shared library that is no plug-in.
extern "C" int minicpm_nothing() {
  return 0;
}
