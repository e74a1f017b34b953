use std::collections::{BTreeMap, BTreeSet};

use domain::{Hour, ModelName};

use crate::{
    EvaluationError, HourEvaluation,
    hour::merge_segments,
    segment::{Segment, SegmentStatistics, Summary},
};

/// Any number of hours of one model, merged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    model: Option<ModelName>,
    hours: BTreeSet<Hour>,
    unmatched_outcomes: u64,
    segments: BTreeMap<Segment, SegmentStatistics>,
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
