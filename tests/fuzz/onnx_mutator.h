// Changes an ONNX file field by field, so that what comes out is read further than to its first length:
// numbers, names and bytes become others, fields go, come twice, or change places.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace fewshift {

class OnnxMutator {
 public:
  explicit OnnxMutator(uint32_t seed) : random_(seed) {}

  std::string mutate(const std::string& file) {
    Message model = parse(file, kModel);
    for (uint64_t changes = 1 + below(4); changes-- > 0;) change(model);
    return format(model);
  }

 private:
  enum Kind { kModel, kGraph, kNode, kAttribute, kTensor, kValue, kType, kTensorType, kShape, kDim, kOther };
  struct Field;
  using Message = std::vector<Field>;
  struct Field {
    uint32_t number = 0, wire = 0;
    uint64_t varint = 0;
    std::string bytes;  // of other wire types, if it is no message
    Kind kind = kOther;
    Message message;
  };

  static Kind inside(Kind kind, uint32_t number) {
    switch (kind) {
      case kModel:
        return number == 7 ? kGraph : kOther;
      case kGraph:
        return number == 1 ? kNode : number == 5 ? kTensor : number == 11 || number == 12 ? kValue : kOther;
      case kNode:
        return number == 5 ? kAttribute : kOther;
      case kAttribute:
        return number == 5 ? kTensor : kOther;
      case kValue:
        return number == 2 ? kType : kOther;
      case kType:
        return number == 1 ? kTensorType : kOther;
      case kTensorType:
        return number == 2 ? kShape : kOther;
      case kShape:
        return number == 1 ? kDim : kOther;
      default:
        return kOther;
    }
  }

  static bool take_varint(const std::string& in, size_t& at, uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64 && at < in.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(in[at++]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  static Message parse(const std::string& in, Kind kind) {
    Message result;
    for (size_t at = 0; at < in.size();) {
      uint64_t head, length = 0;
      if (!take_varint(in, at, head)) break;
      Field f;
      f.number = static_cast<uint32_t>(head >> 3), f.wire = head & 7;
      if (f.wire == 0) {
        if (!take_varint(in, at, f.varint)) break;
      } else {
        if (f.wire == 1) length = 8;
        if (f.wire == 5) length = 4;
        if (f.wire == 2 && !take_varint(in, at, length)) break;
        if (length > in.size() - at) break;
        f.bytes = in.substr(at, length);
        at += length;
        f.kind = f.wire == 2 ? inside(kind, f.number) : kOther;
        if (f.kind != kOther) f.message = parse(f.bytes, f.kind);
      }
      result.push_back(std::move(f));
    }
    return result;
  }
  static void put_varint(std::string& out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
    out += static_cast<char>(value);
  }
  static std::string format(const Message& message) {
    std::string out;
    for (const Field& f : message) {
      put_varint(out, uint64_t{f.number} << 3 | f.wire);
      if (f.wire == 0) {
        put_varint(out, f.varint);
        continue;
      }
      const std::string bytes = f.kind == kOther ? f.bytes : format(f.message);
      if (f.wire == 2) put_varint(out, bytes.size());
      out += bytes;
    }
    return out;
  }

  uint64_t below(uint64_t n) { return n ? random_() % n : 0; }
  Field* any(Message& message, bool leaf) {  // at whatever depth
    std::vector<std::pair<Message*, size_t>> all;
    collect(message, leaf, all);
    if (all.empty()) return nullptr;
    const auto& [owner, place] = all[below(all.size())];
    owner_ = owner, place_ = place;
    return &(*owner)[place];
  }
  static void collect(Message& message, bool leaf, std::vector<std::pair<Message*, size_t>>& all) {
    for (size_t k = 0; k < message.size(); ++k) {
      if (!leaf || message[k].kind == kOther) all.emplace_back(&message, k);
      collect(message[k].message, leaf, all);
    }
  }
  uint64_t number(uint64_t old) {
    static constexpr int64_t kSome[] = {
        0,  1,   2,    3,    4,     5,         6,         7,         8,         11, 13, 18,
        21, 255, 1024, 4096, 65535, 1LL << 20, 1LL << 31, 1LL << 32, INT64_MAX, -1, -2, INT64_MIN};
    switch (below(4)) {
      case 0:
        return old + 1;
      case 1:
        return old - 1;
      case 2:
        return old * 2;
      default:
        return static_cast<uint64_t>(kSome[below(std::size(kSome))]);
    }
  }
  void change(Message& model) {
    Field* f = any(model, below(4) != 0);
    if (!f) return;
    switch (below(f->kind == kOther ? 9 : 3)) {
      case 0:
        owner_->erase(owner_->begin() + static_cast<std::ptrdiff_t>(place_));
        return;
      case 1:
        if (owner_->size() < 500)
          owner_->insert(owner_->begin() + static_cast<std::ptrdiff_t>(place_), Field(*f));
        return;
      case 2:
        std::swap(*f, (*owner_)[below(owner_->size())]);
        return;
      default:
        break;
    }
    if (f->wire == 0) {
      f->varint = number(f->varint);
    } else if (f->wire != 2 || below(3) == 0) {
      if (!f->bytes.empty()) f->bytes[below(f->bytes.size())] = static_cast<char>(below(256));
    } else {  // a name or a list of another field
      const std::string own = f->bytes;
      for (int tries = 0; tries < 8; ++tries) {
        const Field* other = any(model, true);
        if (other->wire != 2 || other->bytes == own || other->bytes.size() > 100) continue;
        f->bytes = other->bytes;
        return;
      }
    }
  }

  std::mt19937 random_;
  Message* owner_ = nullptr;
  size_t place_ = 0;
};

}  // namespace fewshift
