//! What a deployment does, as text and as a picture.

use super::cost::{UnitCosts, parts, since};
use super::deploy::Deployment;
use super::predict::predicted;
use super::{ModelCircuit, Packing};
use crate::circuit::{Evaluator as _, Plan, PlanReport};
use crate::ckks::{Magnitude, Parameters};
use crate::error::Result;
use crate::rlwe::KeyId;
use crate::units::{Level, LimbCount};
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::ops::ControlFlow;

/// A deployment, step by step. [`fmt::Display`] prints it, [`Self::svg`] draws it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// How samples lie in the slots.
    pub packing: Packing,
    /// The parameters in words.
    pub parameters: String,
    /// Shape of a sample.
    pub input_shape: Vec<usize>,
    /// Bytes of an encrypted input on the device.
    pub input_bytes: u64,
    /// The steps, in the order in which they run.
    pub steps: Vec<StepExplanation>,
    /// Keys for rotations, relinearization and conjugation, those of refreshes among them.
    pub keys: usize,
    /// Bytes of these keys on the device.
    pub key_bytes: u64,
    /// Vectors that a run refreshes for one input.
    pub bootstraps: usize,
    /// What a refresh does, in words, where there are any.
    pub refresh: Option<String>,
    /// What is left to the client, by name.
    pub end: Option<&'static str>,
}

/// One step of a run.
#[derive(Clone, Debug)]
pub struct StepExplanation {
    /// The nodes of the model that it stands for.
    pub name: String,
    /// What it computes.
    pub operation: String,
    /// The values that it takes: 0 is the input, `i` what step `i - 1` makes.
    pub operands: Vec<usize>,
    /// Shape of its value.
    pub shape: Vec<usize>,
    /// Where the value's entries lie.
    pub layout: String,
    /// Level of the value.
    pub level: Level,
    /// Bits of its scale.
    pub scale_bits: f64,
    /// Products with a key: rotations and relinearizations.
    pub key_switches: usize,
    /// Products with weights: diagonals, or entries of a sparse matrix.
    pub weights: usize,
    /// Products of two values.
    pub products: usize,
    /// Predicted standard deviation of the error of an entry.
    pub deviation: f64,
    /// Bytes of the value on the device.
    pub bytes: u64,
    /// Predicted seconds, for one input, where unit costs were given.
    pub seconds: Option<f64>,
}

/// What the circuit needed up to and with each step, and the vectors of its value.
fn planned(circuit: &ModelCircuit) -> Result<Vec<(PlanReport, usize)>> {
    let plan = Plan::new(circuit.slots());
    let x: Vec<_> = circuit.input_batches().into_iter().map(|vectors| plan.input(vectors)).collect();
    let prepared = circuit.planned(&plan)?;
    let mut steps = Vec::with_capacity(circuit.steps());
    prepared.run_observed(&plan, &x, &mut |_| ControlFlow::Continue(()), &mut |_, value| {
        steps.push((plan.report(), value.iter().map(|part| plan.batch(part)).sum()));
        Ok(())
    })?;
    Ok(steps)
}

/// Bytes of pairs of polynomials at a level.
fn bytes_at(parameters: &Parameters, level: Level, vectors: usize) -> Result<u64> {
    let limbs = u64::from(parameters.limbs_at(level)?.0);
    Ok((8 * vectors as u64 * limbs) << parameters.log_n().get())
}

/// Bytes of a key that serves so many limbs, its uniform halves expanded.
fn key_bytes(parameters: &Parameters, limbs: LimbCount) -> u64 {
    let rlwe = parameters.rlwe();
    let rows = rlwe.digits(limbs).len() as u64 * u64::from(limbs.0 + rlwe.special().0);
    (8 * rows) << parameters.log_n().get()
}

/// Products with a key.
fn switches(report: &PlanReport) -> usize {
    report.single_rotations + report.hoisted_rotations + report.relinearizations + report.conjugations
}

impl Explanation {
    pub(super) fn new(deployment: &Deployment, samples: Magnitude, costs: Option<&UnitCosts>) -> Result<Self> {
        let (circuit, parameters) = (deployment.circuit(), deployment.parameters());
        let (list, top) = (circuit.list(), parameters.max_level());
        let depths = list.depths();
        let mut before = PlanReport::default();
        let mut steps = Vec::with_capacity(circuit.steps());
        let plans = planned(circuit)?.into_iter().zip(predicted(deployment, samples)?);
        for (index, (step, ((after, vectors), deviation))) in list.steps.iter().zip(plans).enumerate() {
            let level = Level(top.0 - depths[index + 1]);
            let counted = since(&before, &after);
            let parts = parts(deployment, index, &counted)?;
            let sum = |count: fn(&PlanReport) -> usize| parts.iter().map(|part| count(&part.report)).sum::<usize>();
            let seconds =
                |costs: &UnitCosts| parts.iter().map(|part| costs.seconds(parameters, part)).sum::<Result<f64>>();
            steps.push(StepExplanation {
                name: step.name.clone(),
                operation: step.operation.to_string(),
                operands: step.operation.operands(),
                shape: step.shape.clone(),
                layout: match circuit.packing() {
                    Packing::Latency => circuit.layout(index + 1).to_string(),
                    Packing::Batch => "an entry a vector".into(),
                },
                level,
                scale_bits: parameters.scale_at(level)?.log2(),
                key_switches: sum(switches),
                weights: match counted.combines {
                    0 => sum(|report| report.plain_multiplications),
                    _ => step.operation.weights(),
                },
                products: sum(|report| report.multiplications),
                deviation,
                bytes: bytes_at(parameters, level, vectors)?,
                seconds: costs.map(seconds).transpose()?,
            });
            before = after;
        }
        // A key that is asked for twice reaches as far as both.
        let mut reaches: HashMap<KeyId, LimbCount> = HashMap::new();
        for (id, limbs) in deployment.key_request().keys(parameters)? {
            reaches.entry(id).and_modify(|reach| *reach = limbs.max(*reach)).or_insert(limbs);
        }
        Ok(Self {
            packing: circuit.packing(),
            parameters: parameters.to_string(),
            input_shape: list.input.clone(),
            input_bytes: bytes_at(parameters, top, circuit.input_batches().iter().sum())?,
            steps,
            keys: reaches.len(),
            key_bytes: reaches.into_values().map(|limbs| key_bytes(parameters, limbs)).sum(),
            bootstraps: circuit.bootstraps(),
            refresh: deployment.bootstrapper().map(ToString::to_string),
            end: list.end.as_ref().map(super::Activation::name),
        })
    }

    /// Predicted seconds of a run of one input, where unit costs were given.
    pub fn seconds(&self) -> Option<f64> {
        self.steps.iter().map(|step| step.seconds).sum()
    }

    /// What everybody sees, what the server knows, what nobody but the client sees.
    pub fn visibility(&self) -> [(&'static str, &'static str); 3] {
        [
            ("public", "shapes, packing, parameters, how many samples there are, when they come"),
            ("server's alone", "weights; answers tell something of them"),
            ("client's alone", "samples, every value between, answers, the secret key"),
        ]
    }

    /// What belongs to no step: parameters, refreshes, what is left to the client, who sees what.
    fn notes(&self) -> Vec<String> {
        let refresh = self.refresh.as_ref().map(|refresh| format!("{} bootstraps of {refresh}", self.bootstraps));
        let end = self.end.map(|end| format!("{end} is left to the client"));
        let visibility = self.visibility().map(|(who, what)| format!("{who}: {what}"));
        [self.parameters.clone()].into_iter().chain(refresh).chain(end).chain(visibility).collect()
    }

    /// The steps as boxes from top to bottom, with lines from the values that they take.
    pub fn svg(&self) -> String {
        const WIDTH: usize = 560;
        const HEIGHT: usize = 64;
        const GAP: usize = 28;
        let top = |value: usize| 20 + value * (HEIGHT + GAP);
        let mut out = String::new();
        let notes: Vec<String> = self.notes().iter().flat_map(|note| wrapped(note)).collect();
        let first_note = top(self.steps.len() + 1);
        let height = first_note + 17 * notes.len() + 8;
        let _ = writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{height}" viewBox="0 0 {0} {height}" font-family="sans-serif" font-size="12">"#,
            WIDTH + 160
        );
        let mut draw = |value: usize, title: &str, lines: [&str; 2]| {
            let y = top(value);
            let _ = writeln!(
                out,
                r##"<rect x="20" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#f4f6f8" stroke="#456"/>"##
            );
            let mut put = |text: &str, line: usize, weight: &str| {
                let text = wrapped(text).into_iter().next().unwrap_or_default();
                let _ = writeln!(out, r#"<text x="32" y="{}"{weight}>{}</text>"#, y + line, escape(&text));
            };
            put(title, 18, r#" font-weight="bold""#);
            lines.iter().zip([36, 53]).for_each(|(text, line)| put(text, line, ""));
        };
        let time = self.seconds().map_or_else(String::new, |seconds| format!(", {} in all", duration(seconds)));
        let input =
            format!("{:?}, {} packing, {}{time}", self.input_shape, self.packing.name(), size(self.input_bytes));
        let keys = format!("{} keys of {}", self.keys, size(self.key_bytes));
        draw(0, "input", [&input, &keys]);
        for (index, step) in self.steps.iter().enumerate() {
            let (first, second) = step.lines();
            draw(index + 1, &format!("{}: {}", step.name, step.operation), [&first, &second]);
        }
        for (index, step) in self.steps.iter().enumerate() {
            for &operand in &step.operands {
                let (from, to) = (top(operand) + HEIGHT, top(index + 1));
                // Lines that pass other boxes go around them.
                let path = if operand == index {
                    format!("M 60 {from} V {to}")
                } else {
                    let side = WIDTH + 40 + 12 * (index - operand).min(8);
                    let (start, end) = (from - HEIGHT / 2, to + HEIGHT / 2);
                    format!("M {0} {start} H {side} V {end} H {0}", WIDTH + 20)
                };
                let _ = writeln!(out, r##"<path d="{path}" fill="none" stroke="#456" stroke-width="1.5"/>"##);
            }
        }
        for (line, note) in notes.iter().enumerate() {
            let _ = writeln!(out, r#"<text x="20" y="{}">{}</text>"#, first_note + 17 * (line + 1), escape(note));
        }
        out.push_str("</svg>\n");
        out
    }
}

impl StepExplanation {
    /// Two lines of facts.
    fn lines(&self) -> (String, String) {
        let Self { shape, layout, level, scale_bits, key_switches, weights, products, deviation, bytes, .. } = self;
        let time = self.seconds.map_or_else(String::new, |seconds| format!(", {}", duration(seconds)));
        let first = format!("{shape:?}, {layout}, level {}, scale 2^{scale_bits:.1}, {}", level.0, size(*bytes));
        let second = format!(
            "{key_switches} key switches, {weights} products with weights, {products} of values, noise 2^{:.1}{time}",
            deviation.log2()
        );
        (first, second)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.parameters)?;
        let (packing, bytes) = (self.packing.name(), size(self.input_bytes));
        writeln!(f, "{packing} packing, {} keys of {}", self.keys, size(self.key_bytes))?;
        if let Some(refresh) = &self.refresh {
            writeln!(f, "{} bootstraps of {refresh}", self.bootstraps)?;
        }
        writeln!(f, "  0  input {:?}, {bytes}", self.input_shape)?;
        for (index, step) in self.steps.iter().enumerate() {
            let (first, second) = step.lines();
            writeln!(f, "{:>3}  {}: {} of {:?}", index + 1, step.name, step.operation, step.operands)?;
            writeln!(f, "     {first}")?;
            writeln!(f, "     {second}")?;
        }
        if let Some(seconds) = self.seconds() {
            writeln!(f, "     {} in all", duration(seconds))?;
        }
        if let Some(end) = self.end {
            writeln!(f, "     {end} is left to the client")?;
        }
        for (who, what) in self.visibility() {
            writeln!(f, "{who:<14}  {what}")?;
        }
        Ok(())
    }
}

fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn duration(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", 1e3 * seconds) } else { format!("{seconds:.1} s") }
}

/// Lines that fit the picture, broken between words.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 88;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= WIDTH => line.extend([" ", word]),
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Text for a picture: names come from files.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Matrix;
    use crate::ml::{Activation, Layer, ModelBuilder};

    #[test]
    fn text_and_picture_tell_every_step() {
        let dense = |rows, columns| {
            let weights = Matrix::new(rows, columns, vec![0.25; rows * columns]).unwrap();
            Layer::Dense { weights, bias: vec![0.5; rows] }
        };
        let mut builder = ModelBuilder::new(vec![4]).unwrap();
        let a = builder.add("<a & b>", dense(3, 4), vec![0]).unwrap();
        let b = builder.add("square", Layer::Activation(Activation::Square), vec![a]).unwrap();
        let c = builder.add("residual", Layer::Add, vec![a, b]).unwrap();
        let d = builder.add("end", Layer::Activation(Activation::Sigmoid), vec![c]).unwrap();
        let model = builder.build(d).unwrap();
        for packing in [Packing::Latency, Packing::Batch] {
            let deployment = Deployment::new(&model, packing).unwrap();
            let explanation = deployment.explain(Magnitude::new(0.5, 1.0).unwrap()).unwrap();
            let (text, svg) = (explanation.to_string(), explanation.svg());
            assert_eq!(explanation.steps.len(), 3);
            assert_eq!(explanation.steps[2].operands, [1, 2]);
            assert_eq!(explanation.steps[1].products, 1);
            assert_eq!(explanation.steps[2].level, Level(0));
            assert!(explanation.steps.iter().all(|step| step.deviation > 0.0 && step.deviation < 1e-2), "{text}");
            assert!(text.contains("sigmoid is left to the client") && text.contains("square"), "{text}");
            assert!(svg.contains("&lt;a &amp; b&gt;") && !svg.contains("<a"), "{svg}");
            assert_eq!(svg.matches("<rect").count(), 4);
            assert_eq!(svg.matches("<path").count(), 4);
        }
    }

    #[test]
    fn times_add_up() {
        let weights = Matrix::new(2, 4, vec![0.25; 8]).unwrap();
        let dense = Layer::Dense { weights, bias: vec![0.5; 2] };
        let model = crate::ml::Model::from_layers(vec![4], vec![dense, Layer::Activation(Activation::Square)]).unwrap();
        let deployment = Deployment::new(&model, Packing::Batch).unwrap();
        let level = deployment.parameters().max_level();
        let costs = UnitCosts { level, rotation: 8.0, hoisted: 4.0, product: 10.0, plain: 1.0, weight: 0.5 };
        let magnitude = Magnitude::new(0.5, 1.0).unwrap();
        let explanation = deployment.explain_timed(magnitude, &costs).unwrap();
        // Eight weights at the level of the costs; two squares a level below.
        assert_eq!(explanation.steps[0].seconds, Some(4.0));
        let square = explanation.steps[1].seconds.unwrap();
        assert!((5.0..20.0).contains(&square), "{square}");
        assert_eq!(explanation.seconds(), Some(4.0 + square));
        assert!(explanation.to_string().contains("4.0 s") && explanation.svg().contains("4.0 s"));
        assert_eq!(deployment.explain(magnitude).unwrap().seconds(), None);
        let measured = UnitCosts::measure(deployment.parameters(), &crate::Device::cpu()).unwrap();
        assert!(
            measured.product > 0.0 && deployment.explain_timed(magnitude, &measured).unwrap().seconds() > Some(0.0)
        );
        let high = UnitCosts { level: Level(level.0 + 1), ..costs };
        assert!(deployment.explain_timed(magnitude, &high).is_err());
    }
}
