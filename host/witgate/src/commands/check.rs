//! `witgate check`: everything wrong or odd about a configuration.

use std::process::ExitCode;

use witgate_config::{Problem, ProblemKind, Severity};

use crate::cli::Check;
use crate::source::Place;
use crate::wiring;

pub(super) fn check(options: &Check) -> ExitCode {
    let env = crate::environment::environment();
    let mut problems = Vec::new();
    match Place::choose(options.config.as_deref(), &env) {
        Ok((place, warning)) => {
            problems.extend(warning);
            let (loaded, found) = witgate_config::checked(&place.source, &env);
            problems.extend(found);
            // What is built from a configuration has rules of its own.
            let judged = loaded.as_ref().map(wiring::problems).unwrap_or_default();
            problems.extend(judged.into_iter().map(problem));
        }
        Err(problem) => problems.push(problem),
    }
    if options.strict_config {
        strict(&mut problems);
    }
    if !options.verbose {
        problems.retain(|problem| problem.is_error() || problem.kind != ProblemKind::Compatibility);
    }
    if options.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&problems).unwrap_or_default()
        );
    } else {
        for problem in &problems {
            println!("{problem}");
        }
    }
    if problems.iter().any(Problem::is_error) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// What is wrong with a part that would be built.
fn problem((path, message): (&'static str, String)) -> Problem {
    Problem {
        severity: Severity::Error,
        kind: ProblemKind::WrongType,
        file: None,
        line: 0,
        col: 0,
        path: path.to_owned(),
        message,
        fix: String::new(),
    }
}

/// `--strict-config`: an unknown key is an error.
pub fn strict(problems: &mut [Problem]) {
    for problem in problems
        .iter_mut()
        .filter(|p| p.kind == ProblemKind::UnknownKey)
    {
        problem.severity = Severity::Error;
    }
}
