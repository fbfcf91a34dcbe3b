"""Networks as others write them in PyTorch, with random weights.

MODELS gives for each name what makes it and three sizes of its images; build() makes one.
"""
import torch
from torch import nn

from foreign_networks import NETWORKS
from foreign_parts import ODDS, softmax


def images(seed, batch, size):
    """Waves and noise, each image at a strength and a mean of its own."""
    random = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(shape, generator=random)
    phase = 6.3 * draw(batch, 3, 1, 1)
    across, down = (torch.linspace(0, 1, size) * (1 + 9 * draw(batch, 3, 1, 1)) for _ in range(2))
    noise = torch.randn(batch, 3, size, size, generator=random)
    waves = torch.sin(across + down.mT + phase) + 0.3 * noise
    return waves * (0.5 + draw(batch, 1, 1, 1)) + draw(batch, 3, 1, 1) - 0.5


def observe(norm, inputs):
    """Statistics as training would leave them, and off by enough that folding them wrongly shows."""
    x = inputs[0]
    axes = [0, 2, 3] if x.dim() == 4 else [0]
    variance, mean = torch.var_mean(x, axes, correction=0)
    norm.running_mean.normal_(0, 0.1).mul_(variance.sqrt()).add_(mean)
    norm.running_var.uniform_(0.5, 2).mul_(variance.clamp(min=0.05))


@torch.no_grad()
def randomise(model, size, seed=0, biases=True):
    """In eval mode, of random weights that keep activations of order one."""
    torch.manual_seed(seed)
    model.eval()
    model(images(seed, 2, size))  # gives LazyLinear its weight
    hooks = []
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.1)
            hooks.append(module.register_forward_pre_hook(observe))
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                module.bias.normal_(0, 0.1 if biases else 0)
    model(images(seed + 1, 16, size))
    for hook in hooks:
        hook.remove()
    return model


def build(name, size, seed=0):
    """Those WITHOUT_BIASES have zeros there: exporters leave them out, or share them by Identity."""
    torch.manual_seed(seed)
    return randomise(MODELS[name][0](), size, seed, name not in WITHOUT_BIASES)


MODELS = {
    **NETWORKS,
    **{make.__name__: (make, (32, 65, 38)) for make in ODDS},
    "softmax_of_1": (lambda: softmax(1), (32, 65, 38)),
    "softmax_of_last": (lambda: softmax(-1), (32, 65, 38)),
}
WITHOUT_BIASES = {"tv_mobilenet_v2", "tv_mobilenet_v3_small", "timm_mobilenetv3_large", "tv_efficientnet_b0", "tied"}
