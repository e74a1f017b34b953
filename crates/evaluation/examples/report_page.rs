//! Writes the report of a synthetic city: `cargo run -p evaluation --example report_page -- report.html [hours] [requests per hour]`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use evaluation::report::{render_html, render_text};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "report.html".to_owned());
    let hours = arguments.next().map_or(96, |hours| hours.parse().expect("a number of hours"));
    let busy = arguments.next().map_or(60.0, |busy| busy.parse().expect("a number of requests per hour"));
    let data = support::city(hours, busy);
    std::fs::write(&path, render_html(&data))?;
    print!("{}\nWritten to {path}.\n", render_text(&data));
    Ok(())
}
