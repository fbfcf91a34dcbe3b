// Threads that go through a list of jobs together, each job in pieces. A thread takes the pieces of its own
// share, one after the other, then those that are left of others' shares. Nobody waits for a thread that has
// taken nothing: one that lost its core slows the others only by the piece it holds.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace fewshift::engine {

class Team {
 public:
  // jobs[k]: the number of pieces of job k. work(job, piece, thread), thread 0 being the caller, is called
  // for each piece once a run, from any thread, and never before all pieces of the jobs before have been
  // done. Starts threads - 1 threads; throws Error (kIo) where
  // the system has none left.
  Team(std::vector<int64_t> jobs, int threads,
       std::function<void(int64_t job, int64_t piece, int thread)> work);
  ~Team();
  Team(const Team&) = delete;

  // Jobs [begin, end), on the caller's thread too; returns when all is done. after(job), on the caller's
  // thread.
  template <class After>
  void run(int64_t begin, int64_t end, After after) {
    if (helpers_.empty()) {
      for (int64_t job = begin; job < end; ++job) {
        for (int64_t piece = 0; piece < pieces_[job]; ++piece) work_(job, piece, 0);
        after(job);
      }
      return;
    }
    const uint32_t epoch = start(begin, end);
    for (int64_t job = begin; job < end; ++job) {
      take(epoch, job, 0);
      wait(epoch, job);
      after(job);
    }
  }

 private:
  template <class T>
  struct alignas(64) Counter {
    std::atomic<T> value{0};
  };
  int64_t share(int64_t job, int64_t thread) const { return thread * pieces_[job] / threads_; }
  uint32_t start(int64_t begin, int64_t end);
  bool take(uint32_t epoch, int64_t job, int thread);  // false: the epoch is over
  bool wait(uint32_t epoch, int64_t job) const;
  void help(int thread);
  void dismiss();

  const std::vector<int64_t> pieces_;
  const std::function<void(int64_t, int64_t, int)> work_;
  const int64_t threads_;
  std::vector<Counter<uint64_t>> next_;  // [job][thread]: the epoch, and below it the next piece of its share
  std::vector<Counter<int64_t>> done_;   // [job]: pieces
  std::atomic<uint32_t> epoch_{0};
  std::atomic<int64_t> begin_{0}, end_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> helpers_;
};

}  // namespace fewshift::engine
