// Python's way to quantise.h, apart from the rest of the module.
#pragma once

#include <nanobind/nanobind.h>

void define_quantise(nanobind::module_& module);
