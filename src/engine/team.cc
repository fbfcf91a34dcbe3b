// SPDX-License-Identifier: Apache-2.0
#include "engine/team.h"

#include <string>
#include <system_error>

#include "core/error.h"

namespace fewshift::engine {
namespace {

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins a little, a few microseconds, then lets others have the core.
class Patience {
 public:
  void lose() {
    if (++count_ < 500) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
  bool lost() const { return count_ > 2000; }

 private:
  int count_ = 0;
};

}  // namespace

Team::Team(std::vector<int64_t> jobs, int threads, std::function<void(int64_t, int64_t, int)> work)
    : pieces_(std::move(jobs)),
      work_(std::move(work)),
      threads_(threads),
      next_(pieces_.size() * threads),
      done_(pieces_.size()) {
  try {
    for (int t = 1; t < threads; ++t) helpers_.emplace_back([this, t] { help(t); });
  } catch (const std::system_error& error) {
    dismiss();
    throw Error(ErrorCode::kIo, "threads", std::to_string(threads) + " cannot be started: " + error.what());
  } catch (...) {
    dismiss();
    throw;
  }
}

Team::~Team() {
  dismiss();
}

void Team::dismiss() {
  stop_ = true;
  ++epoch_;
  epoch_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

uint32_t Team::start(int64_t begin, int64_t end) {
  const uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
  // Nobody holds a piece now. A late helper of the last run finds another epoch in `next` and gives up.
  for (int64_t job = begin; job < end; ++job) {
    done_[job].value.store(0, std::memory_order_relaxed);
    for (int64_t t = 0; t < threads_; ++t)
      next_[job * threads_ + t].value.store(uint64_t{epoch} << 32 | share(job, t), std::memory_order_release);
  }
  begin_.store(begin, std::memory_order_relaxed);
  end_.store(end, std::memory_order_relaxed);
  epoch_.store(epoch, std::memory_order_release);
  epoch_.notify_all();
  return epoch;
}

bool Team::take(uint32_t epoch, int64_t job, int thread) {
  for (int64_t t = 0; t < threads_; ++t) {
    const int64_t owner = (thread + t) % threads_, end = share(job, owner + 1);
    std::atomic<uint64_t>& counter = next_[job * threads_ + owner].value;
    uint64_t next = counter.load(std::memory_order_acquire);
    for (;;) {
      if (next >> 32 != epoch) return false;
      const auto piece = static_cast<int64_t>(next & 0xffffffff);
      if (piece >= end) break;
      if (!counter.compare_exchange_weak(next, next + 1, std::memory_order_acq_rel)) continue;
      work_(job, piece, thread);
      done_[job].value.fetch_add(1, std::memory_order_acq_rel);
      next = counter.load(std::memory_order_acquire);
    }
  }
  return true;
}

bool Team::wait(uint32_t epoch, int64_t job) const {
  Patience patience;
  while (done_[job].value.load(std::memory_order_acquire) < pieces_[job]) {
    if (epoch_.load(std::memory_order_acquire) != epoch) return false;
    patience.lose();
  }
  return true;
}

void Team::help(int thread) {
  uint32_t seen = 0;
  for (;;) {
    Patience patience;
    uint32_t epoch;
    while ((epoch = epoch_.load(std::memory_order_acquire)) == seen) {
      if (patience.lost()) {
        epoch_.wait(seen, std::memory_order_acquire);
      } else {
        patience.lose();
      }
    }
    if (stop_) return;
    seen = epoch;
    const int64_t begin = begin_.load(std::memory_order_acquire), end = end_.load(std::memory_order_acquire);
    // If these were a later run's already, no counter carries this epoch any more.
    for (int64_t job = begin; job < end; ++job) {
      if (!take(epoch, job, thread) || !wait(epoch, job)) break;
    }
  }
}

}  // namespace fewshift::engine
