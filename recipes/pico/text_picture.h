// A picture with one line of text, anywhere in it.
#pragma once

#include <string>

#include "pico/scene.h"

namespace minicpm::pico {

struct Fill {
  float least, most;  // share of the width or height that the text takes
};

Picture draw_text_picture(Random& random, const TaskInput& input, const std::string& text, Fill fill);

}  // namespace minicpm::pico
