"""scikit-learn's cases, through skl2onnx."""

import numpy as np
import sklearn
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

import model_vectors_common as common

FEATURES = 4


def data(classes):
    """Overlapping clouds, one a class, of differing widths."""
    draw = np.random.Generator(np.random.PCG64(classes))
    labels = np.arange(60) % classes
    centres = draw.normal(0.0, 1.0, (classes, FEATURES))
    points = centres[labels] + draw.normal(0.0, 0.7, (60, FEATURES)) * [1.0, 0.5, 2.0, 1.5]
    return points.astype(np.float32), labels


def cases():
    """name: (model, classes; 0 to regress on one target, -2 on two, None to transform; opset)."""
    return {
        "linear_regression": (LinearRegression(), 0, 11),
        "linear_regression_two": (LinearRegression(), -2, 13),
        "ridge_pipeline": (make_pipeline(StandardScaler(), Ridge()), 0, 17),
        "linear_svr": (LinearSVR(max_iter=100_000), 0, 15),
        "svr": (SVR(kernel="linear"), 0, 13),
        "logistic_binary": (LogisticRegression(), 2, 11),
        "logistic_multinomial": (LogisticRegression(), 3, 13),
        "logistic_pipeline": (make_pipeline(StandardScaler(), LogisticRegression()), 3, 18),
        "linear_svc_binary": (LinearSVC(max_iter=100_000), 2, 12),
        "linear_svc": (LinearSVC(max_iter=100_000), 3, 17),
        "svc_binary": (SVC(kernel="linear"), 2, 17),
        "svc": (SVC(kernel="linear", decision_function_shape="ovo"), 3, 17),
        "pca": (PCA(2), None, 11),
        "pca_whitened": (PCA(3, whiten=True), None, 17),
        "pca_logistic": (make_pipeline(StandardScaler(), PCA(2), LogisticRegression()), 3, 21),
        "scalers": (make_pipeline(StandardScaler(with_mean=False), MinMaxScaler()), None, 14),
        "mlp": (MLPClassifier((5,), activation="logistic", max_iter=40, random_state=0), 3, 17),
        "mlp_binary": (MLPClassifier((4,), activation="relu", max_iter=40, random_state=0), 2, 17),
    }


def refused():
    """name: (model, operator)."""
    return {
        "normalizer": (make_pipeline(Normalizer(), LogisticRegression()), "Normalizer"),
        "svc_rbf": (SVC(kernel="rbf"), "SVMClassifier"),
    }


def convert(model, opset, zipmap):
    final = model.steps[-1][1] if hasattr(model, "steps") else model
    mapped = hasattr(final, "predict_proba") or isinstance(final, SVC)
    return skl2onnx.to_onnx(
        model,
        initial_types=[("X", FloatTensorType([None, FEATURES]))],
        target_opset={"": opset, "ai.onnx.ml": 1 if opset < 15 else 3},
        options={id(final): {"zipmap": False}} if mapped and not zipmap else None,
    )


def answers(model, x, classes):
    """What scikit-learn answers to each sample."""
    if classes is None:
        return [{"input": row, "output": out} for row, out in zip(x, model.transform(x))]
    if classes <= 0:
        return [{"input": row, "output": np.reshape(out, -1)} for row, out in zip(x, model.predict(x))]
    rows = {"input": x, "label": model.predict(x)}
    if hasattr(model, "decision_function"):
        rows["scores"] = model.decision_function(x).reshape(len(x), -1)
    if hasattr(model, "predict_proba"):
        rows["output"] = model.predict_proba(x)
    elif isinstance(model, SVC) and classes == 2:
        # skl2onnx gives one score a class, scikit-learn one for both.
        rows["output"] = rows["scores"] * [1.0, -1.0]
    else:
        rows["output"] = rows["scores"]
    return [{key: value[i] for key, value in rows.items()} for i in range(len(x))]


def write(folder, only):
    exporter = f"scikit-learn {sklearn.__version__}, skl2onnx {skl2onnx.__version__}"
    for name, (model, classes, opset) in cases().items():
        if only not in name:
            continue
        x, labels = data(max(classes or 2, 2))
        # Regression: a linear function of the points plus something that is not.
        target = labels if (classes or 0) > 0 else x @ np.arange(1.0, 1.0 + FEATURES) + 0.3 * labels
        if classes == -2:
            target = np.stack([target, target**2], axis=1)
        model.fit(x, target)
        samples = answers(model, common.inputs(name, [FEATURES]), classes)
        # scikit-learn's classifiers end in a ZipMap unless told otherwise: the binary ones keep it.
        file = convert(model, opset, zipmap=classes == 2)
        common.write(folder, f"sklearn_{name}", exporter, file, samples)
    for name, (model, operator) in refused().items():
        if only in name:
            model.fit(*data(3))
            common.write_refused(folder, f"refused_sklearn_{name}", exporter, convert(model, 17, zipmap=False), operator)
