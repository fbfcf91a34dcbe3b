// The one exception of the library: thrown where input enters (files, arguments, arrays), never printed here.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <stdexcept>
#include <string>

namespace fewshift {

enum class ErrorCode {
  kNotFound,         // a file, folder, name or option that is not there
  kInvalidArgument,  // a value out of its range
  kCorrupt,          // a file whose bytes are not what its format demands
  kUnsupported,      // well-formed, but not something we read
  kIo,               // the system refused: permission, full disk
  kNumeric,          // NaN or infinity where a number was needed
};

// A message as one line of at most some 400 bytes: names and shapes in it may come from strangers' files.
// What is cut out is its middle, since its end says what to do.
inline std::string one_line(const std::string& text) {
  constexpr size_t kBegin = 250, kEnd = 150;
  std::string line;
  for (const char c : text) line.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c);
  if (line.size() <= kBegin + kEnd) return line;
  const auto continues = [&](size_t at) { return (static_cast<unsigned char>(line[at]) & 0xC0) == 0x80; };
  size_t begin = kBegin, end = line.size() - kEnd;  // not within a character of UTF-8
  while (begin > 0 && continues(begin)) --begin;
  while (end < line.size() && continues(end)) ++end;
  return line.substr(0, begin) + " ... " + line.substr(end);
}

// `where` names the file, field or option; `message` says what is wrong with it and what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string where, const std::string& message)
      : std::runtime_error(one_line(where + ": " + message)),
        code_(code),
        where_(std::move(where)),
        message_(one_line(message)) {}
  ErrorCode code() const { return code_; }
  const std::string& where() const { return where_; }
  const std::string& message() const { return message_; }  // in one line, without where

 private:
  ErrorCode code_;
  std::string where_, message_;
};

}  // namespace fewshift
