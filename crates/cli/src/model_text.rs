//! Model versions in words.

use std::fmt::Write;

use training::{KnownVersion, Reference, VersionState};

use crate::terminal::{bad, good, grouped, strong};

fn state(known: &KnownVersion) -> String {
    let word = match known.state {
        VersionState::InForce => format!("in force as {}", known.roles.join(", ")),
        state => state.as_str().to_owned(),
    };
    match known.state {
        VersionState::Failed | VersionState::Refused => bad(word),
        VersionState::InForce | VersionState::Approved => good(word),
        _ => word,
    }
}

fn short(text: &str) -> &str {
    text.get(..12).unwrap_or(text)
}

/// A table, the latest first.
pub(crate) fn list(versions: &[KnownVersion]) -> String {
    if versions.is_empty() {
        return "there is no version; `mannen train` makes one".to_owned();
    }
    let width = versions.iter().map(|known| known.version.len()).max().unwrap_or(0);
    let mut text = format!(
        "{:width$}  {:20}  {:12}  {:12}  {:>12}  state",
        "version", "trained (UTC)", "dataset", "code", "held-out MAE"
    );
    for known in versions {
        let lineage = known.registered.as_ref().map(|found| &found.lineage);
        let lineage = lineage.or(known.order.as_ref().map(|order| &order.lineage));
        let all = known.verdict.as_ref().and_then(|verdict| verdict.comparison.as_ref()?.all);
        let at = known.registered.as_ref().map(|found| found.trained_at.strftime("%Y-%m-%d %H:%M:%S").to_string());
        _ = write!(
            text,
            "\n{:width$}  {:20}  {:12}  {:12}  {:>12}  {}",
            known.version,
            at.unwrap_or_else(|| "–".to_owned()),
            lineage.map_or("–", |lineage| short(&lineage.dataset.address)),
            lineage.map_or("–", |lineage| short(&lineage.code.address)),
            all.map_or_else(|| "–".to_owned(), |all| format!("{:.1} s", all.challenger_mae_s)),
            state(known)
        );
    }
    text
}

/// Everything that is known of one.
pub(crate) fn version(known: &KnownVersion) -> String {
    let mut text = format!("{}  {}\n", strong(&known.version), state(known));
    let lineage = known.registered.as_ref().map(|found| &found.lineage);
    if let Some(lineage) = lineage.or(known.order.as_ref().map(|order| &order.lineage)) {
        let dataset = &lineage.dataset;
        let as_of = dataset.as_of.map_or_else(String::new, |as_of| format!(", as of {as_of}"));
        _ = writeln!(text, "  dataset          {} {}{as_of}", dataset.name, dataset.address);
        if let Some(query) = &dataset.query_sha256 {
            _ = writeln!(text, "  query            {query}");
        }
        _ = writeln!(text, "  feature spec     {}", lineage.spec.hash);
        for (name, sha256) in &lineage.lookups {
            _ = writeln!(text, "  lookup table     {name} {sha256}");
        }
        let commit = lineage.code.commit.as_ref().map_or_else(String::new, |commit| format!(", commit {commit}"));
        _ = writeln!(text, "  training code    {}{commit}", lineage.code.address);
        _ = writeln!(text, "  training view    {}", lineage.view);
        _ = writeln!(text, "  image            {}", lineage.image);
        for (name, value) in &lineage.hyperparameters {
            _ = writeln!(text, "  {name:16} {value}");
        }
    }
    if let Some(found) = &known.registered {
        _ = writeln!(text, "  artefact         {}", found.artefact);
        if let Some(sha256) = &found.artefact_sha256 {
            _ = writeln!(text, "  its SHA-256      {sha256}");
        }
        if let Some(seconds) = found.training_s {
            let paid = found.billable_s.map_or_else(String::new, |paid| format!(", {paid:.0} s paid for"));
            _ = writeln!(text, "  training         {seconds:.0} s{paid}, until {}", found.trained_at);
        }
        for (name, value) in &found.metrics {
            _ = writeln!(text, "  metric           {name} = {value}");
        }
        if let Some(package) = &found.model_package {
            _ = writeln!(text, "  model package    {package}");
        }
    }
    if let Some(failure) = &known.failure {
        _ = writeln!(text, "\n{}: {}", bad("training failed"), failure.reason);
        for line in &failure.last_lines {
            _ = writeln!(text, "  | {line}");
        }
    }
    if let Some(verdict) = &known.verdict {
        let against = match &verdict.reference {
            Reference::Champion(version) => format!("the champion {version}"),
            Reference::Fallback => "the naive estimate".to_owned(),
        };
        _ = writeln!(text, "\ngate, against {against}, at {}:", verdict.decided_at);
        for check in &verdict.checks {
            let mark = if check.passed { good("✓") } else { bad("✗") };
            _ = writeln!(text, "  {mark} {:22} {}", check.check, check.detail);
        }
        if let Some(comparison) = &verdict.comparison {
            _ = writeln!(text, "\n  {:34} {:>9}  {:>9}  {:>9}  {:>20}", "", "rows", "MAE", "against", "difference");
            let mut row = |name: &str, found: &evaluation::gate::PairedDifference| {
                let end = |end: Option<f64>| end.map_or_else(|| "∞".to_owned(), |end| format!("{end:+.1}"));
                _ = writeln!(
                    text,
                    "  {name:34} {:>9}  {:>7.1} s  {:>7.1} s  {:>+6.1} s [{}, {}]",
                    grouped(found.rows),
                    found.challenger_mae_s,
                    found.reference_mae_s,
                    found.difference_s,
                    end(found.lower_s),
                    end(found.upper_s)
                );
            };
            if let Some(all) = &comparison.all {
                row("all", all);
            }
            for segment in &comparison.segments {
                row(&format!("{} = {}", segment.segment, segment.value), &segment.difference);
            }
        }
    }
    if let Some(approval) = &known.approval {
        let author = approval.author.as_deref().unwrap_or("somebody");
        let why = approval.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        _ = writeln!(text, "\napproved by {author} at {}{why}", approval.approved_at);
    }
    if let Some(retirement) = &known.retirement {
        let author = retirement.author.as_deref().unwrap_or("somebody");
        let why = retirement.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        _ = writeln!(text, "\nretired by {author} at {}{why}", retirement.retired_at);
    }
    text.trim_end().to_owned()
}

/// Two versions side by side: what they are made of where that differs, and what they measured.
pub(crate) fn compare(a: &KnownVersion, b: &KnownVersion) -> (String, usize) {
    let facts = |known: &KnownVersion| -> Vec<(String, String)> {
        let mut facts = vec![("state".to_owned(), known.state.as_str().to_owned())];
        let Some(found) = &known.registered else { return facts };
        let lineage = &found.lineage;
        let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
        add("dataset", lineage.dataset.address.clone());
        add("feature spec", lineage.spec.hash.clone());
        add("training code", lineage.code.address.clone());
        add("image", lineage.image.clone());
        add("artefact", found.artefact_sha256.clone().unwrap_or_default());
        for (name, sha256) in &lineage.lookups {
            add(&format!("lookup {name}"), sha256.clone());
        }
        for (name, value) in &lineage.hyperparameters {
            add(name, value.clone());
        }
        for (name, value) in &found.metrics {
            add(&format!("metric {name}"), value.to_string());
        }
        if let Some(all) = known.verdict.as_ref().and_then(|verdict| verdict.comparison.as_ref()?.all) {
            add("held-out MAE", format!("{:.3} s", all.challenger_mae_s));
        }
        facts
    };
    let (of_a, of_b) = (facts(a), facts(b));
    let mut names: Vec<&String> = of_a.iter().map(|(name, _)| name).collect();
    names.extend(of_b.iter().map(|(name, _)| name).filter(|name| of_a.iter().all(|(known, _)| known != *name)));
    let value = |facts: &[(String, String)], name: &str| {
        facts.iter().find(|(known, _)| known == name).map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
    };
    let mut text = format!("{:20}  {:40}  {}", "", strong(&a.version), strong(&b.version));
    let mut differences = 0;
    for name in names {
        let (left, right) = (value(&of_a, name), value(&of_b, name));
        let differs = left != right;
        differences += usize::from(differs && name != "state");
        let mark = if differs { "~" } else { " " };
        let cut = |text: &str| if text.len() == 64 { short(text).to_owned() } else { text.to_owned() };
        _ = write!(text, "\n{mark} {name:18}  {:40}  {}", cut(&left), cut(&right));
    }
    (text, differences)
}
