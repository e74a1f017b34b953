//! The names of the words: each language has all of them.

macro_rules! words {
    ($($name:ident)*) => {
        /// All that the report says, with `{names}` where something is filled in. `one|many` where a number decides.
        pub(crate) struct Words {
            $(pub(crate) $name: &'static str,)*
        }

        #[cfg(test)]
        impl Words {
            /// Names and words, in order.
            pub(super) fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

words! {
    code own_name seconds seconds_unit percent points hour_format date_format day_format span span_end range
    and_list list_end clause paren rides predictions outcomes units hour_one stretch of_many title title_no_figures
    no_hours verdicts mark_good mark_bad mark_neutral headline headline_only better worse no_difference doubt
    no_predictions no_predictions_but no_outcomes_yet not_joined unknown_candidates unusable no_arrivals_yet
    all_cancelled aside_interval aside_later aside_earlier aside_as_told aside_cancelled aside_weighted
    verdict_no_drift verdict_no_feature_drift verdict_features verdict_label verdict_concept verdict_concept_other
    verdict_coverage_ok verdict_coverage_low verdict_coverage_high verdict_fallback verdict_labels verdict_segment
    key_mae key_within key_half key_ninety key_late key_landed naive_value of_what model naive interval_95 training
    now over_time over_time_note over_time_chart over_time_text over_time_pale labels_landed same_as_table
    figures_over_time tip_model tip_model_interval tip_naive tip_no_arrivals tip_landed none col_from col_rides
    col_model_mae col_naive_mae col_mae col_within col_cancelled col_landed col_better col_median col_p90 col_bias
    col_late col_coverage col_weighted errors errors_text errors_chart errors_within errors_later errors_earlier
    errors_axis_minutes errors_axis_seconds bin_later bin_earlier bin_more_later bin_more_earlier bin_shares close
    close_text close_chart close_axis close_bound close_tip who_naive arms arms_text by_chart bar_label bar_text
    figures figures_text figures_caption kind_model_version kind_arm kind_tier by_kind all text_all tier_endpoint
    tier_second tier_fallback segments segments_text segments_none segments_chart segments_caption segments_all
    segment_name segment_unknown dim_hour_of_day dim_zone dim_horizon dim_spec col_adds col_share coverage
    coverage_text coverage_promised coverage_chart coverage_tip calibration calibration_text calibration_chart
    calibration_axis calibration_tip shadows shadows_text col_failed col_shadow_mae col_answering_mae col_difference
    experiment exp_none exp_alone exp_the_control exp_told exp_span exp_mismatch exp_breached exp_better exp_worse
    exp_undecided exp_too_early why_few_units why_no_ride why_no_variance why_no_figures unit_zones unit_units
    method_sequential method_fixed method method_treated hours_before ratio_planned ratio_mismatch ratio_unknown ratio_few ratio_two_arms
    metric_mae metric_cost metric_within metric_cancelled metric_not_endpoint effect effect_p dir_better dir_worse
    ne_few_units ne_empty ne_no_variance ne_zero ne newcombe course_title course_text course_tip course_above
    course_below effects_head effects_caption cuped role_primary role_secondary role_guardrail guardrail_mark
    arms_caption col_planned col_units col_predictions col_excluded card_arm card_excluded card_against drift
    drift_note drift_of drift_none drift_some drift_label drift_whole drift_named why_missing why_outside why_gone
    reason_psi reason_ks reason_js reason_wasserstein col_distribution col_wasserstein col_missing col_outside
    col_why drift_block calm_block drift_histogram drift_calm label_name prediction_name error_name models
    models_text col_held_out col_answers col_errors model_headline model_of model_grown model_other model_holds
    model_answers verdict_concept_word verdict_other_word verdict_holds_word maturity maturity_text
    maturity_text_open maturity_chart maturity_axis maturity_tip age_min age_h age_d counts counts_caption
    c_predictions c_predictions_text c_candidates c_candidates_text c_outcomes c_outcomes_text c_joined
    c_joined_text c_cancelled c_cancelled_text c_pending c_pending_text c_unknown c_unknown_text c_unusable
    c_unusable_text c_unmatched c_unmatched_text counts_note counts_weighted lineage l_release l_released l_spec
    l_training l_training_value l_experiment l_arm l_arms l_arm_value l_weight l_data l_made x_rides x_mae x_naive
    x_better x_p90 x_bias x_within x_late x_labels x_no_hours x_experiment x_drift x_difference x_made x_release
    x_c_predictions x_c_candidates x_c_joined x_c_cancelled x_c_pending x_c_unknown x_c_unusable x_c_unmatched
}
