//! Line charts as SVG text: a logarithmic vertical axis, labelled steps along the horizontal one.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// Left, right, top and bottom of the plotted area.
const AREA: (f64, f64, f64, f64) = (70.0, 500.0, 44.0, 366.0);
const COLOURS: [&str; 8] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"];

/// A line with a mark at every point: (step along the horizontal axis, value above zero).
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(usize, f64)>,
    /// Which colour; lines that belong together share one.
    pub(crate) colour: usize,
    pub(crate) dashed: bool,
}

pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) across: &'a str,
    pub(crate) up: &'a str,
    pub(crate) steps: &'a [String],
    pub(crate) lines: &'a [Line],
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn power(exponent: f64) -> String {
    let value = 10f64.powf(exponent);
    if (-3.0..=4.0).contains(&exponent) { format!("{value}") } else { format!("1e{exponent}") }
}

impl Chart<'_> {
    /// The chart; `None` where no line has a point.
    pub(crate) fn svg(&self) -> Option<String> {
        let values = || self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.1.log10()));
        let low = values().reduce(f64::min)?.floor();
        let high = values().reduce(f64::max)?.ceil().max(low + 1.0);
        let (left, right, top, bottom) = AREA;
        let last = (self.steps.len().max(2) - 1) as f64;
        let x = |step: usize| left + 20.0 + (right - left - 40.0) * step as f64 / last;
        let y = |log: f64| bottom - (bottom - top) * (log - low) / (high - low);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{left}\" y=\"24\" font-size=\"15\">{}</text>\n",
            escape(self.title)
        );
        let mut put = |text: String| out.push_str(&(text + "\n"));
        let mut exponent = low;
        while exponent <= high {
            let at = y(exponent);
            put(format!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ccc\"/>"));
            put(format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                at + 4.0,
                power(exponent)
            ));
            exponent += 1.0;
        }
        for (step, name) in self.steps.iter().enumerate() {
            let at = x(step);
            put(format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", bottom + 18.0, escape(name)));
        }
        put(format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(left, right),
            bottom + 40.0,
            escape(self.across)
        ));
        let middle = f64::midpoint(top, bottom);
        put(format!(
            "<text transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(self.up)
        ));
        for (index, line) in self.lines.iter().filter(|line| !line.points.is_empty()).enumerate() {
            let colour = COLOURS[line.colour % COLOURS.len()];
            let dash = if line.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
            let mut path = String::new();
            for (index, &(step, value)) in line.points.iter().enumerate() {
                let (x, y) = (x(step), y(value.log10()));
                let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
                put(format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
            }
            let key = top + 8.0 + 20.0 * index as f64;
            path += &format!("M{} {key:.1}H{}", right + 12.0, right + 36.0);
            put(format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>"));
            put(format!("<text x=\"{}\" y=\"{:.1}\">{}</text>", right + 42.0, key + 4.0, escape(&line.name)));
        }
        out.push_str("</svg>\n");
        Some(out)
    }
}
