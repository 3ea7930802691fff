// What cameras and files do to pictures.
#pragma once

#include "media/image.h"
#include "pico/random.h"

namespace minicpm::pico {

/// Gaussian blur; sigma in pixels.
void blur(Image& image, float sigma);
/// Adds noise of that standard deviation, in levels of 255.
void add_noise(Image& image, float deviation, Random& random);
/// Through a JPEG file and back; quality 1 .. 100.
void pass_jpeg(Image& image, int quality);

}  // namespace minicpm::pico
