//! Charts of lines as SVG, one below the other: numbers of Ps to the right, on a scale of powers of two; upwards
//! whatever is compared, on a scale of powers of ten.

use core::fmt::Write;

/// A line: its name, and its points.
pub type Line = (String, Vec<(f64, f64)>);

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Told apart by most people who see few colours: Okabe and Ito, 2008.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// A chart: what it shows upwards, and its lines.
pub type Chart = (&'static str, Vec<Line>);

/// Draws the charts. Points that are not positive are left out, as the scales are logarithmic.
///
/// ```
/// let line = ("Gmp".to_owned(), vec![(1.0, 1.2), (64.0, 3.0)]);
/// let drawing = sched_core::sim::svg::page("fork-join", &[("makespan / ideal", vec![line])]);
/// assert!(drawing.starts_with("<svg") && drawing.contains("Gmp"));
/// ```
pub fn page(title: &str, charts: &[Chart]) -> String {
    let height = HEIGHT * charts.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
    );
    for (index, (upwards, lines)) in charts.iter().enumerate() {
        let below = HEIGHT * index as f64;
        let drawing = chart(title, upwards, lines);
        let _ = write!(out, "<g transform=\"translate(0 {below})\">\n{drawing}</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn chart(title: &str, upwards: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points).filter(|p| p.0 > 0.0 && p.1 > 0.0);
    let least = |at: fn(&(f64, f64)) -> f64| points().map(at).fold(f64::INFINITY, f64::min);
    let most = |at: fn(&(f64, f64)) -> f64| points().map(at).fold(0.0, f64::max);
    let x_range = (least(|p| p.0).log2(), most(|p| p.0).log2());
    let y_range = (least(|p| p.1).log10().floor(), most(|p| p.1).log10().ceil());
    let scale =
        |at: f64, (from, to): (f64, f64)| if to > from { (at - from) / (to - from) } else { 0.5 };
    let x = |at: f64| LEFT + scale(at.log2(), x_range) * (WIDTH - LEFT - RIGHT);
    let y = |at: f64| HEIGHT - BOTTOM - scale(at.log10(), y_range) * (HEIGHT - TOP - BOTTOM);

    let mut out = format!(
        "<text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}: {}</text>\n",
        escape(title),
        escape(upwards),
    );
    let mut put = |text: String| out.push_str(&text);
    for power in y_range.0 as i32..=y_range.1 as i32 {
        let (value, at) = (10f64.powi(power), y(10f64.powi(power)));
        put(format!(
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
        ));
    }
    let mut power = x_range.0;
    while power <= x_range.1 {
        let value = power.exp2();
        put(format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>\n",
            x(value),
            HEIGHT - BOTTOM + 18.0,
        ));
        power += 1.0;
    }
    put(format!(
        "<text x=\"{}\" y=\"{}\">Ps</text>\n",
        WIDTH - RIGHT + 10.0,
        HEIGHT - BOTTOM + 18.0
    ));
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut path = String::new();
        for &(right, up) in points.iter().filter(|p| p.0 > 0.0 && p.1 > 0.0) {
            let _ = write!(path, "{:.1},{:.1} ", x(right), y(up));
        }
        put(format!(
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{}</text>\n",
            WIDTH - RIGHT + 10.0,
            TOP + 18.0 * (index as f64 + 1.0),
            escape(name),
        ));
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
