#!/usr/bin/env python3
"""Train the networks of the encrypted_mnist example.

Data
    ``--images`` and ``--labels`` are IDX files (gzip or not) of at least
    10,000 handwritten digits, 28x28; pixels go in as x / 255.  The last 1,000
    are held out and decide everything that was tried; the others train.
    ``--test-images`` and ``--test-labels`` are looked at once, at the end.

Models (input [1, 28, 28]; all activations have degree 2)
    logistic    784 -> 10
    mlp         784 -> 128, square, -> 10
    cryptonets  5x5 convolution, 5 channels, stride 2 on a 29x29 padded image
                -> 5x13x13, square, 845 -> 100, square, -> 10
                (Gilad-Bachrach and others, ICML 2016, at inference)
    lenet       LeNet-5: 5x5 convolution to 6 channels, p, average pooling, 5x5
                convolution to 16, p, pooling, 400 -> 120, p, -> 84, p, -> 10;
                each p(x) = x^2 + c x with its own trained c
    pca         projection on the 32 principal components of the training
                images, then 32 -> 64, square, -> 10

Training
    Cross-entropy with smoothed labels, AdamW, minibatches, one-cycle rate;
    random rotations, scalings, shears and shifts of the images.  While it
    trains, a batch norm before each activation keeps values near a fixed
    size, and what leaves [-3, 3] there is penalised.  Single-threaded, a
    fixed seed for each model.

Ranges
    The models run under approximate encryption.  After training the batch
    norms are folded, and rescalings that change no answer (none but the last
    could change an argmax, and that one multiplies all logits alike) settle
    the sizes over the training images as they are:

    * the largest |x| before each activation is ``PRE_MAX``, and the leading
      coefficient of each p is 1, its constant 0;
    * the class mean is taken out of the last layer, and the largest |logit|
      is ``LOGIT_MAX``.

Output
    ``--out`` gets NAME.safetensors: weights in f16, biases in f32, metadata
    ``input`` and ``layers`` in JSON.  Every figure printed is that of the
    stored values, read back from the file.

    pip install torch==2.9.1 safetensors==0.8.0 numpy==2.5.5
    python scripts/train_models.py --images train10k-images-idx3-ubyte.gz \\
        --labels train10k-labels-idx1-ubyte.gz --out examples/data/models
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import gzip
import hashlib
import json
import math
import pathlib
import time

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F

PRE_MAX = 1.9  # largest |x| before an activation, over the training images
LOGIT_MAX = 6.5  # largest |logit| over the training images
HELD_OUT = 1000
COMPONENTS = 32


class Quadratic(nn.Module):
    """c0 + c1 x + c2 x^2, at first near max(x, 0) on [-3, 3].

    Where the coefficients are not trained, a square is stored: the layers before and behind take up the rest.  A square
    of values about zero would be the same function and trains much worse.
    """

    def __init__(self, trained):
        super().__init__()
        self.c = nn.Parameter(torch.tensor([0.3, 0.5, 0.15]), requires_grad=trained)
        self.seen = None

    def forward(self, x):
        self.seen = x
        return self.c[0] + self.c[1] * x + self.c[2] * x * x


def network(name, projection):
    """The network to train, with batch norms."""

    def dense(inputs, outputs, trained=False):
        return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), Quadratic(trained)]

    def convolution(inputs, outputs, trained=False, **shape):
        return [nn.Conv2d(inputs, outputs, 5, **shape), nn.BatchNorm2d(outputs), Quadratic(trained)]

    layers = {
        "logistic": lambda: [nn.Flatten(), nn.Linear(784, 10)],
        "mlp": lambda: [nn.Flatten(), *dense(784, 128), nn.Linear(128, 10)],
        "cryptonets": lambda: [
            nn.ZeroPad2d((1, 0, 1, 0)),
            *convolution(1, 5, stride=2),
            nn.Flatten(),
            *dense(845, 100),
            nn.Linear(100, 10),
        ],
        "lenet": lambda: [
            *convolution(1, 6, trained=True, padding=2),
            nn.AvgPool2d(2),
            *convolution(6, 16, trained=True),
            nn.AvgPool2d(2),
            nn.Flatten(),
            *dense(400, 120, trained=True),
            *dense(120, 84, trained=True),
            nn.Linear(84, 10),
        ],
        "pca": lambda: [nn.Flatten(), projection, *dense(COMPONENTS, 64), nn.Linear(64, 10)],
    }
    return nn.Sequential(*layers[name]())


# epochs, batch, rate, weight decay, strength of the augmentation
SETTINGS = {
    "logistic": (30, 100, 0.005, 0.01, 0.3),
    "mlp": (35, 100, 0.005, 0.02, 0.7),
    "cryptonets": (35, 100, 0.005, 0.02, 0.7),
    "lenet": (30, 100, 0.005, 0.02, 0.8),
    "pca": (35, 100, 0.01, 0.01, 0.5),
}


def load(images, labels):
    """Pixels in [0, 1] as [n, 1, 28, 28] f32, and labels."""

    def read(path, dimensions):
        data = pathlib.Path(path).read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        shape = np.frombuffer(data, ">u4", dimensions, 4)
        return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy())

    x, y = read(images, 3), read(labels, 1)
    assert x.shape[1:] == (28, 28) and len(x) == len(y)
    return x[:, None].float() / 255.0, y.long()


def augment(x, strength):
    """Random rotation, scaling and shear about the centre, and shift."""
    n = len(x)

    def draw(most):
        return (torch.rand(n) * 2.0 - 1.0) * most * strength

    angle, shear = draw(math.radians(12.0)), draw(0.15)
    across, down = 1.0 + draw(0.12), 1.0 + draw(0.12)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # Two pixels of 28 are 4/28 of the width that [-1, 1] stands for.
    rows = [[cos * across, shear - sin, draw(4.0 / 28.0)], [sin, cos * down, draw(4.0 / 28.0)]]
    grid = F.affine_grid(torch.stack([torch.stack(row, 1) for row in rows], 1), x.shape, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def principal_components(x):
    """The projection on the first principal components, about the mean."""
    flat = x.flatten(1).double()
    mean = flat.mean(0)
    _, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean))
    axes = vectors.flip(1)[:, :COMPONENTS].T
    # An axis has no direction: its largest entry shall be positive.
    axes *= axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    layer = nn.Linear(784, COMPONENTS).requires_grad_(False)
    layer.weight.copy_(axes)
    layer.bias.copy_(-axes @ mean)
    return layer


def train(name, x, y):
    """The trained network."""
    torch.manual_seed(1)
    epochs, batch, rate, decay, strength = SETTINGS[name]
    net = network(name, principal_components(x))
    activations = [m for m in net if isinstance(m, Quadratic)]
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=decay)
    steps = len(x) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * steps, pct_start=0.2)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for s in range(steps):
            chosen = order[s * batch : (s + 1) * batch]
            logits = net(augment(x[chosen], strength))
            loss = F.cross_entropy(logits, y[chosen], label_smoothing=0.05)
            for activation in activations:
                loss = loss + 0.1 * F.relu(activation.seen.abs() - 3.0).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def fold(net):
    """The layers that are stored, in f64, batch norms and paddings folded."""
    layers, padding = [], [0, 0, 0, 0]
    for m in net:
        if isinstance(m, nn.ZeroPad2d):
            left, right, top, bottom = m.padding
            padding = [top, left, bottom, right]
        elif isinstance(m, nn.Conv2d):
            if m.padding[0]:
                padding = [m.padding[0], m.padding[1]] * 2
            layers.append({"op": "conv2d", "w": m.weight, "b": m.bias, "stride": list(m.stride), "padding": padding})
            padding = [0, 0, 0, 0]
        elif isinstance(m, nn.Linear):
            layers.append({"op": "dense", "w": m.weight, "b": m.bias})
        elif isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            scale = m.weight.double() / torch.sqrt(m.running_var.double() + m.eps)
            last = layers[-1]
            last["w"] = last["w"].double() * scale.view(-1, *[1] * (last["w"].dim() - 1))
            last["b"] = (last["b"].double() - m.running_mean) * scale + m.bias
        elif isinstance(m, Quadratic):
            layers.append({"op": "polynomial", "c": m.c.tolist(), "square": not m.c.requires_grad})
        elif isinstance(m, nn.AvgPool2d):
            layers.append({"op": "average_pool", "kernel": [m.kernel_size] * 2, "stride": [m.stride] * 2})
        elif isinstance(m, nn.Flatten):
            layers.append({"op": "flatten"})
    for layer in layers:
        if "w" in layer:
            layer["w"], layer["b"] = layer["w"].detach().double(), layer["b"].detach().double()
    return layers


def forward(layers, x):
    """The logits in f64, and the values before each activation."""
    x, before = x.double(), []
    for layer in layers:
        if layer["op"] == "conv2d":
            top, left, bottom, right = layer["padding"]
            x = F.conv2d(F.pad(x, (left, right, top, bottom)), layer["w"], layer["b"], layer["stride"])
        elif layer["op"] == "dense":
            x = F.linear(x, layer["w"], layer["b"])
        elif layer["op"] == "average_pool":
            x = F.avg_pool2d(x, layer["kernel"], layer["stride"])
        elif layer["op"] == "flatten":
            x = x.flatten(1)
        else:
            before.append((float(x.min()), float(x.max())))
            c = layer["c"]
            x = c[0] + c[1] * x + c[2] * x * x
    return x, before


def settle(layers, x):
    """The rescalings of the page above, in place."""
    places = [i for i, layer in enumerate(layers) if layer["op"] == "polynomial"]
    for place, (low, high) in zip(places, forward(layers, x)[1]):
        ahead = next(layer for layer in layers[place + 1 :] if "w" in layer)
        behind = next(layer for layer in reversed(layers[:place]) if "w" in layer)
        assert ahead.get("padding", [0] * 4) == [0] * 4, "a constant would not pass the padding"
        # With u = (x + shift) scale: p = c2 / scale^2 (u^2 + (c1 / c2 - 2 shift) scale u) + constant.
        c0, c1, c2 = layers[place].pop("c")
        shift = c1 / (2.0 * c2) if layers[place].pop("square") else 0.0
        scale = PRE_MAX / max(-low - shift, high + shift)
        constant = c0 - c1 * shift + c2 * shift**2
        ahead["b"] = ahead["b"] + constant * ahead["w"].flatten(1).sum(1)
        ahead["w"] = ahead["w"] * (c2 / scale**2)
        behind["w"], behind["b"] = behind["w"] * scale, (behind["b"] + shift) * scale
        layers[place]["c"] = [0.0, 0.0 if shift else c1 / c2 * scale, 1.0]
    last = layers[-1]
    last["w"], last["b"] = last["w"] - last["w"].mean(0), last["b"] - last["b"].mean()
    scale = LOGIT_MAX / float(forward(layers, x)[0].abs().max())
    last["w"], last["b"] = last["w"] * scale, last["b"] * scale


def store(layers, path):
    tensors, listed = {}, []
    for index, layer in enumerate(layers):
        entry = {key: value for key, value in layer.items() if key not in ("w", "b", "c")}
        if "w" in layer:
            entry |= {"weight": f"{index}.weight", "bias": f"{index}.bias"}
            tensors[entry["weight"]] = layer["w"].numpy().astype(np.float16)
            tensors[entry["bias"]] = layer["b"].numpy().astype(np.float32)
        elif layer["op"] == "polynomial":
            entry = {"op": "square"} if layer["c"][1] == 0.0 else entry | {"coefficients": layer["c"]}
        listed.append(entry)
    metadata = {"input": "[1,28,28]", "layers": json.dumps(listed, separators=(",", ":"))}
    save_file(tensors, path, metadata=metadata)


def fetch(path):
    """The stored layers, widened to f64."""
    with safe_open(path, framework="numpy") as file:
        layers = json.loads(file.metadata()["layers"])
        for layer in layers:
            if "weight" in layer:
                layer["w"] = torch.from_numpy(file.get_tensor(layer["weight"]).astype(np.float64))
                layer["b"] = torch.from_numpy(file.get_tensor(layer["bias"]).astype(np.float64))
            elif layer["op"] in ("square", "polynomial"):
                layer |= {"op": "polynomial", "c": layer.get("coefficients", [0.0, 0.0, 1.0])}
    return layers


def report(what, layers, x, y):
    logits, before = forward(layers, x)
    right = int((logits.argmax(1) == y).sum())
    ranges = " ".join(f"[{low:.2f}, {high:.2f}]" for low, high in before)
    print(
        f"  {what:9s} accuracy {right / len(y):.4f} ({right}/{len(y)})  logits [{float(logits.min()):.2f}, "
        f"{float(logits.max()):.2f}]  before activations {ranges}",
        flush=True,
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", required=True)
    p.add_argument("--labels", required=True)
    p.add_argument("--test-images")
    p.add_argument("--test-labels")
    p.add_argument("--out", required=True, type=pathlib.Path, help="the folder to write to")
    p.add_argument("--models", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    args = p.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    args.out.mkdir(parents=True, exist_ok=True)

    x, y = load(args.images, args.labels)
    parts = {"training": (x[:-HELD_OUT], y[:-HELD_OUT]), "held out": (x[-HELD_OUT:], y[-HELD_OUT:])}
    if args.test_images:
        parts["test"] = load(args.test_images, args.test_labels)
    for name in args.models:
        start = time.monotonic()
        layers = fold(train(name, *parts["training"]))
        settle(layers, parts["training"][0])
        path = args.out / f"{name}.safetensors"
        store(layers, path)
        data = path.read_bytes()
        print(f"{name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}, {time.monotonic() - start:.0f} s")
        layers = fetch(path)
        for layer in layers:
            if "coefficients" in layer:
                print(f"  coefficients {layer['coefficients']}")
        for what, part in parts.items():
            report(what, layers, *part)


if __name__ == "__main__":
    main()
