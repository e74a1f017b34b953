//! Writes the report of a synthetic city: `cargo run -p evaluation --example report_page -- DIR [hours] [requests per hour]`.
//! `DIR/index.html`, `DIR/index.ja.html`, `DIR/report.json`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use evaluation::report::{Language, PageOptions, render_html, render_text};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "report".to_owned());
    let hours = arguments.next().map_or(96, |hours| hours.parse().expect("a number of hours"));
    let busy = arguments.next().map_or(60.0, |busy| busy.parse().expect("a number of requests per hour"));
    let data = support::city(hours, busy);
    std::fs::create_dir_all(&folder)?;
    let page = |language, others| render_html(&data, &PageOptions { language, others, lake_root: None });
    std::fs::write(format!("{folder}/index.html"), page(Language::English, &[(Language::Japanese, "index.ja.html")]))?;
    std::fs::write(format!("{folder}/index.ja.html"), page(Language::Japanese, &[(Language::English, "index.html")]))?;
    std::fs::write(format!("{folder}/report.json"), data.to_json())?;
    for language in Language::ALL {
        println!("{}", render_text(&data, language));
    }
    println!("Written to {folder}.");
    Ok(())
}
