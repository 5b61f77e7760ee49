//! Why a question is not understood.

use aegle_access::RuleError;
use aegle_model::{ALL, Name, VocabularyError};
use std::path::PathBuf;

/// The longest report, in characters: a question can hold texts of any length.
const REPORT_CHARS_MAX: usize = 600;
/// How many known values an error lists.
const LISTED_MAX: usize = 12;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecideError {
    /// The file is not there or cannot be read.
    #[error("could not read `{}`; name a file with the question, or `-` for standard input", file.display())]
    File {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Longer than any sensible question.
    #[error("the question has more than {} MiB; leave out what is not asked for", super::INPUT_BYTES_MAX >> 20)]
    TooLarge,
    /// Not text.
    #[error("the question is not UTF-8 from byte {0} on; save it as UTF-8")]
    Encoding(usize),
    /// Not JSON, or JSON of another shape.
    #[error("could not read {}", place_of(place))]
    Json { place: String, source: serde_json::Error },
    /// The shape is right, a value is not.
    #[error("could not use `{place}`: {why}")]
    Value { place: String, why: Wrong },
    /// An answer beyond any sensible size.
    #[error("the explanation names rules more than {0} times; ask for fewer columns at once")]
    Explained(usize),
    /// The operating system gave no random bytes.
    #[error("could not draw a record key: the operating system gives no random bytes")]
    Randomness,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// A data centre without a catalogue.
    #[error("there is no catalogue of the centre `{code}`; {}", one_of(known))]
    Centre { code: Name, known: Vec<Name> },
    /// A tag that no column carries.
    #[error("no column of `{centre}` carries the tag `{tag}`; {}", one_of(known))]
    Tag { centre: Name, tag: Name, known: Vec<Name> },
    /// A rule about nothing.
    #[error("the scope of rule `{0}` is empty; name at least one tag, `{ALL}` for everything")]
    EmptyScope(String),
    /// A rule about too much.
    #[error("the scope of rule `{0}` is too wide: {1}")]
    WideScope(String, RuleError),
    /// A request for nothing.
    #[error("nothing is asked of `{0}`; name at least one tag, `{ALL}` for everything")]
    EmptyRequest(Name),
    /// A rule for nothing.
    #[error("rule `{0}` names no purpose; leave `purposes` out to mean every purpose")]
    NoPurpose(String),
    /// A window without an instant.
    #[error(
        "rule `{id}` is in force from `{from}` until `{until}`; a window begins before it ends, by a millisecond or more"
    )]
    Window { id: String, from: String, until: String },
    /// Two different rules under one id.
    #[error("another rule is called `{0}`; give each rule its own id")]
    RuleId(String),
    /// Neither the patient nor a professional.
    #[error("a requester is {{\"patient\":true}} or has `centre` and `professional`; {0}")]
    Requester(&'static str),
    /// More cells or tags than a request can carry.
    #[error("{0}; give the columns fewer different tags or sets of tags")]
    Catalogue(VocabularyError),
}

fn place_of(path: &str) -> String {
    // Where the text breaks off, the parser knows the place only in part.
    let path = path.trim_end_matches(".?");
    if matches!(path, "." | "?") { "the question".to_owned() } else { format!("`{path}`") }
}

fn one_of(known: &[Name]) -> String {
    let listed: Vec<_> = known.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
    match (listed.is_empty(), known.len().saturating_sub(LISTED_MAX)) {
        (true, _) => "there is none at all".to_owned(),
        (false, 0) => format!("use one of {}", listed.join(", ")),
        (false, more) => format!("use one of {} or {more} others", listed.join(", ")),
    }
}

/// The error with its causes in one line of bounded length without control characters: the
/// question may be anybody's, the terminal is not.
pub(super) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    let plain = |sign: char| if sign.is_control() { char::REPLACEMENT_CHARACTER } else { sign };
    let mut short: String = text.chars().take(REPORT_CHARS_MAX).map(plain).collect();
    if short.len() < text.len() && text.chars().nth(REPORT_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}
