// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

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

std::string figures(const StepReport& r) {
  char text[192];
  std::snprintf(text, sizeof text, "%5.0f images/s  loss %.3f  top-1 %4.1f%%%s  %s left", r.images_per_s,
                r.loss, 100 * r.top1, sparsity(r.shift_sparsity).c_str(), duration(r.seconds_left).c_str());
  return text;
}

int terminal_width() {
  winsize size{};
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
    std::fprintf(stderr, "%s step %ld/%ld  %s\n", head, r.step, r.steps, figures(r).c_str());
    return;
  }
  const std::string tail = figures(r);
  const int room = terminal_width() - static_cast<int>(std::string(head).size() + tail.size()) - 4;
  std::string bar;
  if (room >= 8) {
    const int width = std::min(room, 40),
              filled = static_cast<int>(width * r.step / std::max<int64_t>(1, r.steps));
    for (int k = 0; k < width; ++k) bar += k < filled ? "━" : "─";
    if (colour_) bar = "\033[36m" + bar + "\033[0m";
  }
  std::fprintf(stderr, "\r\033[K%s%s %s", head, bar.c_str(), tail.c_str());
  std::fflush(stderr);
  bar_shown_ = true;
}

void Progress::on_epoch(const EpochReport& r) {
  clear_bar();
  std::fprintf(stderr, "epoch %ld/%ld  loss %.3f  top-1 %4.1f%%", r.epoch, r.epochs, r.train_loss,
               100 * r.train_top1);
  if (r.val_top1 >= 0)
    std::fprintf(stderr, "  val loss %.3f  val top-1 %4.1f%%", r.val_loss, 100 * r.val_top1);
  std::fprintf(stderr, "%s  %.0f images/s  %s%s\n", sparsity(r.shift_sparsity).c_str(), r.images_per_s,
               duration(r.seconds).c_str(), r.best && r.settled && r.val_top1 >= 0 ? "  best" : "");
}

}  // namespace fewshift::cli
