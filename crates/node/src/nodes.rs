//! Several nodes, tried in order: the first one that can answer does.

use crate::client::{Client, Elsewhere};
use crate::seen::Seen;
use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;
use std::sync::Arc;

/// Runs a command that asks, and prints the answer: as JSON, or as `show` puts it for people.
pub(crate) fn answer(
    json: bool,
    asking: impl Future<Output = Result<Value>>,
    show: impl FnOnce(&Value) -> String,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(asking)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print!("{}", show(&answer));
    }
    Ok(())
}

/// The nodes to ask, and who asks
#[derive(Args)]
pub(crate) struct Nodes {
    /// A node to ask, such as <http://127.0.0.1:8080>; give several, and the next one is asked when one
    /// cannot answer
    #[arg(
        long = "node",
        visible_alias = "url",
        value_name = "URL",
        required = true,
        value_delimiter = ','
    )]
    urls: Vec<String>,
    /// The login, the same at every node given
    #[arg(long)]
    login: String,
}

impl Nodes {
    /// Signs in and asks, at one node after the other until one answers. What is asked may reach
    /// more than one of them.
    pub(crate) async fn ask<T>(
        &self,
        passphrase: &str,
        ask: impl AsyncFn(&Client) -> Result<T>,
    ) -> Result<T> {
        let seen = Arc::new(Seen::of_user()?);
        let mut last: Option<anyhow::Error> = None;
        for url in &self.urls {
            if let Some(error) = last.take() {
                eprintln!("aegle: {error:#}; asking the next node");
            }
            let client = Client::new(url)?.remembering(Arc::clone(&seen));
            let answer = async { ask(&client.sign_in(&self.login, passphrase).await?).await };
            match answer.await {
                Err(error) if error.downcast_ref::<Elsewhere>().is_some() => last = Some(error),
                answered => return answered,
            }
        }
        Err(last.context("no node was given")?)
    }
}
