"""PyTorch's cases, through the exporter by tracing (`script`) and the one by torch.export (`dynamo`)."""

import io
import logging
import warnings

import onnx
import torch
from torch import nn
from torch.nn import functional as F

import model_vectors_common as common


class Lambda(nn.Module):
    """A function of the input and of the given submodules."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.parts)


class Polynomial(nn.Module):
    """c0 + c1 x + c2 x^2 with trained coefficients, entry by entry."""

    def __init__(self):
        super().__init__()
        self.c = nn.Parameter(torch.tensor([0.1, 0.5, 0.25]))

    def forward(self, x):
        return self.c[0] + self.c[1] * x + self.c[2] * x * x


class Normalise(nn.Module):
    """(x - mean) / deviation, channel by channel."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("mean", torch.linspace(0.1, 0.3, channels).view(1, channels, 1, 1))
        self.register_buffer("deviation", torch.linspace(0.5, 0.9, channels).view(1, channels, 1, 1))

    def forward(self, x):
        return (x - self.mean) / self.deviation


def batch_norm(norm):
    """Statistics as after training, so that nothing is the identity."""
    with torch.no_grad():
        for tensor in (norm.running_mean, norm.bias):
            tensor.uniform_(-0.5, 0.5)
        for tensor in (norm.running_var, norm.weight):
            tensor.uniform_(0.5, 1.5)
    return norm


def cases():
    """name: (shape of one sample, model, opsets of the tracing exporter, opsets of the other)."""
    return {
        "mlp": (
            [6],
            nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3)),
            [11, 20],
            [18, 23],
        ),
        "conv": (
            [1, 8, 8],
            nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)),
            [11],
            [18, 22],
        ),
        "conv_attributes": (
            [4, 9, 7],
            nn.Sequential(
                nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), groups=2),
                nn.Tanh(),
                nn.Conv2d(6, 6, 3, dilation=(2, 1), padding=2, groups=6, bias=False),
                nn.Conv2d(6, 2, 1),
            ),
            [12],
            [18],
        ),
        "conv_same": ([2, 6, 6], nn.Conv2d(2, 3, (4, 3), padding="same"), [13], [18]),
        "average_pool": (
            [2, 9, 9],
            nn.Sequential(
                nn.AvgPool2d(3, stride=2, padding=1),
                nn.AvgPool2d((3, 2), stride=1, padding=1, count_include_pad=False),
                nn.AvgPool2d(2),
            ),
            [11, 19],
            [18],
        ),
        "global_average_pool": (
            [2, 6, 5],
            nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
            [11],
            [18],
        ),
        "batch_norm": (
            [2, 6, 6],
            nn.Sequential(
                batch_norm(nn.BatchNorm2d(2)),
                nn.Conv2d(2, 3, 3),
                nn.ReLU(),
                batch_norm(nn.BatchNorm2d(3)),
                nn.Flatten(),
                nn.Linear(48, 5),
                nn.Sigmoid(),
                batch_norm(nn.BatchNorm1d(5)),
            ),
            [11, 15],
            [18],
        ),
        "conv_batch_norm": (
            [2, 5, 5],
            nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), batch_norm(nn.BatchNorm2d(3)), nn.ReLU()),
            [14],
            [18],
        ),
        "residual": (
            [3, 5, 5],
            Lambda(
                lambda x, a, b, c: c(F.relu(x + b(torch.tanh(a(x))))),
                nn.Conv2d(3, 4, 3, padding=1),
                nn.Conv2d(4, 3, 3, padding=1),
                nn.Sequential(nn.Flatten(), nn.Linear(75, 3)),
            ),
            [11],
            [18],
        ),
        "branches": (
            [2, 4, 4],
            Lambda(
                lambda x, a, b: torch.cat([a(x) * b(x), a(x) - b(x), x], dim=1),
                nn.Conv2d(2, 2, 1),
                nn.Conv2d(2, 2, 3, padding=1),
            ),
            [11],
            [18],
        ),
        "pad": (
            [2, 4, 4],
            nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(2, 2, 2), nn.ConstantPad2d((0, 1, 1, 0), 0.5)),
            [11, 18],
            [18],
        ),
        "cryptonets": (
            [1, 10, 10],
            Lambda(
                lambda x, conv, first, second: second(first(conv(F.pad(x, (1, 0, 1, 0))).pow(2).flatten(1)).square()),
                nn.Conv2d(1, 2, 5, stride=2),
                nn.Linear(32, 8),
                nn.Linear(8, 4),
            ),
            [13],
            [18],
        ),
        "lenet": (
            [1, 12, 12],
            nn.Sequential(
                nn.Conv2d(1, 2, 5, padding=2),
                Polynomial(),
                nn.AvgPool2d(2),
                nn.Conv2d(2, 4, 3),
                Polynomial(),
                nn.AvgPool2d(2),
                nn.Flatten(),
                nn.Linear(16, 8),
                Polynomial(),
                nn.Linear(8, 4),
            ),
            [17],
            [18],
        ),
        "silu": ([5], nn.Sequential(nn.Linear(5, 4), nn.SiLU(), nn.Linear(4, 3)), [13], [18]),
        "gelu": ([5], nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3)), [11, 20], [18, 20]),
        "softmax": (
            [4],
            nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Softmax(dim=1)),
            [11, 13],
            [18],
        ),
        "softmax_channels": ([3, 2, 2], nn.Sequential(nn.Conv2d(3, 3, 1), nn.Softmax(dim=1)), [12, 13], [18]),
        "polynomial": ([4], nn.Sequential(nn.Linear(4, 4), Polynomial(), nn.Linear(4, 2)), [11], [18]),
        "powers": (
            [4],
            Lambda(lambda x, a, b: b(a(x) ** 2 + 0.5 * a(x) ** 3 - x), nn.Linear(4, 4), nn.Linear(4, 3)),
            [12],
            [18],
        ),
        "constants": (
            [3, 4, 4],
            nn.Sequential(Normalise(3), nn.Conv2d(3, 2, 3), Lambda(lambda x: 1.0 - 2.0 * x / 3.0 + 0.25)),
            [11],
            [18],
        ),
        "linear_over_tokens": (
            [3, 4],
            nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2, bias=False)),
            [11],
            [18],
        ),
        "shapes": (
            [2, 3, 4],
            Lambda(
                lambda x, a: a(x.permute(0, 3, 1, 2).reshape(-1, 4, 6).transpose(1, 2).unsqueeze(1).squeeze(1))
                .flatten(1)
                .view(-1, 3, 4),
                nn.Linear(4, 2),
            ),
            [11, 13],
            [18],
        ),
        # Traced with a free batch axis, the size becomes Shape, Gather and Concat.
        "view_of_size": (
            [2, 2, 2],
            Lambda(lambda x, conv, dense: dense(conv(x).view(x.size(0), -1)), nn.Conv2d(2, 2, 1), nn.Linear(8, 2)),
            [11, 17],
            [18],
        ),
        "dropout": (
            [4],
            nn.Sequential(nn.Identity(), nn.Linear(4, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2)),
            [11],
            [18],
        ),
    }


def refused():
    """name: (shape of one sample, model, operator)."""
    return {
        "max_pool": ([1, 4, 4], nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2)), "MaxPool"),
        "relu6": ([3], nn.Sequential(nn.Linear(3, 3), nn.ReLU6()), "Clip"),
        "layer_norm": ([4], nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), "LayerNormalization"),
    }


def export(model, shape, opset, dynamo, dynamic):
    """The exporter's file, with a free batch axis where asked."""
    sample = torch.zeros(2 if dynamic else 1, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            axes = ({0: torch.export.Dim("batch")},) if dynamic else None
            program = torch.onnx.export(
                model, (sample,), dynamo=True, opset_version=opset, dynamic_shapes=axes, verbose=False
            )
            return program.model_proto
        stream = io.BytesIO()
        torch.onnx.export(
            model,
            (sample,),
            stream,
            dynamo=False,
            opset_version=opset,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}} if dynamic else None,
        )
    return onnx.load_from_string(stream.getvalue())


def exporter(kind):
    return f"torch {torch.__version__.split('+')[0]}, {kind}"


def answers(model, batch):
    """What PyTorch answers, one sample at a time."""
    with torch.no_grad():
        return [{"input": x, "output": model(torch.from_numpy(x[None]))[0].numpy()} for x in batch]


def write(folder, only):
    torch.manual_seed(5)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for index, (name, (shape, model, script, dynamo)) in enumerate(cases().items()):
        if only not in name:
            continue
        model.eval()
        samples = answers(model, common.inputs(name, shape))
        for opset, by_dynamo in [(o, False) for o in script] + [(o, True) for o in dynamo]:
            # Every second case has a free batch axis.
            file = export(model, shape, opset, by_dynamo, dynamic=index % 2 == 0)
            kind = "dynamo" if by_dynamo else "script"
            common.write(folder, f"torch_{name}_{kind}{opset}", exporter(kind), file, samples)
    for name, (shape, model, operator) in refused().items():
        if only in name:
            file = export(model.eval(), shape, 17, False, dynamic=False)
            common.write_refused(folder, f"refused_torch_{name}", exporter("script"), file, operator)
