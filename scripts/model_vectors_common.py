"""What the three exporters' cases share: inputs, cleaning, checking, writing."""

import json

import numpy as np
import onnx
import onnxruntime

SAMPLES = 3
TOLERANCE = 1e-5
MAX_BYTES = 20_000


def inputs(name, shape):
    """Three inputs in [-1, 1], the same for a name on every machine."""
    seed = np.random.SeedSequence([ord(c) for c in name])
    draw = np.random.Generator(np.random.PCG64(seed)).uniform(-1.0, 1.0, (SAMPLES, *shape))
    return draw.astype(np.float32)


def strip(model):
    """Takes out what names files of this machine."""
    def clean(graph):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for value in [*graph.input, *graph.output, *graph.value_info]:
            value.doc_string = ""
            del value.metadata_props[:]
        for tensor in graph.initializer:
            tensor.doc_string = ""
            del tensor.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]

    clean(model.graph)
    model.doc_string = ""
    del model.metadata_props[:]
    return model


def opset_of(model):
    """The version of the main operator set."""
    return next(i.version for i in model.opset_import if i.domain in ("", "ai.onnx"))


def numbers(array):
    """Shortest decimals that read back as the same f32."""
    return [float(str(np.float32(x))) for x in np.asarray(array).reshape(-1)]


def run(model, sample):
    """onnxruntime's first output of floats for one sample; a ZipMap's are the values of its map."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answers = session.run(None, {session.get_inputs()[0].name: sample[None]})
    answers = [np.float32(list(a[0].values())) if isinstance(a, list) else a for a in answers]
    return next(a for a in answers if a.dtype == np.float32)


def write(folder, name, exporter, model, samples):
    """Checks the answers against onnxruntime and writes the pair.

    `samples` is a list of objects with `input`, `output` and, of classifiers, `scores` and `label` arrays.
    """
    strip(model)
    onnx.checker.check_model(model)
    for sample in samples:
        got, want = run(model, sample["input"]).reshape(-1), np.asarray(sample["output"]).reshape(-1)
        assert got.shape == want.shape, f"{name}: the file gives {got.shape}, the framework {want.shape}"
        worst = np.abs(got - want).max()
        assert worst <= TOLERANCE, f"{name}: the file and the framework differ by {worst}"
    header = {
        "exporter": exporter,
        "opset": opset_of(model),
        "input": list(samples[0]["input"].shape),
        "output": list(np.shape(samples[0]["output"])),
    }
    rows = [{key: numbers(value) for key, value in sample.items()} for sample in samples]
    put(folder, name, model, header, [f"  {json.dumps(row, separators=(',', ':'))}" for row in rows])


def write_refused(folder, name, exporter, model, operator):
    """A file that a reader must refuse, naming `operator`."""
    strip(model)
    onnx.checker.check_model(model)
    put(folder, name, model, {"exporter": exporter, "opset": opset_of(model), "refused": operator}, None)


def put(folder, name, model, header, rows):
    data = model.SerializeToString()
    assert len(data) <= MAX_BYTES, f"{name}: {len(data)} bytes"
    (folder / f"{name}.onnx").write_bytes(data)
    lines = [f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}" for key, value in header.items()]
    if rows is not None:
        lines.append('"samples":[\n' + ",\n".join(rows) + "\n]")
    (folder / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    operators = sorted({node.op_type for node in model.graph.node})
    print(f"{name:34s} opset {header['opset']:2d} {len(data):6d} bytes  {' '.join(operators)}")
