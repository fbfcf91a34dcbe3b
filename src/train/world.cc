// SPDX-License-Identifier: Apache-2.0
#include "train/world.h"

#include <arpa/inet.h>
#include <c10/util/Logging.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <future>
#include <optional>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <type_traits>
#include <utility>
#ifdef FEWSHIFT_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "core/cores.h"
#include "core/error.h"

namespace fewshift {
namespace {

using torch::Tensor;
using Milliseconds = std::chrono::milliseconds;

// The address of this machine from which `host` is reached: that of the network on which the others are.
std::string address_towards(const std::string& host, int port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_DGRAM;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || !found)
    throw Error(ErrorCode::kIo, "MASTER_ADDR", "there is no machine of the name " + host);
  std::string address;
  for (addrinfo* a = found; a && address.empty(); a = a->ai_next) {
    const int fd = ::socket(a->ai_family, a->ai_socktype, a->ai_protocol);
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    char text[NI_MAXHOST];
    if (fd >= 0 && ::connect(fd, a->ai_addr, a->ai_addrlen) == 0 &&  // sends nothing
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
        ::getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text, sizeof text, nullptr, 0,
                      NI_NUMERICHOST) == 0)
      address = text;
    if (fd >= 0) ::close(fd);
  }
  ::freeaddrinfo(found);
  if (address.empty()) throw Error(ErrorCode::kIo, "MASTER_ADDR", "no network leads to " + host);
  return address;
}

// The first address of this machine that others may reach: some machines call their own name 127.0.1.1.
std::string outer_address() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return {};
  std::string address;
  for (ifaddrs* a = all; a && address.empty(); a = a->ifa_next) {
    char text[NI_MAXHOST];
    if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET && (a->ifa_flags & IFF_UP) &&
        !(a->ifa_flags & IFF_LOOPBACK) &&
        ::getnameinfo(a->ifa_addr, sizeof(sockaddr_in), text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
      address = text;
  }
  ::freeifaddrs(all);
  return address;
}

// Where the others reach this process.
std::string own_address(const Launch& launch) {
  const std::string near = address_towards(launch.address, launch.port);
  if (launch.local_size == launch.size || !(near.starts_with("127.") || near == "::1")) return near;
  const std::string outer = outer_address();
  return outer.empty() ? near : outer;
}

// What f returns or throws; nothing where it takes longer than `time`. It then goes on alone, with what it
// holds.
template <class F>
auto within(Milliseconds time, F f) -> std::optional<std::invoke_result_t<F>> {
  std::packaged_task<std::invoke_result_t<F>()> task(std::move(f));
  auto answer = task.get_future();
  std::thread(std::move(task)).detach();
  if (answer.wait_for(time) != std::future_status::ready) return std::nullopt;
  return answer.get();
}

c10::intrusive_ptr<c10d::Store> meet(const Launch& launch, Milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(launch.port);
  options.isServer = launch.rank == 0 && !launch.agent_store;
  options.waitWorkers = false;
  options.timeout = timeout / 2;  // it tries twice
  c10::intrusive_ptr<c10d::Store> plain;
  const std::string place = launch.address + ":" + std::to_string(launch.port);
  try {
    // c10d asks who is there, and waits for the answer without end.
    auto opened = within(timeout + std::chrono::seconds(1), [address = launch.address, options] {
      return c10::make_intrusive<c10d::TCPStore>(address, options);
    });
    if (!opened)
      throw Error(ErrorCode::kIo, place,
                  "what answers there is not process 0: does another program have this port?");
    plain = *std::move(opened);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string what = error.what();
    if (what.find("EADDRINUSE") != std::string::npos)
      throw Error(ErrorCode::kIo, place, "another program has this port: give another MASTER_PORT");
    throw Error(ErrorCode::kIo, place, "process 0 is not there: has it been started, and can it be reached?");
  }
  plain->setTimeout(timeout);
  const c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::PrefixStore>(
      "fewshift/" + launch.name + "/" + std::to_string(launch.restarts), plain);
  // All are there before any connects to another, for which gloo has more patience.
  std::vector<std::string> all;
  for (int rank = 0; rank < launch.size; ++rank) all.push_back("here/" + std::to_string(rank));
  store->set(all[launch.rank], std::vector<uint8_t>{1});
  try {
    store->wait(all, timeout);
  } catch (const std::exception&) {
    int missing = 0;
    for (const std::string& key : all) missing += !store->check({key});
    throw Error(ErrorCode::kIo, place,
                std::to_string(missing) + " of the " + std::to_string(launch.size) +
                    " processes did not come here within --timeout: have all been started?");
  }
  return store;
}

constexpr size_t kSmall = 1 << 16;  // bytes: below, a sum takes as long as its rounds do

// What gloo and c10d say, without their places in sources and advice.
std::string reason(const std::string& text) {
  const auto says = [&](const char* words) { return text.find(words) != std::string::npos; };
  if (says("imed out") || says("timeout")) return "no answer in time";
  if (says("closed by peer") || says("reset by peer") || says("Broken pipe"))
    return "its connection was closed";
  return text.substr(0, text.find('\n'));
}

}  // namespace

struct World::Roads {
  Milliseconds timeout;
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> near, far;  // for what is waited for at once, and for what is not
  c10::intrusive_ptr<c10d::Backend> device;     // for tensors on a GPU

#ifdef FEWSHIFT_NCCL
  c10::intrusive_ptr<c10d::Backend> make_nccl(const Launch& launch) const {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = timeout;
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", store),
                                                       launch.rank, launch.size, options);
  }
#endif
  c10::intrusive_ptr<c10d::Backend> make(const std::string& name, const Launch& launch) const {
    const c10::intrusive_ptr<c10d::Store> own = c10::make_intrusive<c10d::PrefixStore>(name, store);
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
    options->devices.push_back(
        interface && *interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                : c10d::ProcessGroupGloo::createDeviceForHostname(own_address(launch)));
    return c10::make_intrusive<c10d::ProcessGroupGloo>(own, launch.rank, launch.size, options);
  }
};

World::World() = default;

World::World(const Launch& launch, double timeout, [[maybe_unused]] torch::Device device)
    : rank_(launch.rank), size_(launch.size), launch_(launch) {
  if (alone()) return;
  std::signal(SIGPIPE, SIG_IGN);  // c10d's writes to a process that has ended are to fail, not to kill
  roads_ = std::make_unique<Roads>();
  roads_->timeout = Milliseconds(static_cast<int64_t>(timeout * 1000));
  const std::string place = launch.address + ":" + std::to_string(launch.port);
  setenv("TORCH_CPP_LOG_LEVEL", "FATAL", 0);  // what fails is told in one line, ours
  c10::initLogging();
  try {
    address_towards(launch.address, launch.port);  // a name that is none is told at once
    roads_->store = meet(launch, roads_->timeout);
    roads_->near = roads_->make("near", launch);
    roads_->far = roads_->make("far", launch);
    roads_->device = roads_->far;  // a gloo of a LibTorch with CUDA takes such tensors too
#ifdef FEWSHIFT_NCCL
    if (device.is_cuda()) roads_->device = roads_->make_nccl(launch);
#endif
    // No process goes on, and perhaps fails at once, before all have met.
    std::vector<Tensor> met{torch::ones({1})};
    roads_->near->allreduce(met)->wait();
    roads_->far->allreduce(met)->wait();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kIo, place,
                "process " + std::to_string(rank_) + " of " + std::to_string(size_) +
                    " did not meet the others there: " + reason(error.what()));
  }
}

World::~World() {
  if (!lost_ || !roads_) return;
  // What is still under way would be waited for; the process ends soon.
  (void)roads_.release();
}

template <class F>
void World::say(F f) {
  if (alone()) return;
  try {
    TORCH_CHECK(!lost_, "the other processes are lost already");
    f();
  } catch (const std::exception& error) {
    lost_ = true;
    throw Error(ErrorCode::kIo, "process " + std::to_string(rank_) + " of " + std::to_string(size_),
                "another process has ended, hangs or cannot be reached (" + reason(error.what()) +
                    "); the last checkpoint is kept, --resume continues");
  }
}

void World::add_up(Tensor& tensor) {
  ++near_.sums, near_.bytes += static_cast<int64_t>(tensor.nbytes());
  say([&] {
    if (tensor.is_cpu() && tensor.nbytes() <= kSmall) return add_up_small(tensor);
    std::vector<Tensor> tensors{tensor};
    (tensor.is_cpu() ? roads_->near : roads_->device)->allreduce(tensors)->wait();
  });
}

// By recursive doubling (Thakur et al., 2005), in log2 of the processes' number of rounds: gloo's ring takes
// twice as many as there are processes. Sums are the same bits everywhere, since a + b is b + a.
void World::add_up_small(Tensor& tensor) {
  c10d::Backend& road = *roads_->near;
  std::vector<Tensor> own{tensor}, other{torch::empty_like(tensor)};
  auto take = [&](int from) { road.recv(other, from, 0)->wait(); };
  auto give = [&](int to) { road.send(own, to, 0)->wait(); };
  int doubled = 1;
  while (2 * doubled <= size_) doubled *= 2;
  const int beyond = rank_ + doubled;  // a process outside the doubling goes through this one
  if (rank_ >= doubled) {
    give(rank_ - doubled);
    take(rank_ - doubled);
    tensor.copy_(other[0]);
    return;
  }
  if (beyond < size_) {
    take(beyond);
    tensor.add_(other[0]);
  }
  for (int apart = 1; apart < doubled; apart *= 2) {
    const auto coming = road.recv(other, rank_ ^ apart, 0);
    give(rank_ ^ apart);
    coming->wait();
    tensor.add_(other[0]);
  }
  if (beyond < size_) give(beyond);
}

std::function<void()> World::start_adding_up(Tensor& tensor) {
  c10::intrusive_ptr<c10d::Work> work;
  ++far_.sums, far_.bytes += static_cast<int64_t>(tensor.nbytes());
  say([&] {
    std::vector<Tensor> tensors{tensor};
    work = (tensor.is_cpu() ? roads_->far : roads_->device)->allreduce(tensors);
  });
  return [this, work] { say([&] { work->wait(); }); };
}

void World::share(std::string& text) {
  if (alone()) return;
  Tensor size = torch::full({1}, leads() ? static_cast<int64_t>(text.size()) : 0, torch::kLong);
  add_up(size);
  text.resize(static_cast<size_t>(size.item<int64_t>()));
  if (text.empty()) return;
  say([&] {
    std::vector<Tensor> tensors{
        torch::from_blob(text.data(), {static_cast<int64_t>(text.size())}, torch::kByte)};
    roads_->near->broadcast(tensors)->wait();
  });
}

std::vector<std::string> World::gather(const std::string& text) {
  if (alone()) return {text};
  Tensor sizes = torch::zeros({size_}, torch::kLong);
  sizes[rank_] = static_cast<int64_t>(text.size());
  add_up(sizes);
  const Tensor ends = sizes.cumsum(0);
  Tensor bytes = torch::zeros({ends[-1].item<int64_t>()}, torch::kByte);
  auto* const all = reinterpret_cast<char*>(bytes.mutable_data_ptr<uint8_t>());
  auto begin = [&](int k) { return k == 0 ? 0 : ends[k - 1].item<int64_t>(); };
  std::copy(text.begin(), text.end(), all + begin(rank_));
  if (bytes.numel() > 0) add_up(bytes);
  std::vector<std::string> texts;
  for (int k = 0; k < size_; ++k) texts.emplace_back(all + begin(k), all + ends[k].item<int64_t>());
  return texts;
}

int World::cores_here() const {
  return std::max(1, cores() / launch_.local_size);
}

bool World::agree(const std::string& text) {
  if (alone()) return true;
  const auto hash = static_cast<int64_t>(std::hash<std::string>{}(text) >> 1);
  Tensor hashes = torch::zeros({size_}, torch::kLong);
  hashes[rank_] = hash;
  add_up(hashes);
  return (hashes == hash).all().item<bool>();
}

bool World::speaks_of_failure() {
  if (alone()) return true;
  lost_ = true;
  const bool hosts = leads() && !launch_.agent_store && roads_;
  // To the others it shows by this that something is wrong; what is under way is waited for, perhaps for
  // long.
  if (hosts)
    std::thread([near = std::move(roads_->near), far = std::move(roads_->far)]() mutable {
      near.reset();
      far.reset();
    }).detach();
  const bool speaks = claim_failure();
  if (hosts) std::this_thread::sleep_for(std::chrono::seconds(2));  // for the others to ask
  return speaks;
}

bool World::claim_failure() {
  // The store may be gone, and its answer then never comes.
  const bool leads_here = launch_.local_rank == 0 || (rank_ == 1 && launch_.local_rank == 1);
  try {
    return within(std::chrono::seconds(3),
                  [store = roads_->store] { return store && store->add("failed", 1) == 1; })
        .value_or(leads_here);
  } catch (const std::exception&) {
    return leads_here;
  }
}

}  // namespace fewshift
