//! `aegle governance`: what members decide together.

use crate::card;
use crate::nodes::{self, Nodes};
use crate::unlock::{self, PASSPHRASE};
use aegle_access::Policy;
use aegle_ledger::{Amendment, Member, Switch};
use aegle_model::{Canonical as _, CentreId};
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// See what members propose, propose a change, vote
#[derive(Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: Nodes,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The proposals in plain sentences
    List,
    /// Propose a change in the name of this centre
    #[command(subcommand)]
    Propose(Change),
    /// Agree with a proposal, or not; the last word counts
    Vote {
        /// The proposal's id
        id: String,
        /// What this centre thinks of it
        word: Word,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Word {
    /// It agrees
    Yes,
    /// It is against it; a proposer withdraws
    No,
}

#[derive(Subcommand)]
enum Change {
    /// Admit a centre: it follows for an epoch, then votes
    Admit {
        /// Its card
        card: PathBuf,
        /// Where its node listens for the others: `host:port`
        address: String,
    },
    /// Remove a member
    Remove {
        /// Its id; `aegle genesis` and `/api/v1/centres` show them
        centre: String,
    },
    /// Give a member the keys of a new card
    Rotate {
        /// The member's id
        centre: String,
        /// Its new card
        card: PathBuf,
        /// Where its node listens for the others: `host:port`
        address: String,
    },
    /// Allow reading in emergencies whatever the rules say, or not
    Emergency {
        /// Whether it is allowed
        word: Word,
    },
    /// Switch to another version of the protocol
    Protocol {
        /// The version
        version: u16,
        /// The first height at which it holds
        height: u64,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    nodes::answer(args.json, ask(args), |answer| args.what.show(answer))
}

async fn ask(args: &Args) -> Result<Value> {
    let amendment = match &args.what {
        What::Propose(change) => Some(change.amendment()?),
        What::List | What::Vote { .. } => None,
    };
    let passphrase = unlock::known(PASSPHRASE, "Pass phrase")?;
    let asked = async |client: &crate::client::Client| match (&args.what, &amendment) {
        (What::Vote { id, word }, _) => {
            let body = json!({ "agree": *word == Word::Yes });
            client.post(&format!("/governance/{id}"), &body).await
        }
        (_, Some(amendment)) => {
            let bytes = STANDARD.encode(amendment.to_bytes());
            client.post("/governance", &json!({ "amendment": bytes })).await
        }
        (_, None) => client.get("/governance").await,
    };
    args.nodes.ask(&passphrase, asked).await
}

impl Change {
    fn amendment(&self) -> Result<Amendment> {
        let id = |text: &str| text.parse::<CentreId>().context("a centre's id has 32 hex digits");
        Ok(match self {
            Self::Admit { card, address } => {
                Amendment::Admit(Member { centre: card::load(card)?, address: address.clone() })
            }
            Self::Remove { centre } => Amendment::Remove(id(centre)?),
            Self::Rotate { centre, card, address } => {
                let mut new = card::load(card)?;
                new.id = id(centre)?;
                Amendment::Rotate(Member { centre: new, address: address.clone() })
            }
            Self::Emergency { word } => Amendment::Policy(Policy { emergency: *word == Word::Yes }),
            Self::Protocol { version, height } => {
                Amendment::Protocol(Switch { version: *version, height: *height })
            }
        })
    }
}

impl What {
    fn show(&self, answer: &Value) -> String {
        match self {
            Self::List => list(answer),
            Self::Propose(_) => {
                format!("proposed {}\n", answer["id"].as_str().unwrap_or("under an unknown id"))
            }
            Self::Vote { .. } => "noted\n".to_owned(),
        }
    }
}

fn list(proposals: &Value) -> String {
    let mut text = String::new();
    for proposal in proposals.as_array().into_iter().flatten() {
        // What a node says never rules the terminal.
        let word =
            |name: &str| proposal[name].as_str().unwrap_or_default().escape_debug().to_string();
        let codes = |name: &str| {
            let codes = proposal[name].as_array().into_iter().flatten();
            let codes: Vec<_> = codes.filter_map(Value::as_str).collect();
            if codes.is_empty() { "nobody".to_owned() } else { codes.join(", ") }
        };
        let (agreed, against) = (codes("agreed"), codes("against"));
        // Writing to memory cannot fail.
        let _ = write!(
            text,
            "{:<9} {}\n          proposed by {}; for it: {}; against it: {}\n          {}\n",
            word("stage"),
            word("sentence"),
            word("by"),
            agreed.escape_debug(),
            against.escape_debug(),
            word("id"),
        );
    }
    if text.is_empty() { "nothing was proposed\n".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_are_read_as_sentences() {
        let proposals = json!([{
            "id": "07", "sentence": "Remove the centre KHM.", "by": "ZMC", "agreed": ["ZMC", "UCL"],
            "against": [], "stage": "open",
        }]);
        assert_eq!(
            list(&proposals),
            "open      Remove the centre KHM.\n          \
             proposed by ZMC; for it: ZMC, UCL; against it: nobody\n          07\n"
        );
        assert_eq!(list(&json!([])), "nothing was proposed\n");
    }
}
