//! Plots of a training, as SVG.

use crate::training::{Outcome, Record};
use plotters::prelude::*;
use std::path::Path;

/// A line's name and its points.
type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// `TASK-MODEL-loss.svg`, `-accuracy.svg` and `-time.svg` in the folder, which there must be.
pub(crate) fn draw(folder: &Path, task: &str, outcome: &Outcome) -> Result<(), String> {
    let Outcome { model, encrypted, clear, .. } = outcome;
    let numbered = |values: &[f64]| values.iter().enumerate().map(|(i, &y)| ((i + 1) as f64, y)).collect();
    let file = |what: &str| folder.join(format!("{task}-{}-{what}.svg", model.replace(':', "-")));
    let (title, epoch) = (|what: &str| format!("{task}, {model}: {what}"), "epoch");
    let loss = [("encrypted", numbered(&encrypted.losses)), ("clear", numbered(&clear.losses))];
    chart(&file("loss"), &title("mean squared error of training"), epoch, &loss)?;
    let accuracy = [("encrypted", numbered(&encrypted.accuracies)), ("clear", numbered(&clear.accuracies))];
    chart(&file("accuracy"), &title("accuracy on held-out samples"), epoch, &accuracy)?;
    let time = [("encrypted", numbered(&encrypted.seconds)), ("clear", numbered(&clear.seconds))];
    chart(&file("time"), &title("seconds a mini-batch"), "mini-batch", &time)
}

/// `TASK-complexity.svg`: accuracy against the number of weights.
pub(crate) fn complexity(folder: &Path, task: &str, outcomes: &[Outcome]) -> Result<(), String> {
    let mut sorted: Vec<&Outcome> = outcomes.iter().collect();
    sorted.sort_by_key(|outcome| outcome.weights);
    let line = |of: fn(&Outcome) -> &Record| {
        sorted.iter().map(|outcome| (outcome.weights as f64, Outcome::accuracy(of(outcome)))).collect()
    };
    let lines = [("encrypted", line(|outcome| &outcome.encrypted)), ("clear", line(|outcome| &outcome.clear))];
    let title = format!("{task}: accuracy on held-out samples");
    chart(&folder.join(format!("{task}-complexity.svg")), &title, "weights of the model", &lines)
}

fn chart(file: &Path, title: &str, x_axis: &str, lines: &[Line<'_>]) -> Result<(), String> {
    let finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
    let points = || lines.iter().flat_map(|(_, points)| points).filter(|p| finite(p));
    let last = points().map(|p| p.0).fold(1.0, f64::max);
    let highest = points().map(|p| p.1).fold(f64::MIN_POSITIVE, f64::max);
    let root = SVGBackend::new(file, (720, 440)).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    root.fill(&WHITE).map_err(|e| failed(&e))?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..last * 1.02, 0.0..highest * 1.1)
        .map_err(|e| failed(&e))?;
    chart.configure_mesh().x_desc(x_axis).light_line_style(WHITE).draw().map_err(|e| failed(&e))?;
    for ((name, points), color) in lines.iter().zip([RED, BLUE]) {
        let series = LineSeries::new(points.iter().copied().filter(finite), color.stroke_width(2)).point_size(3);
        chart
            .draw_series(series)
            .map_err(|e| failed(&e))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw().map_err(|e| failed(&e))?;
    root.present().map_err(|e| failed(&e))
}
