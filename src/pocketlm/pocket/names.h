// GGUF's tensor names in the hub's, which models/*.py and files of ours use.
#pragma once

#include <string>
#include <string_view>

namespace pocketlm {

// The hub's name of what a GGUF file calls `name`; an unknown one stays, within its layer.
std::string hub_name(std::string_view architecture, std::string_view name);

}  // namespace pocketlm
