//! Serves the upload area in a thread of its own, whatever becomes of the rest of the node.

use super::Uploads;
use anyhow::{Context, Result};
use std::net::TcpListener;
use std::thread::JoinHandle;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// The upload area while it is served; ends when it is dropped.
pub(crate) struct Service {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    pub(crate) fn start(uploads: &Uploads) -> Result<Self> {
        let (area, limits) = (uploads.area()?, uploads.limits());
        let address = uploads.settings.listen;
        let listener = TcpListener::bind(address).with_context(|| {
            format!("could not listen at {address} for uploads; is another node running?")
        })?;
        listener.set_nonblocking(true)?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener);
                let listener = listener.expect("the listener does not block");
                // A dropped sender means the same.
                let stopped = async { drop(stopped.await) };
                aegle_upload::serve(listener, area, limits, stopped).await;
            });
        };
        let thread = std::thread::Builder::new().name("uploads".to_owned()).spawn(serve)?;
        tracing::info!("The node takes uploads at http://{address}");
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("Serving uploads failed");
        }
    }
}
