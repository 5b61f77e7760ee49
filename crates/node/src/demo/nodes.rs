//! The four node processes.

use crate::client::Client;
use crate::setup::Planned;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Processes that end with the demonstration.
pub(super) struct Nodes(Vec<Option<Child>>);

/// How long a node may take until all its parts work.
const READY_TRIES: u32 = 600;

impl Nodes {
    /// Starts every planned node and waits until all are ready.
    pub(super) async fn start(planned: &[Planned]) -> Result<Self> {
        let mut nodes = Self(Vec::new());
        for node in planned {
            nodes.0.push(Some(spawn(&node.config)?));
        }
        for (position, node) in planned.iter().enumerate() {
            nodes.wait(position, node).await?;
        }
        Ok(nodes)
    }

    /// Kills a node without warning.
    pub(super) async fn kill(&mut self, position: usize) -> Result<()> {
        let mut child = self.0[position].take().context("the node is not running")?;
        child.kill().await?;
        Ok(())
    }

    /// Starts a node that was killed and waits until it is ready.
    pub(super) async fn revive(&mut self, position: usize, node: &Planned) -> Result<()> {
        self.0[position] = Some(spawn(&node.config)?);
        self.wait(position, node).await
    }

    async fn wait(&mut self, position: usize, node: &Planned) -> Result<()> {
        let client = Client::new(&format!("http://{}", node.api))?;
        for _ in 0..READY_TRIES {
            if client.ready().await {
                return Ok(());
            }
            let child = self.0[position].as_mut().context("the node is not running")?;
            if let Some(status) = child.try_wait()? {
                bail!(
                    "the node of {} ended with {status}; see {}",
                    node.code,
                    log(&node.config).display()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!(
            "the node of {} does not become ready; see {}",
            node.code,
            log(&node.config).display()
        )
    }

    /// The process ids of the running nodes.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.0.iter().flatten().filter_map(Child::id).collect()
    }

    /// Asks every node to stop and waits for it.
    pub(super) async fn stop(&mut self) {
        for child in self.0.iter_mut().flatten() {
            let Some(id) = child.id() else { continue };
            let asked = Command::new("kill").arg(id.to_string()).status().await;
            let waited = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
            if asked.is_err() || waited.is_err() {
                child.start_kill().ok();
            }
        }
    }
}

fn spawn(config: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log(config))?;
    let program = std::env::current_exe()?;
    let child = Command::new(program)
        .args(["node", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        // Ctrl-C is for the demonstration, which then stops its nodes.
        .process_group(0)
        .spawn();
    child.context("could not start a node")
}

fn log(config: &Path) -> std::path::PathBuf {
    config.with_file_name("node.log")
}
