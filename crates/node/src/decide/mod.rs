//! `aegle decide`: answers one question about access, without any node.
//!
//! The question goes the way of every request: columns become cells of a vocabulary, tags and
//! people become tokens under a record key drawn for this one answer, and the same `decide()`
//! decides. Invariants: a question is understood as a whole or refused as a whole; nothing is
//! printed for a refused one; the key never shows in the answer.
//!
//! Absent on purpose: ledger, signatures, lake, and the clock: the question brings its `now`.

mod answer;
mod catalogue;
mod error;
mod input;
mod ordered;
mod question;
#[cfg(test)]
mod tests;

use aegle_model::RecordKey;
use error::DecideError;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The largest question, in bytes.
const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The exit code for a question that is not understood.
const NOT_UNDERSTOOD: u8 = 2;

/// What the command line says.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The question as JSON; `-` reads standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Name the rules that opened or closed each requested column
    #[arg(long)]
    explain: bool,
}

/// Prints the answer as one line of JSON. Permit and deny both end well; a question that is not
/// understood ends with code 2 and an explanation on standard error.
pub(crate) fn run(args: &Args) -> ExitCode {
    match read(&args.file).and_then(|text| answer(&text, args.explain, &draw_key()?)) {
        Ok(line) => print(&line),
        Err(error) => {
            eprintln!("error: {}", error::report(&error));
            ExitCode::from(NOT_UNDERSTOOD)
        }
    }
}

/// The answer to the question in `text`, as compact JSON.
pub(crate) fn answer(text: &str, explain: bool, key: &RecordKey) -> Result<String, DecideError> {
    let question = question::Question::new(input::parse(text)?)?;
    answer::write(&question, explain, key)
}

fn read(file: &Path) -> Result<String, DecideError> {
    let unreadable = |source| DecideError::File { file: file.to_owned(), source };
    let mut bytes = Vec::new();
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).map_err(unreadable)?)
    };
    source.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(DecideError::TooLarge);
    }
    String::from_utf8(bytes)
        .map_err(|error| DecideError::Encoding(error.utf8_error().valid_up_to()))
}

fn draw_key() -> Result<RecordKey, DecideError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| DecideError::Randomness)?;
    Ok(RecordKey::from_array(bytes))
}

fn print(line: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: could not write the answer: {error}");
            ExitCode::FAILURE
        }
    }
}
