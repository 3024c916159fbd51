//! Small graphs made by hand: what no exporter's file shows.

use super::proto::{
    Attribute, Dimension, Graph, ModelProto, Node, OperatorSet, Tensor, TensorShape, TensorType, Type, ValueInfo,
};
use crate::error::Error;
use crate::ml::{Layer, Model};
use prost::Message;

fn value(name: &str, axes: &[Option<i64>]) -> ValueInfo {
    let dim = axes.iter().map(|&value| Dimension { value }).collect();
    let kind = Type { tensor: Some(TensorType { shape: Some(TensorShape { dim }) }) };
    ValueInfo { name: name.into(), kind: Some(kind) }
}

fn floats(name: &str, dims: &[i64], entries: &[f32]) -> Tensor {
    let raw_data = entries.iter().flat_map(|x| x.to_le_bytes()).collect();
    Tensor { name: name.into(), dims: dims.to_vec(), data_type: 1, raw_data, ..Tensor::default() }
}

fn integers(name: &str, entries: &[i64]) -> Tensor {
    let raw_data = entries.iter().flat_map(|x| x.to_le_bytes()).collect();
    Tensor { name: name.into(), dims: vec![entries.len() as i64], data_type: 7, raw_data, ..Tensor::default() }
}

/// A node from, for example, `Gemm x w b -> y`.
fn node(text: &str, attribute: Vec<Attribute>) -> Node {
    let (inputs, outputs) = text.split_once(" -> ").unwrap();
    let mut words = inputs.split(' ').map(String::from);
    let op_type = words.next().unwrap();
    let (domain, op_type) = match op_type.strip_prefix("ml.") {
        Some(op_type) => ("ai.onnx.ml".into(), op_type.into()),
        None => (String::new(), op_type),
    };
    let output = outputs.split(' ').map(String::from).collect();
    let input = words.map(|name| if name == "_" { String::new() } else { name }).collect();
    Node { name: format!("the {op_type}"), op_type, domain, input, output, attribute }
}

fn int(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), i, ..Attribute::default() }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: ints.to_vec(), ..Attribute::default() }
}

fn numbers(name: &str, floats: &[f32]) -> Attribute {
    Attribute { name: name.into(), floats: floats.to_vec(), ..Attribute::default() }
}

fn text(name: &str, s: &str) -> Attribute {
    Attribute { name: name.into(), s: s.into(), ..Attribute::default() }
}

/// A file with the input `x`, the output `y` and operator set 17.
fn file(axes: &[i64], initializer: Vec<Tensor>, node: Vec<Node>) -> ModelProto {
    let axes: Vec<Option<i64>> = [None].into_iter().chain(axes.iter().copied().map(Some)).collect();
    let graph = Graph { node, initializer, input: vec![value("x", &axes)], output: vec![value("y", &[])] };
    let set = OperatorSet { domain: String::new(), version: 17 };
    ModelProto { graph: Some(graph), opset_import: vec![set] }
}

fn refused(file: &ModelProto) -> (String, String) {
    match Model::from_onnx(&file.encode_to_vec()) {
        Err(Error::BadModel { field, reason }) => (field, reason),
        other => panic!("{other:?}"),
    }
}

fn answer(file: &ModelProto, x: &[f64]) -> Vec<f64> {
    Model::from_onnx(&file.encode_to_vec()).unwrap().predict_clear(&[x.to_vec()]).unwrap().remove(0)
}

#[test]
fn what_does_not_keep_samples_apart_is_refused() {
    let shape = |entries: &[i64]| vec![integers("s", entries)];
    let two = || vec![floats("w", &[2, 2], &[1.0; 4])];
    let cases = [
        (file(&[4], shape(&[2, -1]), vec![node("Reshape x s -> y", vec![])]), "does not keep the batch"),
        (file(&[4], shape(&[5, -1]), vec![node("Reshape x s -> y", vec![])]), "cannot be reshaped"),
        (file(&[2, 3], vec![], vec![node("Transpose x -> y", vec![ints("perm", &[1, 0, 2])])]), "stay in front"),
        (file(&[2, 3], vec![], vec![node("Transpose x -> y", vec![])]), "stay in front"),
        (file(&[2], vec![], vec![node("Concat x x -> y", vec![int("axis", 0)])]), "along the batch"),
        (file(&[2], vec![], vec![node("Flatten x -> y", vec![int("axis", 0)])]), "axis other than 1"),
        (file(&[2], shape(&[0]), vec![node("Unsqueeze x s -> y", vec![])]), "batch"),
        (file(&[2], shape(&[1, 0, 0, 0]), vec![node("Pad x s -> y", vec![])]), "batch"),
        (file(&[2], vec![], vec![node("Softmax x -> y", vec![int("axis", 0)])]), "batch"),
        (file(&[2], two(), vec![node("MatMul w x -> y", vec![])]), "computed"),
        (file(&[2], two(), vec![node("Gemm x w -> y", vec![int("transA", 1)])]), "batch of vectors"),
        (file(&[2], two(), vec![node("Add x w -> y", vec![])]), "does not fit"),
    ];
    for (file, wanted) in cases {
        let (field, reason) = refused(&file);
        assert!(field.starts_with("the ") && reason.contains(wanted), "{field}: {reason}");
    }
    // An axis that is merged with the batch for a while comes back.
    let shapes = vec![integers("s", &[-1, 2]), integers("t", &[-1, 3, 2]), floats("c", &[], &[2.0])];
    let nodes = ["Reshape x s -> a", "Mul a c -> b", "Mul b a -> d", "Reshape d t -> e", "Transpose e -> y"];
    let mut nodes: Vec<Node> = nodes.iter().map(|text| node(text, vec![])).collect();
    nodes[4].attribute = vec![ints("perm", &[0, 2, 1])];
    let merged = |nodes: &[Node]| file(&[3, 2], shapes.clone(), nodes.to_vec());
    assert_eq!(answer(&merged(&nodes), &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]), [0.0, 8.0, 32.0, 2.0, 18.0, 50.0]);
    nodes[3] = node("Softmax d -> y", vec![]);
    assert!(refused(&merged(&nodes[..4])).1.contains("merged"));
    // The same with a batch of one: nothing can be mixed up.
    let mut one = file(&[4], shape(&[2, -1]), vec![node("Reshape x s -> y", vec![])]);
    one.graph.as_mut().unwrap().input = vec![value("x", &[Some(1), Some(4)])];
    assert_eq!(answer(&one, &[1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn nodes_that_no_layer_can_be_are_refused() {
    let half = || vec![floats("c", &[], &[0.5])];
    let one = |text: &str, attributes| file(&[2], half(), vec![node(text, attributes)]);
    let kernel = |name| one("ml.SVMRegressor x -> y", vec![text("kernel_type", name)]);
    let classifier = |intercepts: &[f32]| {
        let attributes = vec![
            numbers("coefficients", &[1.0; 2]),
            numbers("intercepts", intercepts),
            ints("classlabels_ints", &[0, 1]),
        ];
        one("ml.LinearClassifier x -> label y", attributes)
    };
    let cases = [
        (one("MatMul x x -> y", vec![]), "must be a constant"),
        (one("Div c x -> y", vec![]), "division by a computed value"),
        (one("Div x x -> y", vec![]), "division by a computed value"),
        (one("Pow x c -> y", vec![]), "the exponent"),
        (one("Sqrt x -> y", vec![]), "constants alone"),
        (one("Erf x -> y", vec![]), "no output"),
        (file(&[2], half(), vec![node("Erf x -> e", vec![]), node("Mul e e -> y", vec![])]), "GELU"),
        (file(&[2], half(), vec![node("Erf x -> e", vec![]), node("Mul e x -> y", vec![])]), "GELU"),
        (file(&[2], half(), vec![node("Erf x -> e", vec![]), node("Relu e -> y", vec![])]), "GELU"),
        (one("Add x nothing -> y", vec![]), "no value nothing"),
        (one("Add x _ -> y", vec![]), "missing"),
        (one("Add x -> y", vec![]), "1 inputs"),
        (one("Dropout -> y", vec![]), "no input"),
        (one("Cast x -> y", vec![int("to", 9)]), "data type 9"),
        (one("Cast x -> y", vec![int("to", 7)]), "no output"),
        (one("Gelu x -> y", vec![text("approximate", "other")]), "other"),
        (one("Loop x -> y", vec![]), "what can be read: Add"),
        (one("ml.Binarizer x -> y", vec![]), "what can be read: Add"),
        (one("ml.Normalizer x -> y", vec![text("norm", "L1")]), "supported where"),
        (kernel("POLY"), "kernel POLY"),
        (one("ml.SVMClassifier x -> label y", vec![]), "0 classes"),
        (one("ml.SVMClassifier x -> label y", vec![ints("vectors_per_class", &[i64::MAX, 2])]), "do not fit"),
        (classifier(&[0.5]), "one score for two classes"),
        (classifier(&[]), "Matrix"),
        (one("ml.Scaler x -> y", vec![numbers("scale", &[1.0])]), "0 offsets"),
        (one("ml.LinearRegressor x -> y", vec![int("targets", i64::MAX)]), "Matrix"),
        (one("ReduceMean x -> y", vec![]), "rows and columns"),
        (one("GlobalAveragePool x -> y", vec![]), "channels, rows and columns"),
        (one("AveragePool x -> y", vec![ints("kernel_shape", &[2, 2])]), "channels, rows and columns"),
    ];
    for (file, wanted) in cases {
        let (field, reason) = refused(&file);
        assert!(reason.contains(wanted), "{field}: {reason} instead of {wanted}");
    }
}

#[test]
fn files_that_are_not_whole_are_refused() {
    let relu = || vec![node("Relu x -> y", vec![])];
    let good = file(&[2], vec![], relu());
    assert_eq!(answer(&good, &[-1.0, 1.0]), [0.0, 1.0]);
    let with = |change: &dyn Fn(&mut ModelProto)| {
        let mut file = good.clone();
        change(&mut file);
        refused(&file).0
    };
    let graph = |change: &dyn Fn(&mut Graph)| with(&|file| change(file.graph.as_mut().unwrap()));
    assert_eq!(with(&|file| file.graph = None), "file");
    assert_eq!(with(&|file| file.opset_import.clear()), "opset_import");
    assert_eq!(with(&|file| file.opset_import[0].version = 10), "opset_import");
    assert_eq!(graph(&|graph| graph.input.clear()), "input");
    assert_eq!(graph(&|graph| graph.input.push(value("z", &[None]))), "input");
    for axes in [vec![], vec![Some(4), Some(2)], vec![None, None], vec![None, Some(0)], vec![None, Some(-1)]] {
        assert_eq!(graph(&|graph| graph.input[0] = value("x", &axes)), "x", "{axes:?}");
    }
    assert_eq!(graph(&|graph| graph.input[0].kind = None), "x");
    assert_eq!(graph(&|graph| graph.input[0] = value("x", &[None, Some(1 << 40)])), "input");
    assert_eq!(graph(&|graph| graph.output.clear()), "output");
    assert_eq!(graph(&|graph| graph.output.push(value("x", &[]))), "output");
    assert_eq!(graph(&|graph| graph.node.clear()), "output");
    let tensor = |change: &dyn Fn(&mut Tensor)| {
        graph(&|graph| {
            let mut tensor = floats("t", &[2, 1], &[1.0; 2]);
            change(&mut tensor);
            graph.initializer.push(tensor);
        })
    };
    assert_eq!(tensor(&|t| t.data_location = 1), "t");
    assert_eq!(tensor(&|t| t.data_type = 8), "t");
    assert_eq!(tensor(&|t| t.data_type = 11), "t");
    assert_eq!(tensor(&|t| t.raw_data.clear()), "t");
    for dims in [vec![3], vec![-1, -2], vec![i64::MAX, 2], vec![1 << 40, 0], vec![1; 17]] {
        assert_eq!(tensor(&|t| t.dims = dims.clone()), "t", "{dims:?}");
    }
    let bytes = good.encode_to_vec();
    for length in 0..bytes.len() {
        assert!(Model::from_onnx(&bytes[..length]).is_err());
    }
}

#[test]
fn small_files_do_not_take_much_memory() {
    // Two bytes a node.
    let nodes = [0x0a, 0].repeat(1 << 18);
    let mut length = vec![];
    prost::encode_length_delimiter(nodes.len(), &mut length).unwrap();
    let bytes = [&[0x3a], &length[..], &nodes].concat();
    match Model::from_onnx(&bytes) {
        Err(Error::BadModel { field, reason }) => assert!(field == "file" && reason.contains("parts"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // A constant that doubles with every node.
    let double = |i: i32| node(&format!("Concat c{i} c{i} -> c{}", i + 1), vec![int("axis", 0)]);
    let doubles = file(&[2], vec![floats("c0", &[1024], &[1.0; 1024])], (0..60).map(double).collect());
    assert!(refused(&doubles).1.contains("too large"));
    let square = file(
        &[2],
        vec![floats("c", &[4096, 1], &[1.0; 4096]), integers("s", &[1, 4096])],
        vec![node("Reshape c s -> d", vec![]), node("Add c d -> e", vec![])],
    );
    assert!(refused(&square).1.contains("too large"));
    let filled = file(&[2], vec![integers("s", &[1 << 15, 1 << 15])], vec![node("ConstantOfShape s -> c", vec![])]);
    assert!(refused(&filled).1.contains("too large"));
    let pool = vec![ints("kernel_shape", &[1000, 1000])];
    let pooled = file(&[1, 2000, 2000], vec![], vec![node("AveragePool x -> y", pool)]);
    assert!(refused(&pooled).1.contains("multiplications"));
    // Many nodes that each add an axis.
    let axes = |i: i32| node(&format!("Unsqueeze c{i} s -> c{}", i + 1), vec![]);
    let deep = file(&[2], vec![floats("c0", &[], &[1.0]), integers("s", &[0])], (0..40).map(axes).collect());
    assert!(refused(&deep).1.contains("axes"));
}

#[test]
fn shapes_are_computed_as_the_standard_says() {
    let constant = |initializer, nodes: Vec<Node>| {
        let add = [nodes, vec![node("Add x c -> y", vec![])]].concat();
        answer(&file(&[3], initializer, add), &[0.0; 3])
    };
    let ramp = || floats("r", &[5], &[0.0, 1.0, 2.0, 3.0, 4.0]);
    for (start, end, step, want) in [
        (1, 4, 1, [1.0, 2.0, 3.0]),
        (-3, i64::MAX, 1, [2.0, 3.0, 4.0]),
        (0, 5, 2, [0.0, 2.0, 4.0]),
        (-1, -4, -1, [4.0, 3.0, 2.0]),
        (2, i64::MIN, -1, [2.0, 1.0, 0.0]),
        (i64::MAX, -6, -2, [4.0, 2.0, 0.0]),
    ] {
        let bounds =
            vec![ramp(), integers("s", &[start]), integers("e", &[end]), integers("a", &[0]), integers("t", &[step])];
        assert_eq!(constant(bounds, vec![node("Slice r s e a t -> c", vec![])]), want, "{start} {end} {step}");
    }
    let gathered = vec![ramp(), integers("i", &[4, -5, 2])];
    assert_eq!(constant(gathered, vec![node("Gather r i -> c", vec![])]), [4.0, 0.0, 2.0]);
    // Integers are divided as integers.
    let divided = vec![integers("a", &[7, -7, 9]), integers("b", &[2])];
    let divide = vec![node("Div a b -> d", vec![]), node("Cast d -> c", vec![int("to", 1)])];
    assert_eq!(constant(divided, divide), [3.0, -3.0, 4.0]);
    let turned = vec![floats("m", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), integers("i", &[1]), integers("n", &[-1])];
    let turn = vec![
        node("Transpose m -> t", vec![]),
        node("Gather t i -> g", vec![int("axis", 1)]),
        node("Reshape g n -> c", vec![]),
    ];
    assert_eq!(constant(turned, turn), [4.0, 5.0, 6.0]);
    let filled = vec![integers("s", &[3])];
    let value = Attribute { name: "value".into(), t: Some(floats("", &[1], &[0.25])), ..Attribute::default() };
    assert_eq!(constant(filled, vec![node("ConstantOfShape s -> c", vec![value])]), [0.25; 3]);
    // The batch is one axis of length 1.
    let size = vec![node("Shape x -> s", vec![]), node("Cast s -> c", vec![int("to", 1)])];
    let joined = [size, vec![node("Concat c c c -> d", vec![int("axis", 0)])]].concat();
    let parts = [joined, vec![node("Slice d b e -> f", vec![]), node("Add x f -> y", vec![])]].concat();
    let bounds = vec![integers("b", &[0]), integers("e", &[3])];
    assert_eq!(answer(&file(&[3], bounds, parts), &[0.0; 3]), [1.0, 3.0, 1.0]);
}

#[test]
fn packed_numbers_are_read_as_raw_ones() {
    let typed = |tensor: Tensor| answer(&file(&[2], vec![tensor], vec![node("Mul x c -> y", vec![])]), &[1.0, 1.0]);
    let c = |data_type| Tensor { name: "c".into(), dims: vec![2], data_type, ..Tensor::default() };
    let float_data = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(typed(Tensor { float_data, ..c(1) }), [1.5, -2.0]);
    let double_data = [1.5f64, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(typed(Tensor { double_data, ..c(11) }), [1.5, -2.0]);
    // 1.5 and -2 as halves: 0x3e00 and 0xc000; as varints of 14 and 16 bits.
    assert_eq!(typed(Tensor { int32_data: vec![0x80, 0x7c, 0x80, 0x80, 0x03], ..c(10) }), [1.5, -2.0]);
    assert_eq!(typed(Tensor { raw_data: vec![0x00, 0x3e, 0x00, 0xc0], ..c(10) }), [1.5, -2.0]);
    // 0x3fc0 and 0xc000 in the other format.
    assert_eq!(typed(Tensor { int32_data: vec![0xc0, 0x7f, 0x80, 0x80, 0x03], ..c(16) }), [1.5, -2.0]);
    assert_eq!(typed(Tensor { raw_data: vec![0xc0, 0x3f, 0x00, 0xc0], ..c(16) }), [1.5, -2.0]);
    assert_eq!(typed(Tensor { int64_data: [vec![3], vec![0xff; 9], vec![1]].concat(), ..c(7) }), [3.0, -1.0]);
    assert_eq!(typed(Tensor { int32_data: [vec![3], vec![0xff; 9], vec![1]].concat(), ..c(6) }), [3.0, -1.0]);
}

#[test]
fn windows_at_the_border_follow_the_attributes() {
    let x = [1.0, 2.0, 3.0, 4.0];
    let conv = |attributes| {
        answer(
            &file(&[1, 1, 4], vec![floats("w", &[1, 1, 1, 2], &[1.0, 10.0])], vec![node("Conv x w -> y", attributes)]),
            &x,
        )
    };
    assert_eq!(conv(vec![]), [21.0, 32.0, 43.0]);
    assert_eq!(conv(vec![text("auto_pad", "VALID")]), [21.0, 32.0, 43.0]);
    assert_eq!(conv(vec![text("auto_pad", "SAME_UPPER")]), [21.0, 32.0, 43.0, 4.0]);
    assert_eq!(conv(vec![text("auto_pad", "SAME_LOWER")]), [10.0, 21.0, 32.0, 43.0]);
    assert_eq!(conv(vec![ints("pads", &[0, 1, 0, 0])]), [10.0, 21.0, 32.0, 43.0]);
    assert_eq!(conv(vec![text("auto_pad", "SAME_UPPER"), ints("strides", &[1, 3])]), [21.0, 4.0]);
    let pool = |mut attributes: Vec<Attribute>| {
        attributes.push(ints("kernel_shape", &[1, 2]));
        file(&[1, 1, 4], vec![], vec![node("AveragePool x -> y", attributes)])
    };
    assert_eq!(answer(&pool(vec![]), &x), [1.5, 2.5, 3.5]);
    let padded = || ints("pads", &[0, 1, 0, 0]);
    assert_eq!(answer(&pool(vec![padded()]), &x), [1.0, 1.5, 2.5, 3.5]);
    assert_eq!(answer(&pool(vec![padded(), int("count_include_pad", 1)]), &x), [0.5, 1.5, 2.5, 3.5]);
    let ceil = |stride| pool(vec![int("ceil_mode", 1), ints("strides", &[1, stride])]);
    assert_eq!(answer(&ceil(2), &x), [1.5, 3.5]);
    assert!(refused(&ceil(3)).1.contains("ceil_mode"));
    assert!(refused(&ceil(0)).1.contains("ceil_mode"));
    assert!(refused(&pool(vec![ints("dilations", &[2, 2])])).1.contains("dilations"));
}

#[test]
fn products_and_sums_of_one_value_become_polynomials() {
    let c = || vec![floats("c", &[], &[3.0]), floats("d", &[2], &[1.0, 2.0]), floats("two", &[], &[2.0])];
    let layers = |nodes: &[&str]| {
        let file = file(&[2], c(), nodes.iter().map(|text| node(text, vec![])).collect());
        let model = Model::from_onnx(&file.encode_to_vec()).unwrap();
        let names = model.nodes().iter().map(|node| node.layer.name()).collect::<Vec<_>>().join(" ");
        (names, model.predict_clear(&[vec![2.0, -1.0]]).unwrap().remove(0))
    };
    assert_eq!(layers(&["Mul x x -> y"]), ("square".into(), vec![4.0, 1.0]));
    assert_eq!(layers(&["Pow x two -> y"]), ("square".into(), vec![4.0, 1.0]));
    assert_eq!(layers(&["Mul x x -> s", "Mul s x -> t", "Sub t x -> y"]), ("polynomial".into(), vec![6.0, 0.0]));
    assert_eq!(layers(&["Add x x -> s", "Add s c -> t", "Neg t -> y"]), ("affine".into(), vec![-7.0, -1.0]));
    assert_eq!(layers(&["Mul c x -> s", "Div s c -> t", "Relu t -> y"]), ("relu".into(), vec![2.0, 0.0]));
    assert_eq!(layers(&["Sum x c x -> t", "Mul t x -> y"]), ("polynomial".into(), vec![14.0, -1.0]));
    // Factors that differ from entry to entry are no polynomial of one value.
    assert_eq!(layers(&["Mul x d -> s", "Mul s x -> y"]), ("affine mul".into(), vec![4.0, 2.0]));
    let root =
        vec![floats("r", &[], &[std::f32::consts::SQRT_2]), floats("one", &[], &[1.0]), floats("half", &[], &[0.5])];
    for nodes in [
        ["Div x r -> a", "Erf a -> e", "Add e one -> f", "Mul x f -> g", "Mul g half -> y"],
        ["Div x r -> a", "Erf a -> e", "Add one e -> f", "Mul f half -> g", "Mul g x -> y"],
        ["Mul x half -> h", "Div x r -> a", "Erf a -> e", "Add e one -> f", "Mul h f -> y"],
    ] {
        let file = file(&[1], root.clone(), nodes.iter().map(|text| node(text, vec![])).collect());
        let model = Model::from_onnx(&file.encode_to_vec()).unwrap();
        assert!(matches!(model.nodes(), [only] if only.layer.name() == "gelu"), "{model:?}");
    }
    let tanh = file(&[1], vec![], vec![node("Gelu x -> y", vec![text("approximate", "tanh")])]);
    let x: f64 = 0.7;
    let want = 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
    assert!((answer(&tanh, &[x])[0] - want).abs() < 1e-12);
    let silu = file(&[2], vec![], vec![node("Sigmoid x -> s", vec![]), node("Mul s x -> y", vec![])]);
    assert_eq!(Model::from_onnx(&silu.encode_to_vec()).unwrap().nodes()[0].layer.name(), "silu");
}

#[test]
fn probabilities_that_sum_to_one_are_normal() {
    let scores = |transform: &str, coefficients: &[f32]| {
        let classifier = vec![
            numbers("coefficients", coefficients),
            numbers("intercepts", &[0.5, -0.5]),
            text("post_transform", transform),
        ];
        file(
            &[2],
            vec![],
            vec![
                node("ml.LinearClassifier x -> label p", classifier),
                node("ml.Normalizer p -> q", vec![text("norm", "L1")]),
                node("ml.ZipMap q -> y", vec![]),
                node("Cast label -> z", vec![int("to", 7)]),
            ],
        )
    };
    for (transform, coefficients) in [("SOFTMAX", [1.0, 2.0, 1.0, 2.0]), ("LOGISTIC", [1.0, 2.0, -1.0, -2.0])] {
        let sum: f64 = answer(&scores(transform, &coefficients), &[0.3, -0.2]).iter().sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
    assert!(refused(&scores("LOGISTIC", &[1.0, 2.0, 1.0, -2.0])).1.contains("sum is 1"));
    assert!(refused(&scores("NONE", &[1.0, 2.0, -1.0, -2.0])).1.contains("sum is 1"));
    assert!(refused(&scores("PROBIT", &[1.0; 4])).1.contains("PROBIT"));
    let file = file(&[3], vec![integers("i", &[2, 0])], vec![node("ml.ArrayFeatureExtractor x i -> y", vec![])]);
    assert_eq!(answer(&file, &[5.0, 6.0, 7.0]), [7.0, 5.0]);
    let model = Model::from_onnx(&file.encode_to_vec()).unwrap();
    assert!(matches!(model.nodes()[0].layer, Layer::Dense { .. }));
}
