//! The report: figures for a program ([`ReportData`], `report.json`), a page for people ([`render_html`]) and a summary
//! for a terminal ([`render_text`]). All three say the same, and where there is nothing to say they say why.

mod charts;
mod data;
mod drift;
mod experiments;
mod headline;
mod html;
mod markdown;
mod svg;
mod text;
pub(crate) mod words;

pub use data::{
    ArmFacts, ErrorBin, ErrorBins, Group, NoFigures, ReleaseFacts, ReportData, ReportFacts, RetrainingReason, TimePoint,
};
pub use html::render_html;
pub use markdown::render_markdown;
pub use text::render_text;
