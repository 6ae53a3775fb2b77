// What goes wrong with files and arguments, and for whom to mend.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace pocketlm {

enum class Fault {
    argument,     // what the caller gave
    file,         // the file is damaged or contradicts itself
    unsupported,  // a sound file of a kind that is not run
    context,      // a text longer than the context
    memory,       // none left
};

class Error : public std::runtime_error {
  public:
    Error(Fault fault, const std::string& text) : std::runtime_error(text), fault_(fault) {}
    Fault fault() const { return fault_; }

  private:
    Fault fault_;
};

[[noreturn]] inline void refuse(Fault fault, const std::string& text) { throw Error(fault, text); }

// A name from a file as a message shows it: quoted, ASCII, on one line, not too long.
std::string shown(std::string_view name);

}  // namespace pocketlm
