//! The one sentence that matters, also where there are no figures.

use super::{
    data::NoFigures,
    words::{counted, percent, percent_landed, seconds},
};
use crate::Summary;

/// Why there are no figures; `None` where there are.
pub(super) fn no_figures(all: &Summary, unmatched_outcomes: u64) -> Option<NoFigures> {
    let counts = &all.counts;
    Some(match counts {
        counts if counts.joined > 0 => return None,
        counts if counts.predictions == 0 => NoFigures::NoPredictions,
        counts if counts.outcomes == 0 && unmatched_outcomes > 0 => NoFigures::NotJoined,
        counts if counts.outcomes == 0 => NoFigures::NoOutcomesYet,
        counts if counts.unknown_candidate > 0 => NoFigures::UnknownCandidates,
        counts if counts.unusable > 0 => NoFigures::Unusable,
        counts if counts.pending > 0 => NoFigures::NoArrivalsYet,
        _ => NoFigures::AllCancelled,
    })
}

pub(super) fn headline(all: &Summary, unmatched_outcomes: u64) -> String {
    match no_figures(all, unmatched_outcomes) {
        None => figures(all),
        Some(reason) => nothing(reason, all, unmatched_outcomes),
    }
}

fn figures(all: &Summary) -> String {
    let (Some(answer), Some(fallback)) = (&all.answer, &all.fallback) else { return String::new() };
    let comparison = match &all.improvement {
        None => String::new(),
        Some(improvement) => {
            let doubt = if improvement.interval.is_some() && !improvement.is_clear() {
                " (which chance alone could explain)"
            } else {
                ""
            };
            match percent(improvement.share.abs()).as_str() {
                "0 %" => ": no difference".to_owned(),
                share if improvement.share > 0.0 => format!(": {share} better{doubt}"),
                share => format!(": {share} worse{doubt}"),
            }
        }
    };
    format!(
        "The model’s mean absolute error is {} against {} for the naive estimate{comparison}, on {}; {} of labels have landed.",
        seconds(answer.mae_s),
        seconds(fallback.mae_s),
        counted(answer.n, "ride", "rides"),
        percent_landed(all.label_maturity.unwrap_or(0.0)),
    )
}

fn nothing(reason: NoFigures, all: &Summary, unmatched_outcomes: u64) -> String {
    let counts = &all.counts;
    let predictions = counted(counts.predictions, "prediction", "predictions");
    let unmatched = counted(unmatched_outcomes, "outcome", "outcomes");
    match reason {
        NoFigures::NoPredictions if unmatched_outcomes > 0 => format!(
            "No figures: there are no predictions in this window. {unmatched} came in, so look for prediction records that were not archived."
        ),
        NoFigures::NoPredictions => "No figures: there are no predictions in this window.".to_owned(),
        NoFigures::NoOutcomesYet => {
            format!("No figures yet: {predictions} and no outcome so far. Outcomes come by POST /v1/outcomes.")
        }
        NoFigures::NotJoined => format!(
            "No figures: {predictions} and {unmatched}, but none joined. Outcomes must name the prediction_id of the answer."
        ),
        NoFigures::UnknownCandidates => format!(
            "No figures: {} of {predictions} met an arrival, but of a candidate that was not asked about. Outcomes must name a candidate_id of the request.",
            counts.unknown_candidate
        ),
        NoFigures::Unusable => format!(
            "No figures: {} of {predictions} met an arrival, but the answer is not a number of seconds or the car came before it was asked for.",
            counts.unusable
        ),
        NoFigures::NoArrivalsYet => format!(
            "No figures yet: of {predictions}, {} outcomes so far, but no car has arrived; {} of labels have landed.",
            counts.outcomes,
            percent_landed(all.label_maturity.unwrap_or(0.0)),
        ),
        NoFigures::AllCancelled => {
            format!("No figures: {predictions}, and every ride was cancelled before the car came.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Counts, ErrorStatistics, SegmentStatistics};

    fn rides(predicted_s: i64, fallback_s: i64, n: u64, pending: u64) -> Summary {
        let of = |predicted_s: i64| {
            ErrorStatistics::from_durations_us((0..n).map(|_| (predicted_s * 1_000_000, 300_000_000)))
        };
        let (answer, fallback) = (of(predicted_s), of(fallback_s));
        let product = i128::from((predicted_s - 300) * (fallback_s - 300)).abs() * i128::from(n) * 1_000_000_000_000;
        let counts = Counts { predictions: n + pending, outcomes: n, joined: n, pending, ..Counts::default() };
        SegmentStatistics { counts, answer, fallback, sum_abs_product_us2: product, ..Default::default() }.summary()
    }

    #[test]
    fn says_what_the_model_is_worth() {
        assert_eq!(
            headline(&rides(392, 441, 1912, 60), 0),
            "The model’s mean absolute error is 92 s against 141 s for the naive estimate: 35 % better, on 1,912 rides; 96 % of labels have landed."
        );
        assert!(headline(&rides(441, 392, 10, 0), 0).contains(": 53 % worse, on 10 rides; 100 % of labels"));
        assert!(headline(&rides(400, 400, 10, 0), 0).contains("naive estimate: no difference, on"));
        assert!(headline(&rides(400, 300, 1, 0), 0).contains("0.0 s for the naive estimate, on 1 ride;"));
    }

    #[test]
    fn says_why_there_is_nothing() {
        let of = |counts: Counts| Summary {
            counts,
            label_maturity: counts.label_maturity(),
            answer: None,
            fallback: None,
            improvement: None,
            weighted: None,
            not_weighted: None,
            interval: None,
        };
        let some = Counts { predictions: 5, ..Counts::default() };
        for (counts, unmatched, reason, words) in [
            (Counts::default(), 0, NoFigures::NoPredictions, "no predictions in this window."),
            (Counts::default(), 3, NoFigures::NoPredictions, "3 outcomes came in"),
            (Counts { pending: 5, ..some }, 0, NoFigures::NoOutcomesYet, "5 predictions and no outcome so far"),
            (Counts { pending: 5, ..some }, 7, NoFigures::NotJoined, "7 outcomes, but none joined"),
            (
                Counts { outcomes: 5, unknown_candidate: 5, ..some },
                0,
                NoFigures::UnknownCandidates,
                "5 of 5 predictions",
            ),
            (Counts { outcomes: 5, unusable: 5, ..some }, 0, NoFigures::Unusable, "not a number of seconds"),
            (Counts { outcomes: 2, pending: 3, cancelled: 2, ..some }, 0, NoFigures::NoArrivalsYet, "40 % of labels"),
            (Counts { outcomes: 5, cancelled: 5, ..some }, 0, NoFigures::AllCancelled, "every ride was cancelled"),
        ] {
            assert_eq!(no_figures(&of(counts), unmatched), Some(reason));
            assert!(headline(&of(counts), unmatched).contains(words), "{}", headline(&of(counts), unmatched));
        }
    }
}
