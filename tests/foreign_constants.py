"""Graphs in which operators compute on constants, as exporters of TensorFlow, Paddle and PyTorch leave them there, and
Transposes that move nothing. NAME -> nodes, constants, the image's shape; the output is `y`."""
import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], output + "_node", **attributes)


def wave(*shape):
    return numpy.sin(numpy.arange(numpy.prod(shape), dtype="float32") * 0.7).reshape(shape)


def f(value):
    return numpy.float32(value)


def i(*values):
    return numpy.array(values, "int64")


def same_padding():
    """What TorchScript's exporter leaves of timm's pad_same where the size is known: a float, rounded up."""
    nodes = [
        node("Ceil", "length", "up"), node("Sub", "up one", "less"), node("Mul", "less two", "strides"),
        node("Add", "strides kernel", "covered"), node("Sub", "covered size", "open"), node("Clip", "open zero", "missing"),
        node("Div", "missing two", "half"), node("Floor", "half", "before_f"), node("Cast", "before_f", "before", to=TensorProto.INT64),
        node("Cast", "missing", "all", to=TensorProto.INT64), node("Sub", "all before", "behind"),
        node("Unsqueeze", "before zero_axis", "b"), node("Unsqueeze", "behind zero_axis", "e"),
        node("Concat", "none none b b none none e e", "pads", axis=0),
        node("Pad", "image pads", "padded"), node("Conv", "padded weight", "y", strides=[2, 2]),
    ]
    constants = {"length": f(4.5), "one": f(1), "two": f(2), "kernel": f(3), "size": f(9), "zero": f(0), "zero_axis": i(0),
                 "none": i(0), "weight": wave(6, 4, 3, 3)}
    return nodes, constants, (1, 4, 9, 9)


def reshaped_bias(channels):
    nodes = [node("Conv", "image weight", "x"), node("Reshape", "bias shape", "b"), node("Add", "x b", "y")]
    return nodes, {"weight": wave(channels, 4, 1, 1), "bias": wave(channels), "shape": i(1, -1, 1, 1)}, (1, 4, 3, 5)


def computed_weight(channels):
    """A weight scaled by a norm's statistics, which are not folded yet."""
    nodes = [
        node("Add", "variance epsilon", "v"), node("Sqrt", "v", "deviation"), node("Div", "scale deviation", "s"),
        node("Reshape", "s shape", "s4"), node("Mul", "weight s4", "w"), node("Reciprocal", "deviation", "r"),
        node("Mul", "mean r", "m"), node("Neg", "m", "bias"), node("Conv", "image w bias", "x"), node("Pow", "p two", "q"),
        node("Abs", "q", "a"), node("Exp", "a", "e"), node("Mul", "x e", "y"),
    ]
    constants = {"variance": wave(channels) ** 2 + f(0.5), "epsilon": f(1e-3), "scale": wave(channels), "mean": wave(channels),
                 "shape": i(channels, 1, 1, 1), "weight": wave(channels, 4, 3, 3), "p": f(-0.3), "two": f(2)}
    return nodes, constants, (1, 4, 6, 6)


def convolved_constant():
    nodes = [node("Conv", "map weight", "x"), node("Reshape", "x shape", "bias"), node("Mul", "image bias", "y")]
    return nodes, {"map": wave(1, 3, 1, 1), "weight": wave(4, 3, 1, 1), "shape": i(1, 4, 1, 1)}, (1, 4, 5, 5)


def still_transposes():
    """Axes of length 1 change places; the others stay in their order."""
    nodes = [
        node("GlobalAveragePool", "image", "mean"), node("Transpose", "mean", "last", perm=[0, 2, 3, 1]),
        node("Reshape", "last flat", "x"), node("Transpose", "line", "turned", perm=[3, 1, 0, 2]),
        node("Reshape", "turned row", "row_", ), node("Gemm", "x weight row_", "y"),
    ]
    return nodes, {"flat": i(-1, 4), "line": wave(1, 1, 1, 7), "row": i(7), "weight": wave(4, 7)}, (1, 4, 6, 5)


CONSTANTS = {
    "same padding": same_padding, "a bias reshaped": lambda: reshaped_bias(6), "a long bias reshaped": lambda: reshaped_bias(5000),
    "a computed weight": lambda: computed_weight(6), "a long computed weight": lambda: computed_weight(130),
    "a constant convolved": convolved_constant, "transposes that move nothing": still_transposes,
}


def write(file, nodes, constants, shape):
    graph = helper.make_graph(
        nodes, "constants", [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(numpy.asarray(value), name) for name, value in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
