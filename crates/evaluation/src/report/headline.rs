//! The one sentence that matters, also where there are no figures.

use super::{
    data::NoFigures,
    language::{Language, count, counted, say},
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

pub(super) fn headline(all: &Summary, unmatched_outcomes: u64, language: Language) -> String {
    match no_figures(all, unmatched_outcomes) {
        None => figures(all, language),
        Some(reason) => nothing(reason, all, unmatched_outcomes, language),
    }
}

fn figures(all: &Summary, language: Language) -> String {
    let (Some(answer), Some(fallback)) = (&all.answer, &all.fallback) else { return String::new() };
    let w = language.words();
    let (mae, naive) = (language.seconds(answer.mae_s), language.seconds(fallback.mae_s));
    let rides = counted(answer.n, w.rides);
    let landed = language.percent_landed(all.label_maturity.unwrap_or(0.0));
    let Some(improvement) = &all.improvement else {
        return say!(w.headline_only, mae = mae, naive = naive, rides = rides, landed = landed);
    };
    let doubt = if improvement.interval.is_some() && !improvement.is_clear() { w.doubt } else { "" };
    let share = language.percent(improvement.share.abs());
    let comparison = if share == language.percent(0.0) {
        w.no_difference.to_owned()
    } else {
        say!(if improvement.share > 0.0 { w.better } else { w.worse }, share = share, doubt = doubt)
    };
    say!(w.headline, mae = mae, naive = naive, comparison = comparison, rides = rides, landed = landed)
}

fn nothing(reason: NoFigures, all: &Summary, unmatched_outcomes: u64, language: Language) -> String {
    let (w, counts) = (language.words(), &all.counts);
    let predictions = counted(counts.predictions, w.predictions);
    let outcomes = counted(unmatched_outcomes, w.outcomes);
    match reason {
        NoFigures::NoPredictions if unmatched_outcomes > 0 => say!(w.no_predictions_but, outcomes = outcomes),
        NoFigures::NoPredictions => w.no_predictions.to_owned(),
        NoFigures::NoOutcomesYet => say!(w.no_outcomes_yet, predictions = predictions),
        NoFigures::NotJoined => say!(w.not_joined, predictions = predictions, outcomes = outcomes),
        NoFigures::UnknownCandidates => {
            say!(w.unknown_candidates, n = count(counts.unknown_candidate), predictions = predictions)
        }
        NoFigures::Unusable => say!(w.unusable, n = count(counts.unusable), predictions = predictions),
        NoFigures::NoArrivalsYet => say!(
            w.no_arrivals_yet,
            predictions = predictions,
            n = count(counts.outcomes),
            landed = language.percent_landed(all.label_maturity.unwrap_or(0.0)),
        ),
        NoFigures::AllCancelled => say!(w.all_cancelled, predictions = predictions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Counts, ErrorStatistics, SegmentStatistics};

    fn headline(all: &Summary, unmatched_outcomes: u64) -> String {
        super::headline(all, unmatched_outcomes, Language::English)
    }

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
