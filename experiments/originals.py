"""torchvision's and timm's own networks, by both of PyTorch's exporters, in the engine and in ONNX Runtime: 224 px, random
weights, batches of 1 and 3.   usage: originals.py FEWSHIFT [NAME...]

needs: torch onnx onnxruntime onnxscript; pip install --no-deps torchvision timm, and what timm asks for (pyyaml
huggingface_hub safetensors tqdm)."""
import pathlib
import sys
import tempfile
import warnings

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
from foreign_models import randomise
from foreign_models_test import Case, compare, export

# A torchvision whose own operators do not load (it was built for another torch) still makes networks.
library = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import timm
import torchvision

FAMILIES = {
    "torchvision": ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2_x1_0", "mnasnet1_0",
                    "efficientnet_b0"],
    "timm": ["mobilenetv1_100", "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100",
             "tf_mobilenetv3_large_minimal_100", "mobilenetv4_conv_small", "mnasnet_100", "efficientnet_b0",
             "tf_efficientnet_b0", "efficientnet_lite0", "tf_efficientnet_lite0"],
}
IN_PASSING = {
    "torchvision": ["resnet18", "densenet121", "squeezenet1_1", "googlenet", "alexnet", "regnet_y_400mf"],
    "timm": ["ghostnet_100", "hardcorenas_a", "rexnet_100"],
}


def make(package, name):
    if package == "timm":
        return timm.create_model(name)
    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(weights=None, **options)


def main(fewshift, *names):
    warnings.simplefilter("ignore")
    faults = compared = 0
    with tempfile.TemporaryDirectory() as folder:
        for rows in (FAMILIES, IN_PASSING):
            for package, name in ((package, name) for package, all in rows.items() for name in all):
                if names and name not in names:
                    continue
                model = randomise(make(package, name), 224)
                for exporter, opset in (("script", 13), ("dynamo", 20)):
                    case = Case(f"{package} {name}", exporter, opset, 224)
                    export(model, case, f"{folder}/model.onnx")
                    wrong = list(compare(fewshift, f"{folder}/model.onnx", case, folder))
                    print(*wrong, sep="\n", end="\n" if wrong else "", flush=True)
                    faults, compared = faults + len(wrong), compared + 1
    print(f"{compared} files, {faults} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
