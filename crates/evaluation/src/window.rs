use std::collections::{BTreeMap, BTreeSet};

use domain::{Hour, ModelName};
use jiff::Timestamp;

use crate::{
    EvaluationError, HourEvaluation,
    bounded::Dimension,
    hour::{merge_dimensions, merge_segments, merge_shadows},
    maturity::{MaturityCounts, MaturityPoint, maturity_curve},
    segment::{Segment, SegmentStatistics, Summary},
    shadow::{ShadowSegment, ShadowStatistics},
};

/// Any number of hours of one model, merged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    model: Option<ModelName>,
    hours: BTreeSet<Hour>,
    unmatched_outcomes: u64,
    segments: BTreeMap<Segment, SegmentStatistics>,
    dimensions: BTreeMap<String, Dimension>,
    shadows: BTreeMap<ShadowSegment, ShadowStatistics>,
    maturity: BTreeMap<Hour, MaturityCounts>,
}

impl Window {
    /// Merges evaluations of one model. Several of the same hour are taken as parts of it (see
    /// [`HourEvaluation::merge`]), so give only the latest of each.
    pub fn of<'a>(evaluations: impl IntoIterator<Item = &'a HourEvaluation>) -> Result<Self, EvaluationError> {
        let mut window = Self::default();
        for evaluation in evaluations {
            let model = window.model.get_or_insert_with(|| evaluation.model.clone());
            if *model != evaluation.model {
                let (expected, found) = (model.clone(), evaluation.model.clone());
                return Err(EvaluationError::DifferentModel { expected, found });
            }
            window.hours.insert(evaluation.hour);
            window.unmatched_outcomes = window.unmatched_outcomes.saturating_add(evaluation.unmatched_outcomes);
            merge_segments(&mut window.segments, evaluation.segments());
            merge_dimensions(&mut window.dimensions, evaluation.dimensions());
            merge_shadows(&mut window.shadows, evaluation.shadows());
            window.maturity.entry(evaluation.hour).or_default().merge(evaluation.maturity());
        }
        Ok(window)
    }

    /// The hours that were evaluated.
    pub fn hours(&self) -> &BTreeSet<Hour> {
        &self.hours
    }

    /// Outcomes that met no prediction.
    pub fn unmatched_outcomes(&self) -> u64 {
        self.unmatched_outcomes
    }

    /// The segments that have predictions, in order.
    pub fn segments(&self) -> &BTreeMap<Segment, SegmentStatistics> {
        &self.segments
    }

    /// The predictions by the values of each dimension.
    pub fn dimensions(&self) -> &BTreeMap<String, Dimension> {
        &self.dimensions
    }

    /// What shadow arms would have answered.
    pub fn shadows(&self) -> &BTreeMap<ShadowSegment, ShadowStatistics> {
        &self.shadows
    }

    /// A shadow arm's statistics over all arms and tiers that answered beside it, by its name.
    pub fn by_shadow(&self) -> BTreeMap<&str, ShadowStatistics> {
        let mut groups: BTreeMap<&str, ShadowStatistics> = BTreeMap::new();
        for (segment, statistics) in &self.shadows {
            groups.entry(&segment.arm).or_default().merge(statistics);
        }
        groups
    }

    /// How fast labels land, as of an instant: see [`maturity_curve`].
    pub fn maturity_curve(&self, as_of: Timestamp) -> Vec<MaturityPoint> {
        maturity_curve(&self.maturity, as_of)
    }

    /// Everything together.
    pub fn all(&self) -> SegmentStatistics {
        SegmentStatistics::sum(self.segments.values())
    }

    /// The figures of everything together.
    pub fn figures(&self) -> Summary {
        self.all().summary()
    }

    /// The segments merged by what `name` makes of them: by arm, by tier, by model version.
    pub fn by<'a>(&'a self, name: impl Fn(&'a Segment) -> &'a str) -> BTreeMap<&'a str, SegmentStatistics> {
        let mut groups: BTreeMap<&str, SegmentStatistics> = BTreeMap::new();
        for (segment, statistics) in &self.segments {
            groups.entry(name(segment)).or_default().merge(statistics);
        }
        groups
    }
}
