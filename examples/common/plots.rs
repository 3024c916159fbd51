//! Plots of a training, as SVG.

use crate::training::Record;
use plotters::prelude::*;
use std::path::Path;

/// A line's name and its points.
type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// `TASK-loss.svg`, `TASK-accuracy.svg` and `TASK-time.svg` in the folder.
pub(crate) fn draw(folder: &Path, task: &str, encrypted: &Record, clear: &Record) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let numbered = |values: &[f64]| values.iter().enumerate().map(|(i, &y)| ((i + 1) as f64, y)).collect();
    let file = |what: &str| folder.join(format!("{task}-{what}.svg"));
    let (title, epoch) = (|what: &str| format!("{task}: {what}"), "epoch");
    let loss = [("encrypted", numbered(&encrypted.losses)), ("clear", numbered(&clear.losses))];
    chart(&file("loss"), &title("mean squared error of training"), epoch, &loss)?;
    let accuracy = [("encrypted", numbered(&encrypted.accuracies)), ("clear", numbered(&clear.accuracies))];
    chart(&file("accuracy"), &title("accuracy on held-out samples"), epoch, &accuracy)?;
    let time = [("encrypted", numbered(&encrypted.seconds)), ("clear", numbered(&clear.seconds))];
    chart(&file("time"), &title("seconds a mini-batch"), "mini-batch", &time)
}

fn chart(file: &Path, title: &str, x_axis: &str, lines: &[Line<'_>]) -> Result<(), String> {
    let points = || lines.iter().flat_map(|(_, points)| points);
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
        let series = LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3);
        chart
            .draw_series(series)
            .map_err(|e| failed(&e))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw().map_err(|e| failed(&e))?;
    root.present().map_err(|e| failed(&e))
}
