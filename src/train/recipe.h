// Everything that decides a training run, as plain fields: read from TOML, overridden one by one, written
// back. SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace fewshift {

// Each field's meaning stands in visit_fields below.
struct Recipe {
  std::string model;
  std::string data;
  int64_t size = 0;
  int64_t seed = 0;
  int64_t threads = 0;

  int64_t epochs = 30;
  int64_t batch = 64;
  std::string optimiser = "sgd";
  double learning_rate = 0;
  double final_learning_rate = 0;
  double warmup_epochs = 1;
  double momentum = 0.9;
  double weight_decay = -1;
  double clip = 0;
  double label_smoothing = 0;
  double mixup = 0;
  double cutmix = 0;
  std::string class_weights = "none";
  double ema = 0;
  int64_t patience = 0;
  std::string precision = "float32";
  std::string fused = "on";
  std::string hidden = "bf16";
  int64_t norm_pictures = 512;
  std::string sync_norm = "step";
  std::string init;
  int64_t freeze_body = 0;

  std::string shift = "ssl";
  std::string shift_from;
  std::string start = "symmetric";
  double reach = 1.5;
  std::string shift_init = "keep";
  std::string shift_optimiser = "adam";
  double rate = 0.01;
  double shift_weight_decay = 0;
  double penalty = 0;
  double penalty_delay = 0;
  double penalty_ramp = 0;
  double sparsity = 0.6;
  double prune_from = 0.3;
  double prune_until = 0.65;
  double freeze_from = 0.65;

  double val_share = 0.1;
  std::string interpolation = "bilinear";
  std::string crop = "auto";
  int64_t pad = 0;
  double scale_min = 0.35;
  bool flip = true;
  double colour_jitter = 0;
  int64_t rand_augment = 0;
  double magnitude = 9;
  double erasing = 0;
  int64_t workers = 0;
  int64_t cache_mb = 2048;
};

// Calls f(section, key, field, help, option) for every field, in the order in which they are written.
// `option` is its name on the command line, or empty where it has none but --set.
template <class R, class F>
void visit_fields(R& r, F&& f) {
  f("run", "model", r.model, "network, a name of `fewshift models`", "--model");
  f("run", "data", r.data, "folder of labelled pictures: train/CLASS/*.jpg, or CIFAR binaries", "--data");
  f("run", "size", r.size, "input, px; 0: the model's own", "--size");
  f("run", "seed", r.seed, "of weights, order, augmentation and shifts", "--seed");
  f("run", "threads", r.threads, "of the arithmetic; 0: all cores", "--threads");
  f("train", "epochs", r.epochs, "walks through the training pictures", "--epochs");
  f("train", "batch", r.batch, "pictures a step, of all processes together", "--batch");
  f("train", "optimiser", r.optimiser, "sgd (Nesterov) or adamw", "--optimiser");
  f("train", "learning_rate", r.learning_rate,
    "learning rate at its highest; 0: 0.05 for sgd, 0.001 for adamw", "--lr");
  f("train", "final_learning_rate", r.final_learning_rate, "where the cosine ends", "");
  f("train", "warmup_epochs", r.warmup_epochs, "linear rise at the start; may be a fraction", "");
  f("train", "momentum", r.momentum, "sgd's; adamw: the first beta", "");
  f("train", "weight_decay", r.weight_decay,
    "on weights; not on batch norm, biases or displacements; below 0: 5e-4 for sgd, 0.05 for adamw", "");
  f("train", "clip", r.clip, "largest norm of the gradient; 0: no clipping", "--clip");
  f("train", "label_smoothing", r.label_smoothing, "share of the target spread over all classes", "");
  f("train", "mixup", r.mixup, "alpha of mixup; 0: none", "--mixup");
  f("train", "cutmix", r.cutmix, "alpha of CutMix; 0: none; with mixup, one of them each step", "--cutmix");
  f("train", "class_weights", r.class_weights, "none, or balanced: rare classes count more",
    "--class-weights");
  f("train", "ema", r.ema, "decay of the weights' moving average, which is then what is kept; 0: none",
    "--ema");
  f("train", "patience", r.patience, "epochs without a better val top-1 after which to stop; 0: never",
    "--patience");
  f("train", "precision", r.precision, "float32, or bf16: products of bfloat16s, sums in float32",
    "--precision");
  f("train", "fused", r.fused, "on, or off: every layer an operator of its own, slower", "--fused");
  f("train", "hidden", r.hidden,
    "hidden activations of fused bottlenecks, for the backward pass: kept as bf16 or float32, made again "
    "(recompute), or auto: float32 or recompute, whichever is faster",
    "--hidden");
  f("train", "norm_pictures", r.norm_pictures,
    "training pictures from which batch norm's statistics are made anew after an epoch; 0: as they trail",
    "");
  f("train", "sync_norm", r.sync_norm,
    "of several processes: batch norm over all their pictures in every step, or each over its own, and the "
    "mean of the running statistics at the end of an epoch: step or epoch",
    "");
  f("train", "init", r.init, "run or checkpoint to begin from", "--init");
  f("train", "freeze_body", r.freeze_body, "first epochs in which the last layer alone learns",
    "--freeze-body");
  f("shift", "operator", r.shift, "spatial operator: ssl, asl, gsl, random or depthwise", "--shift");
  f("shift", "from", r.shift_from, "for random: a run or checkpoint whose sparsity by layer is taken",
    "--shift-from");
  f("shift", "start", r.start, "displacements at the start: symmetric, grid or zero", "");
  f("shift", "reach", r.reach, "symmetric starts lie in -+ this, px", "");
  f("shift", "init", r.shift_init,
    "of train.init's displacements: keep (as they are), learn (go on from them) or new (do not take them)",
    "");
  f("shift", "optimiser", r.shift_optimiser, "adam (steps scaled by channel) or sgd (Nesterov)", "");
  f("shift", "rate", r.rate, "adam: px a step at the start; sgd: multiple of learning_rate", "");
  f("shift", "weight_decay", r.shift_weight_decay, "L2, on displacements, as gradients are", "");
  f("shift", "penalty", r.penalty, "lambda of the L1 shift penalty", "--shift-penalty");
  f("shift", "penalty_delay", r.penalty_delay, "share of training before it begins", "");
  f("shift", "penalty_ramp", r.penalty_ramp, "share of training over which it grows to lambda", "");
  f("shift", "sparsity", r.sparsity,
    "ssl: share of channels to end unshifted, by pruning, below 0: no pruning; random: the share",
    "--shift-sparsity");
  f("shift", "prune_from", r.prune_from, "share of training after which shifts are pruned", "");
  f("shift", "prune_until", r.prune_until, "share of training by which the sparsity is reached", "");
  f("shift", "freeze_from", r.freeze_from, "share of training after which displacements are frozen; 1: never",
    "");
  f("data", "val_share", r.val_share, "part of train/ held out where val/ is missing", "");
  f("data", "interpolation", r.interpolation, "how pictures are resized, in use too: bilinear or bicubic",
    "");
  f("data", "crop", r.crop, "auto (pad up to 64 px, random_resized above), pad, random_resized or none", "");
  f("data", "pad", r.pad, "px of padding for crop = pad; 0: an eighth of the size", "");
  f("data", "scale_min", r.scale_min, "smallest area of a random resized crop", "");
  f("data", "flip", r.flip, "left to right, half of the time", "");
  f("data", "colour_jitter", r.colour_jitter, "strength of brightness, contrast and saturation changes", "");
  f("data", "rand_augment", r.rand_augment, "operations of RandAugment a picture; 0: none", "--rand-augment");
  f("data", "magnitude", r.magnitude, "their strength, 0 to 10", "");
  f("data", "erasing", r.erasing, "share of pictures of which a rectangle is erased", "--erasing");
  f("data", "workers", r.workers, "threads that decode; 0: as many as cores, at most 4", "");
  f("data", "cache_mb", r.cache_mb, "decoded pictures kept in memory", "");
}

// Overrides the fields that the TOML file names. Throws Error, naming file and key: not TOML, an unknown key,
// a value of another type.
void read_recipe(const std::filesystem::path& path, Recipe& recipe);
void parse_recipe(const std::string& text, const std::string& where, Recipe& recipe);

// One field by its name and text: ("shift.rate", "0.02"). Throws Error (kInvalidArgument) naming `where`: no
// such field, not a value of its type.
void set_field(Recipe& recipe, const std::string& name, const std::string& value, const std::string& where);

// "section.key" -> value: text as it is, the rest as TOML writes it.
std::map<std::string, std::string> field_values(const Recipe& recipe);

// All fields as TOML, each with its help behind it.
std::string format_recipe(const Recipe& recipe);

// Throws Error (kInvalidArgument) naming the first field that is out of its range, by its option if it has
// one.
void check_recipe(const Recipe& recipe);

// Puts numbers in the place of what stands for "as usual": learning rate, weight decay, threads.
Recipe resolved(Recipe recipe);

}  // namespace fewshift
