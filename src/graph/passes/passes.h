// Rewritings of a graph, each a file that can be read by itself. None changes what the graph computes, but
// for rounding. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>

#include "graph/graph.h"

namespace fewshift::graph {

// Conv, then batch norm: the scale goes into the weight, the rest into the bias.
void fold_batch_norm(Graph& graph);

// GELU, swish, hard sigmoid and hard swish, in the operators that files spell them with: one function each.
void recognise_functions(Graph& graph);

// A Pad of rows and columns before a Conv: padding of the Conv.
void fuse_pad(Graph& graph);

// A depthwise Conv whose kernels have a single 1 each, or nothing: a Shift.
void recognise_shift(Graph& graph);

// ReLU or Clip behind a Conv: clamps the Conv's output. After fuse_sum.
void fuse_activation(Graph& graph);

// A Conv, then the sum of its output and another value of the same dimensions: the Conv adds it.
void fuse_sum(Graph& graph);

// For every node whose first input is a Conv's output that nothing else reads, in order: where merge(conv,
// node) is true the node goes, and the Conv, now of what both did, computes its output.
void merge_into_convs(Graph& graph, const std::function<bool(Node& conv, const Node& node)>& merge);

// Drops the nodes whose output nobody reads, and what only they read.
void drop_unread(Graph& graph);

// Drops the values that no node reads or writes any more, and renumbers the rest.
void drop_unused(Graph& graph);

// How many nodes read each value; the graph's output counts once more.
std::vector<int> count_readers(const Graph& graph);

// For each value the index of the node that writes it, or -1.
std::vector<int> find_writers(const Graph& graph);

}  // namespace fewshift::graph
