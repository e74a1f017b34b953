//! What `--help` says: the fields by example. A test runs every example.

pub(super) const EXPERIMENT: &str = r#"Reads one JSON case a line on standard input, prints one JSON result a line. `kind` says what a case
is; `id`, `name` and `kind` are repeated; fields that are not known are ignored. a = control, b =
treatment; n counts randomised units. null in a result: not finite, or not defined. A line that cannot
be read gives {"error": {"reason", "detail", "line"}}; the others go on, and the exit code is 1.

Two arms. Optional: `alpha` (0.05), `sequential_tuning_parameter` (N*, 5000).
  {"kind":"proportion","a":{"n":1000,"successes":95},"b":{"n":1000,"successes":79},"alpha":0.05}
  {"kind":"mean","a":{"n":400,"sum":1063.4,"sum_squares":4291.3},"b":{"n":400,"sum":951.4,"sum_squares":3426.3}}
  {"kind":"ratio","a":{"n":3,"m_sum":60,"m_sum_squares":1400,"d_sum":9,"d_sum_squares":29,"m_d_sum_of_products":190},"b":{"n":3,"m_sum":66,"m_sum_squares":1700,"d_sum":9,"d_sum_squares":29,"m_d_sum_of_products":212}}
  {"kind":"cuped","a":{"n":3,"post_sum":12,"post_sum_squares":56,"pre_sum":11,"pre_sum_squares":45,"post_pre_sum_of_products":49},"b":{"n":3,"post_sum":15,"post_sum_squares":83,"pre_sum":12,"pre_sum_squares":50,"post_pre_sum_of_products":63}}
or samples, one number a unit (proportion, mean: `values`; ratio: `m`, `d`; cuped: `post`, `pre`)
  {"kind":"mean","a":{"values":[1,2,3,4]},"b":{"values":[2,3,4,6]}}
  -> gbstats.absolute (b - a) and gbstats.relative ((b - a)/|a|), each with effect, std_err, dof, ci and
     p_value (Welch, fixed horizon), sequential.{tuning, ci, p_value} (always valid),
     one_sided_greater.{ci_lower, p_value}, one_sided_lesser.{ci_upper, p_value}, and bayes_flat and
     bayes_prior_n0_03.{chance_to_win, effect, ci, risk}; cuped also gbstats.theta
     not estimable (an arm without variance, a baseline of zero): figures are null, `error` names the
     engine's code and not_estimable.{reason, detail} says why
     proportion also: pooled_z.{z, p_value}, fisher_exact_p (up to 20,000 units), diff_ci_wald,
     diff_ci_agresti_caffo, diff_ci_newcomb, diff_ci_miettinen_nurminen, and diff_ci_score, which is
     statsmodels' variant of it; mean also: scipy_welch.{t, p_value}

Sample ratio. Optional: `weights` (equal), `threshold` (0.001).
  {"kind":"srm","observed":[50210,49790],"weights":[0.5,0.5]}
  -> gbstats.srm_p, scipy_chisquare.{stat, p_value}, alarm
  {"kind":"sequential_srm","null_probabilities":[0.5,0.5],"blocks":[[261,239],[243,257]],"dirichlet_concentration":10000}
  -> p_values, one a block, always valid

Many p-values. Optional: `alpha`.
  {"kind":"multiple_testing","p_values":[0.01,0.02,0.03],"alpha":0.05}
  -> bonferroni, holm, fdr_bh, fdr_by, simes_hochberg, each with p_adjusted and reject

Sequential designs. `spending`: rho=NUMBER (alpha*t^rho; 2), obrien-fleming, pocock. `sides`: 1 or 2 (2).
  {"kind":"group_sequential","information":[0.25,0.5,0.75,1],"alpha":0.05,"sides":2,"spending":"rho=2"}
  -> z_bounds
  {"kind":"msprt","effect":0.5,"variance_of_effect":0.04,"tau2":0.1,"alpha":0.05}
  -> likelihood_ratio, p_value_now, ci

Planning. Variances are of one unit, on the effect's scale. Optional: `variance_b`, `share_b` (0.5),
`alpha`, `power` (0.8), `look` (any_time, or fixed with `sides`), `units_per_day`.
  {"kind":"power","variance_a":1.0,"effect":0.1,"units_per_day":500}
  -> units of both arms together, days
  {"kind":"power","variance_a":1.0,"effect":0.1,"units":3000,"look":"fixed"}
  -> power, detectable_effect"#;

pub(super) const REGRESSION: &str = r#"Reads one JSON case a line on standard input, prints one JSON result a line. `kind` says what a case
is; `id`, `name` and `kind` are repeated; fields that are not known are ignored. Error = predicted -
actual; the unit is yours. null: not finite, or not defined. A line that cannot be read gives
{"error": {"reason", "detail", "line"}}; the others go on, and the exit code is 1.

  {"kind":"regression","actual":[8.9,14.9,16.0],"predicted":[7.3,18.5,15.3]}
  {"kind":"regression","actual":[8.9,14.9],"predicted":[7.3,18.5],"lower":[4,12],"upper":[10,25],"confidence":0.9}
  -> n, mae, median_ae, rmse, mse, mape, max_error, r2, explained_variance, bias_pred_minus_actual,
     error_std_ddof1, wape, share_late_actual_gt_pred, share_early, asymmetric_cost_late3_early1, rmsle;
     within (share with |error| at most 1, 2, 3, 5, 10), abs_error_quantiles_linear,
     signed_error_quantiles_linear, pinball; with lower and upper also
     interval.{confidence, coverage, mean_width, winkler_score}. A null bound is infinite

Conformal intervals. `confidence` (0.9). Too few scores: quantile, lower and upper are null (infinite).
  {"kind":"split_conformal","cal_actual":[1,2,3,4,5,6,7,8,9],"cal_predicted":[1,2,4,4,5,7,7,8,8],"new_predicted":[3,5],"confidence":0.8}
  {"kind":"cqr_symmetric","cal_actual":[1,2,3,4],"cal_lower":[0,1,2,5],"cal_upper":[2,3,4,6],"new_lower":[1],"new_upper":[3],"confidence":0.7}
  -> k, quantile, lower, upper
  {"kind":"aci","scores":[0.1,1.4,1.0,2.0,0.3],"target_alpha":0.1,"gamma":0.02,"window":50,"min_scores":2}
  -> trace ([alpha, quantile, missed] a score, null before min_scores), final_alpha, miscoverage"#;

pub(super) const DRIFT: &str = r#"Reads one JSON case a line on standard input, prints one JSON result a line. `kind` says what a case
is; `id`, `name` and `kind` are repeated; fields that are not known are ignored. null: not finite, or
not defined. A line that cannot be read gives {"error": {"reason", "detail", "line"}}; the others go on,
and the exit code is 1.

  {"kind":"numeric","reference":[1,2,3,4,5,6,7],"current":[2,3,4,5,6,7,null]}
  -> ks.{statistic, p_value, p_value_asymp, p_value_kolmogorov_limit}, wasserstein,
     evidently.{psi, jensenshannon_base_e, kl_div, hellinger, wasserstein_normed, bin_edges_sturges,
     default_test, default_threshold, default_score, default_drift},
     psi_decile.{inner_edges, ref_share, cur_share, psi}, psi_out_of_range (the same with bins for what
     lies outside the reference's range), deequ_linf.{simple, robust}, missing (share of null)
  {"kind":"categorical","reference":{"card":700,"cash":250},"current":{"card":300,"cash":130,"app":7}}
  {"kind":"categorical","reference":["card","cash","card"],"current":["card","cash","cash"]}
  -> evidently.{psi, jensenshannon_base_e, kl_div, hellinger, chisquare_p, z_p (two categories at most),
     default_...}, jensenshannon_base_2, total_variation, deequ_linf, chi2_contingency
  {"kind":"dataset","columns":{"fare":{"reference":[1,2,3],"current":[4,5,6]},"paid":{"reference":{"card":7},"current":{"card":5}}}}
  -> columns (each its default_...), drift_share, dataset_drift (half of the columns, or more)

deequ's distances; the figure has the kind's name:
  {"kind":"linf_simple","sample1":{"a":10,"b":20},"sample2":{"a":11,"b":20}}
  {"kind":"linf_robust","sample1":{"a":207,"b":20},"sample2":{"a":22,"b":20},"alpha":0.003}
  {"kind":"psi_counts","actual":[426,437],"expected_counts":[428,425]}
  {"kind":"chisquare_stat","sample":{"a":207,"b":20},"baseline":{"a":223,"b":20}}
  {"kind":"chisquare_p","sample":{"a":207,"b":20},"baseline":{"a":223,"b":20}}"#;

pub(super) const ASSIGNMENT: &str = r#"Reads one JSON case a line on standard input, prints one JSON result a line. `kind` says what a case
is; `id`, `name` and `kind` are repeated. A line that cannot be read gives {"error": {"reason",
"detail", "line"}}; the others go on, and the exit code is 1.

GrowthBook's rules (spec 0.12.0), by their names:
  {"kind":"hash","seed":"","value":"a","version":1}
  -> hash, in [0, 1); null for a version that is not 1 or 2
  {"kind":"getBucketRange","numVariations":2,"coverage":0.5,"weights":[0.4,0.6]}
  -> ranges (not rounded; the spec's own cases are, to 8 decimals)
  {"kind":"chooseVariation","n":0.2,"ranges":[[0,0.5],[0.5,1]]}
  -> variation, or -1
  {"kind":"inNamespace","id":"1","namespace":["namespace1",0.4,1]}
  -> inNamespace
  {"kind":"getEqualWeights","numVariations":3}
  -> weights (not rounded)
  {"kind":"run","context":{"attributes":{"id":"1"}},"experiment":{"key":"my-test","variations":[0,1],"weights":[0.1,0.9]}}
  -> value, inExperiment, hashUsed, variation. Of an experiment: key, seed, variations, weights, coverage,
     ranges, namespace, hashVersion, hashAttribute; what else the SDK has (targeting, forced variations,
     sticky buckets, ...) is refused as `unsupported_field`

Buckets of other services (MurmurHash3):
  {"kind":"optimizely","bucketing_id":"ppid1","experiment_id":"1886780721"}
  -> bucket, 0 to 9999
  {"kind":"flagd_fractional","key":"headerColorppid1","weights":[50,50]}
  -> variant

A case may also be given as the conformance file's array, whose last values are what is expected:
  {"kind":"hash","case":["","a",1,0.22]}"#;
