"""Keras's cases, through its own ONNX export (tf2onnx beneath)."""

import pathlib
import tempfile

import keras
import numpy as np
import onnx
import tf2onnx
from keras import layers

import model_vectors_common as common


def sequential(shape, *stack):
    return keras.Sequential([keras.Input(shape), *stack])


def residual():
    x = keras.Input((4, 4, 2))
    y = layers.Conv2D(2, 3, padding="same", activation="tanh")(x)
    y = layers.Add()([x, layers.Conv2D(2, 3, padding="same")(y)])
    y = layers.Concatenate()([y, layers.Multiply()([x, x])])
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))


def cases():
    """name: (model, opset)."""
    return {
        "mlp": (
            sequential((6,), layers.Dense(5, "relu"), layers.Dense(4, "sigmoid"), layers.Dense(3, "softmax")),
            13,
        ),
        "activations": (
            sequential((4,), layers.Dense(4, "tanh"), layers.Dense(4, "silu"), layers.Dense(2)),
            15,
        ),
        "conv": (
            sequential(
                (8, 8, 1),
                layers.Conv2D(3, 5, strides=2, padding="same", activation="relu"),
                layers.AveragePooling2D(2),
                layers.Flatten(),
                layers.Dense(4),
            ),
            11,
        ),
        "conv_batch_norm": (
            sequential(
                (7, 7, 2),
                layers.ZeroPadding2D(((1, 0), (0, 2))),
                layers.Conv2D(4, 3, use_bias=False, groups=1),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.DepthwiseConv2D(3, padding="same"),
                layers.BatchNormalization(),
                layers.GlobalAveragePooling2D(),
                layers.Dropout(0.5),
                layers.Dense(3),
            ),
            17,
        ),
        "conv_dilated": (sequential((9, 9, 2), layers.Conv2D(2, 3, dilation_rate=2), layers.Permute((3, 1, 2))), 18),
        "pool_same": (
            sequential((5, 5, 2), layers.AveragePooling2D(3, 2, padding="same"), layers.Reshape((-1, 2)), layers.Dense(2)),
            13,
        ),
        "residual": (residual(), 18),
        "cryptonets": (
            sequential(
                (10, 10, 1),
                layers.Rescaling(0.5, offset=0.25),
                layers.Conv2D(2, 5, strides=2, activation=keras.ops.square),
                layers.Flatten(),
                layers.Dense(6, activation=keras.ops.square),
                layers.Dense(4),
            ),
            18,
        ),
    }


def export(model, opset):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.onnx"
        model.export(path, format="onnx", opset_version=opset, verbose=False)
        return onnx.load(path)


def write(folder, only):
    exporter = f"keras {keras.__version__}, tf2onnx {tf2onnx.__version__}"
    keras.utils.set_random_seed(5)
    for name, (model, opset) in cases().items():
        if only not in name:
            continue
        # As after training: no bias is zero and no normalisation the identity.
        draw = np.random.Generator(np.random.PCG64(7))
        for weight in model.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(draw.uniform(0.5, 1.5, weight.shape))
            elif weight.name in ("bias", "beta", "moving_mean"):
                weight.assign(draw.uniform(-0.5, 0.5, weight.shape))
        batch = common.inputs(name, model.input_shape[1:])
        samples = [{"input": x, "output": np.asarray(model(x[None], training=False))[0]} for x in batch]
        common.write(folder, f"keras_{name}", exporter, export(model, opset), samples)
