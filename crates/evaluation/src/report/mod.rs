//! The report: figures for a program ([`ReportData`], `report.json`), a page for people ([`render_html`]), Markdown, and a
//! summary for a terminal ([`render_text`]). All say the same, in each [`Language`], and where there is nothing to say they
//! say why.

mod breakdown;
mod charts;
mod data;
mod dots;
mod drift;
mod error_bins;
mod experiments;
mod headline;
mod html;
pub(crate) mod language;
mod lineage;
mod markdown;
mod segments;
mod svg;
mod text;
mod verdicts;

pub use breakdown::{DimensionFigures, MIN_SEGMENT_RIDES, SegmentToLookAt};
pub use data::{
    ArmFacts, Group, NoFigures, ReleaseFacts, ReportData, ReportFacts, RetrainingReason, ShadowFigures, TimePoint,
    TrainingFacts,
};
pub use error_bins::{ErrorBin, ErrorBins};
pub use html::{PageOptions, render_html};
pub use language::Language;
pub use markdown::render_markdown;
pub use text::render_text;
