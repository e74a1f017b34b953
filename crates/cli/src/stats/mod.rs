//! `mannen stats`: the pure statistics, for anyone to check. One JSON case a line in, one JSON result a line out.

mod assignment;
mod case;
mod designs;
mod drift;
mod experiment;
mod help;
mod regression;

use std::{
    io::{self, BufRead, BufWriter, Write},
    process::ExitCode,
};

use case::{Case, Refusal};
use clap::Subcommand;
use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum StatsCommand {
    /// Which arm won: two arms, sample ratio, multiple testing, sequential designs, planning
    #[command(after_long_help = help::EXPERIMENT)]
    Experiment,
    /// How good predictions and their intervals are; conformal intervals
    #[command(after_long_help = help::REGRESSION)]
    Regression,
    /// How far one sample is from another
    #[command(after_long_help = help::DRIFT)]
    Drift,
    /// Which arm a unit is assigned to
    #[command(after_long_help = help::ASSIGNMENT)]
    Assignment,
}

impl StatsCommand {
    fn result(self, case: Case<'_>) -> Result<Map<String, Value>, Refusal> {
        match self {
            Self::Experiment => experiment::result(case),
            Self::Regression => regression::result(case),
            Self::Drift => drift::result(case),
            Self::Assignment => assignment::result(case),
        }
    }
}

/// Standard input to standard output. Fails at the end where a line was refused.
pub(crate) fn run(command: StatsCommand) -> ExitCode {
    let (input, output) = (io::stdin().lock(), BufWriter::new(io::stdout().lock()));
    match answer_lines(command, input, output) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(refused) => {
            anstream::eprintln!("error: {refused} line(s) refused; see `error` in the results");
            ExitCode::FAILURE
        }
        // A reader that has gone away has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: cannot pass lines on: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers each line, and tells how many were refused. An empty line has no answer.
fn answer_lines(command: StatsCommand, mut input: impl BufRead, mut output: impl Write) -> io::Result<u64> {
    let (mut line, mut number, mut refused) = (Vec::new(), 0_u64, 0);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            output.flush()?;
            return Ok(refused);
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let (answer, good) = answer(command, &line, number);
        refused += u64::from(!good);
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
    }
}

/// The answer to a line, and whether it is a good one. It repeats the case's `id`, `name` and `kind`.
fn answer(command: StatsCommand, line: &[u8], number: u64) -> (Value, bool) {
    let mut answer = Map::new();
    let result = match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(fields)) => {
            for name in ["id", "name", "kind"] {
                if let Some(value) = fields.get(name) {
                    answer.insert(name.to_owned(), value.clone());
                }
            }
            command.result(Case::new(&fields))
        }
        Ok(_) => Err(Refusal::new("not_an_object", "a case is one JSON object on one line")),
        Err(error) => Err(Refusal::new("invalid_json", format!("column {}: {error}", error.column()))),
    };
    match result {
        Ok(figures) => {
            answer.extend(figures);
            (Value::Object(answer), true)
        }
        Err(Refusal { reason, detail }) => {
            answer.insert("error".to_owned(), json!({ "reason": reason, "detail": detail, "line": number }));
            (Value::Object(answer), false)
        }
    }
}

/// An object's fields.
fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_told_and_the_others_go_on() {
        let input =
            b"{\"id\":1,\"kind\":\"srm\",\"observed\":[50,50]}\n\nnot json\n[1]\n{\"id\":\"x\",\"kind\":\"srm\"}\n\
            \xff\n{\"kind\":\"nonsense\"}\n{\"kind\":\"msprt\",\"effect\":1,\"variance_of_effect\":1,\"tau2\":1}";
        let mut output = Vec::new();
        assert_eq!(answer_lines(StatsCommand::Experiment, &input[..], &mut output).unwrap(), 5);
        let answers: Vec<Value> = output
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let reasons: Vec<&str> =
            answers.iter().map(|answer| answer["error"]["reason"].as_str().unwrap_or("-")).collect();
        assert_eq!(
            reasons,
            ["-", "invalid_json", "not_an_object", "missing_field", "invalid_json", "unknown_kind", "-"]
        );
        assert_eq!(answers[0]["id"], 1);
        assert_eq!(answers[0]["gbstats"]["srm_p"], 1.0);
        assert_eq!((&answers[3]["id"], &answers[3]["error"]["line"]), (&json!("x"), &json!(5)));
        assert!(answers[6]["likelihood_ratio"].is_f64());
    }

    #[test]
    fn the_examples_of_the_help_work() {
        for (command, help) in [
            (StatsCommand::Experiment, help::EXPERIMENT),
            (StatsCommand::Regression, help::REGRESSION),
            (StatsCommand::Drift, help::DRIFT),
            (StatsCommand::Assignment, help::ASSIGNMENT),
        ] {
            let examples: Vec<&str> = help.lines().map(str::trim).filter(|line| line.starts_with("{\"kind")).collect();
            assert!(examples.len() >= 3, "{command:?}");
            for example in examples {
                let (answer, good) = answer(command, example.as_bytes(), 1);
                assert!(good, "{example}: {answer}");
            }
        }
    }
}
