#!/usr/bin/env python3
"""Write tests/data/models: small ONNX files as exporters write them, and what the exporters' own frameworks answer.

Every file NAME.onnx comes from PyTorch (both of its exporters), scikit-learn (skl2onnx) or Keras (tf2onnx) with random
small weights. NAME.json beside it has three inputs and the outputs of the framework that the model was made in, not of
the file; the script refuses to write a pair on which onnxruntime's reading of the file differs by more than 1e-5.

    pip install -r tests/data/models/requirements.txt
    python scripts/model_vectors.py --framework torch --out tests/data/models
    python scripts/model_vectors.py --framework sklearn --out tests/data/models
    pip install -r tests/data/models/requirements-keras.txt       # in an environment of its own
    python scripts/model_vectors.py --framework keras --out tests/data/models

The JSON object
    exporter, opset     what wrote the file
    input, output       shapes of one sample, without the batch axis
    samples             [{"input": [..], "output": [..]}], flat and row-major, f32 in shortest decimals
    scores, label       scikit-learn's classifiers only, in each sample: `decision_function` before any sigmoid or
                        softmax, and `predict`; `output` is then the probabilities, or the scores where there are none
    refused             instead of samples: the operator for which a reader must refuse the file by name

Node metadata, documentation strings and source locations are stripped from the files: they name paths of the machine.
Nothing else is changed. A rerun with the same versions gives the same bytes.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import importlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--framework", required=True, choices=["torch", "sklearn", "keras"])
    p.add_argument("--out", required=True, type=pathlib.Path, help="the folder to write to")
    p.add_argument("--only", default="", help="only cases whose name has this in it")
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    importlib.import_module(f"model_vectors_{args.framework}").write(args.out, args.only)


if __name__ == "__main__":
    main()
