//! Sequential designs and planning.

use experiments::statistics::{
    self as statistics, DEFAULT_CONCENTRATION, DEFAULT_TUNING, Look, Plan, Sides, Spending, duration_days,
    group_sequential_bounds,
};
use serde_json::{Map, Value, json};

use super::{
    case::{Case, Refusal},
    experiment::rows,
    fields,
};

pub(super) fn group_sequential(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let information = case.numbers("information")?;
    let alpha = case.share_or("alpha", 0.05)?;
    let spending = spending(if case.has("spending") { case.text("spending")? } else { "rho=2" })?;
    let bounds = group_sequential_bounds(&information, alpha, sides(case)?, spending)?;
    Ok(fields(json!({ "z_bounds": bounds })))
}

fn sides(case: Case<'_>) -> Result<Sides, Refusal> {
    match case.count_or("sides", 2)? {
        1 => Ok(Sides::One),
        2 => Ok(Sides::Two),
        _ => Err(Refusal::new("out_of_range", "`sides` must be 1 or 2")),
    }
}

/// "rho=2" or "t^2" anywhere in the text, "obrien-fleming", or "pocock".
fn spending(text: &str) -> Result<Spending, Refusal> {
    let lower = text.to_lowercase();
    let number_after = |mark: &str| {
        let rest = lower.split_once(mark)?.1;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        rest[..end].parse::<f64>().ok().filter(|rho| *rho > 0.0)
    };
    if let Some(rho) = number_after("rho=").or_else(|| number_after("t^")) {
        Ok(Spending::Power { rho })
    } else if lower.contains("brien") {
        Ok(Spending::OBrienFleming)
    } else if lower.contains("pocock") {
        Ok(Spending::Pocock)
    } else {
        Err(Refusal::new("unknown_spending", format!("`{text}` is not rho=NUMBER, obrien-fleming or pocock")))
    }
}

pub(super) fn msprt(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let found = statistics::msprt(
        case.number("effect")?,
        case.positive("variance_of_effect")?,
        case.positive("tau2")?,
        case.share_or("alpha", 0.05)?,
    );
    Ok(fields(json!({
        "likelihood_ratio": found.likelihood_ratio,
        "p_value_now": found.interval.p_value,
        "ci": [found.interval.lower, found.interval.upper],
    })))
}

pub(super) fn sequential_srm(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let probabilities = case.numbers("null_probabilities")?;
    let concentration = case.positive_or("dirichlet_concentration", DEFAULT_CONCENTRATION)?;
    let p_values = statistics::sequential_srm(&probabilities, &rows(case, "blocks")?, concentration)?;
    Ok(fields(json!({ "p_values": p_values })))
}

pub(super) fn power(case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
    let variance_a = case.number("variance_a")?;
    let look = match if case.has("look") { case.text("look")? } else { "any_time" } {
        "fixed" => Look::Fixed(sides(case)?),
        "any_time" => Look::AnyTime { tuning: case.positive_or("sequential_tuning_parameter", DEFAULT_TUNING)? },
        other => return Err(Refusal::unknown_kind(other, &["fixed", "any_time"])),
    };
    let plan = Plan {
        variance_a,
        variance_b: case.number_or("variance_b", variance_a)?,
        share_b: case.share_or("share_b", 0.5)?,
        effect: case.number_or("effect", 0.0)?,
        alpha: case.share_or("alpha", 0.05)?,
        look,
    };
    let power = case.share_or("power", 0.8)?;
    if case.has("units") {
        let units = case.number("units")?;
        let found = case.has("effect").then(|| plan.power(units));
        return Ok(fields(json!({
            "power": found,
            "detectable_effect": plan.detectable_effect(units, power)?,
        })));
    }
    let units = plan.units_for(power)?;
    let days =
        if case.has("units_per_day") { Some(duration_days(units, case.number("units_per_day")?)?) } else { None };
    Ok(fields(json!({ "units": units, "days": days })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spending_is_read_as_people_write_it() {
        assert_eq!(spending("alpha*t^2 (power family, rho=3)").unwrap(), Spending::Power { rho: 3.0 });
        assert_eq!(spending("alpha*t^1.5").unwrap(), Spending::Power { rho: 1.5 });
        assert_eq!(spending("O'Brien-Fleming").unwrap(), Spending::OBrienFleming);
        assert_eq!(spending("pocock").unwrap(), Spending::Pocock);
        assert_eq!(spending("rho=0").unwrap_err().reason, "unknown_spending");
    }
}
