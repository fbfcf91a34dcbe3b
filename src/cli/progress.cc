// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace fewshift::cli {
namespace {

using Clock = std::chrono::steady_clock;

std::string duration(double seconds) {
  const auto s = static_cast<int64_t>(seconds + 0.5);
  char text[32];
  if (s >= 3600) {
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  } else {
    std::snprintf(text, sizeof text, "%ld:%02ld", s / 60, s % 60);
  }
  return text;
}

// "  sparsity 60.0%", or nothing where there are no shifts.
std::string sparsity(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "  sparsity %4.1f%%", 100 * share);
  return share < 0 ? "" : text;
}

// A piece of a line; of those with a rank above 0 the highest are left out first where there is no room.
struct Piece {
  std::string text;
  int rank = 0;
};

template <class... Values>
Piece piece(int rank, const char* format, Values... values) {
  char text[96];
  std::snprintf(text, sizeof text, format, values...);
  return {text, rank};
}

std::string fitted(std::vector<Piece> pieces, int width) {
  for (;;) {
    std::string line;
    auto least = pieces.end();
    for (auto piece = pieces.begin(); piece != pieces.end(); ++piece) {
      line += piece->text;
      if (piece->rank > 0 && (least == pieces.end() || piece->rank > least->rank)) least = piece;
    }
    if (static_cast<int>(line.size()) <= width || least == pieces.end()) return line;
    pieces.erase(least);
  }
}

std::vector<Piece> figures(const StepReport& r) {
  return {piece(2, "%5.0f images/s  ", r.images_per_s),
          piece(0, "loss %.3f  top-1 %4.1f%%", r.loss, 100 * r.top1),
          {sparsity(r.shift_sparsity), 3},
          piece(1, "  %s left", duration(r.seconds_left).c_str())};
}

// Columns; a line that is not for a terminal may be as long as it is.
int line_width(bool terminal) {
  winsize size{};
  if (!terminal) return 1000;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress()
    : terminal_(isatty(STDERR_FILENO)),
      colour_(terminal_ && !std::getenv("NO_COLOR")),
      last_(Clock::now() - std::chrono::hours(1)) {}

Progress::~Progress() {
  clear_bar();
}

void Progress::clear_bar() {
  if (bar_shown_) std::fputs("\r\033[K", stderr);
  bar_shown_ = false;
}

void Progress::on_message(const std::string& line) {
  clear_bar();
  std::fprintf(stderr, "%s\n", line.c_str());
}

void Progress::on_step(const StepReport& r) {
  const double since = std::chrono::duration<double>(Clock::now() - last_).count();
  if (since < (terminal_ ? 0.1 : 30.0)) return;
  last_ = Clock::now();
  char head[64];
  std::snprintf(head, sizeof head, "epoch %ld/%ld ", r.epoch, r.epochs);
  if (!terminal_) {
    std::fprintf(stderr, "%s step %ld/%ld  %s\n", head, r.step, r.steps,
                 fitted(figures(r), line_width(false)).c_str());
    return;
  }
  constexpr int kLeastBar = 10;
  const int width = line_width(true) - static_cast<int>(std::string(head).size()) - 2;
  const std::string tail = fitted(figures(r), width - kLeastBar);
  const int room = width - static_cast<int>(tail.size());
  std::string bar;
  if (room >= kLeastBar) {
    const int length = std::min(room, 40),
              filled = static_cast<int>(length * r.step / std::max<int64_t>(1, r.steps));
    for (int k = 0; k < length; ++k) bar += k < filled ? "━" : "─";
    if (colour_) bar = "\033[36m" + bar + "\033[0m";
  }
  std::fprintf(stderr, "\r\033[K%s%s %s", head, bar.c_str(), tail.c_str());
  std::fflush(stderr);
  bar_shown_ = true;
}

void Progress::on_epoch(const EpochReport& r) {
  clear_bar();
  std::vector<Piece> line = {piece(0, "epoch %ld/%ld  loss %.3f  top-1 %4.1f%%", r.epoch, r.epochs,
                                   r.train_loss, 100 * r.train_top1)};
  if (r.val_top1 >= 0) {
    line.push_back(piece(1, "  val loss %.3f", r.val_loss));
    line.push_back(piece(0, "  val top-1 %4.1f%%", 100 * r.val_top1));
  }
  line.push_back({sparsity(r.shift_sparsity), 2});
  line.push_back(piece(4, "  %.0f images/s", r.images_per_s));
  line.push_back(piece(3, "  %s", duration(r.seconds).c_str()));
  if (r.best && r.settled && r.val_top1 >= 0) line.push_back({"  best"});
  std::fprintf(stderr, "%s\n", fitted(line, line_width(terminal_)).c_str());
}

}  // namespace fewshift::cli
