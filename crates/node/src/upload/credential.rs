//! `aegle upload-credential`: who may deliver files.

use super::Uploads;
use aegle_upload::{CredentialName, Scope};
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::path::{Path, PathBuf};

/// Say which systems may deliver files over HTTP
#[derive(Parser)]
pub(crate) struct Args {
    /// The node's configuration
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a credential and print its secret, once
    Create(Create),
    /// Show every credential
    List,
    /// End a credential at once; what was delivered under it stays
    Revoke {
        /// Its name
        name: CredentialName,
    },
}

#[derive(Parser)]
struct Create {
    /// Its name, such as `laboratory`
    name: CredentialName,
    /// The source folder that its files are for
    #[arg(long, value_name = "FOLDER")]
    source: PathBuf,
    /// Which file names; `*` is any text without `/`, `**` any folders; may be given often
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    allow: Vec<String>,
    /// How many bytes in all, as long as it lives
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 40)]
    max_bytes: u64,
    /// How many bytes a file may have
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 30)]
    max_file_bytes: u64,
    /// How many uploads may be unfinished at once
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    max_open: u32,
    /// When it ends: a date, whose beginning in UTC is meant, or a time
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<Timestamp>,
}

fn time(text: &str) -> Result<Timestamp> {
    let date = text.parse::<Date>().ok().filter(|_| text.len() == 10);
    match date {
        Some(date) => Ok(date.to_zoned(TimeZone::UTC)?.timestamp()),
        None => text.parse().context("write `2027-01-31` or `2027-01-31T12:00:00Z`"),
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let config = args.config.as_deref();
    let config = config.context("give the node's configuration: --config FILE")?;
    match &args.command {
        Command::Create(create) => make(config, create),
        Command::List => list(config),
        Command::Revoke { name } => {
            Uploads::open(config)?.credentials.revoke(name, Timestamp::now())?;
            println!("`{name}` is good no longer");
            Ok(())
        }
    }
}

fn make(config: &Path, create: &Create) -> Result<()> {
    let source = create.source.canonicalize();
    let source = source.with_context(|| format!("no folder `{}`", create.source.display()))?;
    if !source.is_dir() {
        bail!("`{}` is no folder", source.display());
    }
    let now = Timestamp::now();
    if create.expires.is_some_and(|end| end <= now) {
        bail!("the credential would end before it begins");
    }
    let scope = Scope {
        source,
        allow: create.allow.clone(),
        bytes_max: create.max_bytes,
        file_bytes_max: create.max_file_bytes,
        open_max: create.max_open,
        expires: create.expires,
    };
    let secret = Uploads::open(config)?.credentials.create(create.name.clone(), scope, now)?;
    eprintln!("The secret is shown this once; send it as `Authorization: Bearer SECRET`.");
    println!("{}", *secret.reveal());
    Ok(())
}

fn list(config: &Path) -> Result<()> {
    let credentials = Uploads::open(config)?.credentials;
    let now = Timestamp::now();
    for found in credentials.list()? {
        let state = match (found.revoked, found.scope.expires) {
            (Some(at), _) => format!("revoked at {at}"),
            (None, Some(end)) if end <= now => format!("ended at {end}"),
            (None, Some(end)) => format!("good until {end}"),
            (None, None) => "good".to_owned(),
        };
        let (delivered, most) = (credentials.delivered(&found.name)?, found.scope.bytes_max);
        let (source, allow) = (found.scope.source.display(), found.scope.allow.join(" "));
        println!(
            "{}  {state}  {allow}  into {source}  {delivered} of {most} bytes delivered",
            found.name
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_ends_at_a_date_or_a_time() {
        let end = |text: &str| time(text).ok().map(|end| end.to_string());
        assert_eq!(end("2027-01-31").as_deref(), Some("2027-01-31T00:00:00Z"));
        assert_eq!(end("2027-01-31T13:00:00+01:00").as_deref(), Some("2027-01-31T12:00:00Z"));
        for bad in ["tomorrow", "2027-02-30", "2027-01-31T12:00:00"] {
            assert_eq!(end(bad), None, "{bad}");
        }
    }
}
