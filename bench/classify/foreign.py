"""Networks of others at full size, as torchvision's and timm's exports have them, with random weights; and a pretrained one
where its packages are (see experiments/pretrained.py).   usage: foreign.py FOLDER    (with build/venv's Python)"""
import os
import sys
import warnings

import torch

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path[:0] = [f"{ROOT}/tests", f"{ROOT}/experiments"]
import foreign_networks as networks
from foreign_networks import SameConv, efficientnet, mobilenet_v3, timm_squeeze, torchvision_squeeze

networks.CLASSES, networks.DEPTH = 1000, 99
NETWORKS = {
    "mobilenet_v1": lambda: networks.mobilenet_v1(1),
    "mobilenet_v2": lambda: networks.mobilenet_v2(1),
    "mobilenet_v3_small": lambda: mobilenet_v3(networks.V3_SMALL, 1, "torchvision"),
    "mobilenet_v3_large": lambda: mobilenet_v3(networks.V3_LARGE, 1, "torchvision"),
    "mobilenet_v4_conv_small": lambda: networks.mobilenet_v4(1),
    "shufflenet_v2_x1_0": lambda: networks.shufflenet_v2(1),
    "mnasnet1_0": lambda: networks.mnasnet("mean", 1),
    "efficientnet_b0": lambda: efficientnet(1, torchvision_squeeze(torch.nn.SiLU, torch.nn.Sigmoid), torch.nn.SiLU),
    "tf_efficientnet_b0": lambda: efficientnet(1, timm_squeeze(torch.nn.SiLU, torch.nn.Sigmoid), torch.nn.SiLU, SameConv),
    "efficientnet_lite0": lambda: efficientnet(1, None, torch.nn.ReLU6),
}


def main(folder):
    try:
        from pretrained import network

        NETWORKS["efficientnet_lite0"] = network
    except ImportError as missing:
        print(f"efficientnet_lite0 with random weights: {missing}", file=sys.stderr)
    warnings.simplefilter("ignore")
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        torch.onnx.export(make().eval(), (torch.randn(1, 3, 224, 224),), f"{folder}/{name}.onnx", dynamo=False, opset_version=13,
                          input_names=["image"], output_names=["logits"],
                          dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})
        print(f"{folder}/{name}.onnx")


main(sys.argv[1])
