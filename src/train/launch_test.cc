// SPDX-License-Identifier: Apache-2.0
#include "train/launch.h"

#include <gtest/gtest.h>

#include <map>

#include "core/error.h"

namespace fewshift {
namespace {

std::optional<Launch> launch(const std::map<std::string, std::string>& variables) {
  return launch_from([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string refusal(const std::map<std::string, std::string>& variables) {
  try {
    launch(variables);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Launch, IsOfOneProcessWithoutALauncher) {
  EXPECT_FALSE(launch({}));
  EXPECT_FALSE(launch({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}));  // a batch script, not an srun
  EXPECT_FALSE(
      launch({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", "29500"}}));
}

TEST(Launch, IsTorchruns) {
  const auto l = launch({{"RANK", "5"},
                         {"WORLD_SIZE", "8"},
                         {"LOCAL_RANK", "1"},
                         {"LOCAL_WORLD_SIZE", "4"},
                         {"MASTER_ADDR", "host"},
                         {"MASTER_PORT", "1234"},
                         {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                         {"TORCHELASTIC_RESTART_COUNT", "2"}});
  ASSERT_TRUE(l);
  EXPECT_EQ(l->rank, 5);
  EXPECT_EQ(l->size, 8);
  EXPECT_EQ(l->local_rank, 1);
  EXPECT_EQ(l->local_size, 4);
  EXPECT_EQ(l->address, "host");
  EXPECT_EQ(l->port, 1234);
  EXPECT_TRUE(l->agent_store);
  EXPECT_EQ(l->restarts, 2);
}

TEST(Launch, OfOneProcessThatWasRestartedIsOneStill) {
  const auto l = launch({{"RANK", "0"},
                         {"WORLD_SIZE", "1"},
                         {"MASTER_ADDR", "host"},
                         {"MASTER_PORT", "1234"},
                         {"TORCHELASTIC_RESTART_COUNT", "1"}});
  ASSERT_TRUE(l);
  EXPECT_EQ(l->size, 1);
  EXPECT_EQ(l->restarts, 1);
}

TEST(Launch, IsOpenMpis) {
  std::map<std::string, std::string> variables{{"OMPI_COMM_WORLD_RANK", "1"},
                                               {"OMPI_COMM_WORLD_SIZE", "2"},
                                               {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                               {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
  const auto here = launch(variables);
  ASSERT_TRUE(here);
  EXPECT_EQ(here->launcher, "Open MPI");
  EXPECT_EQ(here->address, "127.0.0.1");
  variables["PMIX_NAMESPACE"] = "17";
  EXPECT_NE(launch(variables)->port, here->port);  // two launches on a machine do not meet
  EXPECT_EQ(launch(variables)->port, launch(variables)->port);
  EXPECT_EQ(launch(variables)->name, "17");
  variables["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1";  // on two machines the address must be given
  EXPECT_NE(refusal(variables).find("MASTER_ADDR"), std::string::npos);
  variables["MASTER_ADDR"] = "other";
  EXPECT_EQ(launch(variables)->address, "other");
}

TEST(Launch, IsSlurms) {
  const auto l = launch({{"SLURM_PROCID", "3"},
                         {"SLURM_STEP_NUM_TASKS", "6"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1(x2)"},
                         {"SLURM_NODEID", "1"},
                         {"SLURM_STEP_ID", "0"},
                         {"SLURM_STEP_NODELIST", "gpu[07-09]"},
                         {"SLURM_JOB_ID", "3000000000"},
                         {"SLURM_RESTART_COUNT", "1"}});
  ASSERT_TRUE(l);
  EXPECT_EQ(l->rank, 3);
  EXPECT_EQ(l->size, 6);
  EXPECT_EQ(l->local_rank, 1);
  EXPECT_EQ(l->local_size, 2);
  EXPECT_EQ(l->address, "gpu07");
  EXPECT_EQ(l->name, "3000000000.0");
  EXPECT_GE(l->port, 20000);
  EXPECT_LT(l->port, 30000);
  EXPECT_EQ(l->restarts, 1);
}

TEST(Launch, NamesTheVariableThatIsWrong) {
  std::map<std::string, std::string> variables{
      {"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "host"}, {"MASTER_PORT", "1234"}};
  EXPECT_EQ(refusal(variables), "RANK: must be a number from 0 to 1, but is \"2\"");
  variables["RANK"] = "1";
  variables["MASTER_PORT"] = "http";
  EXPECT_NE(refusal(variables).find("MASTER_PORT: must be"), std::string::npos);
  variables.erase("MASTER_ADDR");
  EXPECT_NE(refusal(variables).find("MASTER_ADDR: is not set"), std::string::npos);
}

TEST(Launch, FindsTheFirstMachineOfAList) {
  EXPECT_EQ(first_host("one"), "one");
  EXPECT_EQ(first_host("one,two"), "one");
  EXPECT_EQ(first_host("a[003-010,12],b1"), "a003");
  EXPECT_EQ(first_host("one,a[1-2]"), "one");
  EXPECT_EQ(first_host("r[1,3]-x,b"), "r1-x");
  EXPECT_EQ(first_host("a["), "a");
}

}  // namespace
}  // namespace fewshift
